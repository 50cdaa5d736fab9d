//! Matrix products in 8 bits: weights are quantized once, activations at run time, and sums are
//! 32-bit integers.
//!
//! ```text
//! w ≈ s_gn r,   r = -127 … 127     a scale for each column n of B and group g of its rows
//! x ≈ s_mg q,   q = -127 … 127     a scale for each row m of A and group g of its columns
//!
//! C = A B ≈ Σ_o x_o w_o + Σ_g s_mg s_gn Σ_k q r
//! ```
//!
//! Scale blocks have [`SCALE_BLOCK`] columns of A, so a sum within one is below 2²⁴ and exact in
//! f32 too.
//!
//! Layer norms and gelu make some columns of A much larger than the others, the same ones for every
//! token, and one scale cannot suit both; a shared layer repeats the loss of accuracy every time it
//! runs. So A and B are [rotated](rotate_weights), which evens out the values of a block, and the
//! few largest columns, the *outliers*, stay in f32: they are the first sum in the formula.
//!
//! Sums over k are exact, and everything after them runs in a fixed order: a row gives the same
//! bits in any batch, on any number of threads and, if the CPU has fused multiply-adds, with any
//! instruction set.
//!
//! Source: Dettmers et al. 2022, LLM.int8(), §3, for the separate outliers; there they are detected
//! in the activations, here they are stored with the weights.

mod matrix;
mod product;
mod rotation;
mod rows;
mod weights;

pub use matrix::{QuantizedMatrix, QuantizedPart, QuantizedView};
pub use product::quantized_product;
pub use rotation::{rotate_weights, unrotate_weights};
pub use rows::QuantizedRows;
pub use weights::{dequantize_weights, quantize_weights};

/// The number of columns of A, and of rows of B, that share a scale.
pub const SCALE_BLOCK: usize = 256;

/// The number of columns of A, and of rows of B, in one step of the innermost loop.
const STEP: usize = 16;

/// The number of columns in a step with magnitudes and signs, which leave no registers for sums of
/// successive products.
const STEP_WITH_SIGNS: usize = 4;

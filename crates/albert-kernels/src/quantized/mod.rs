//! Products in 8 bits: weights rounded once, activations as they come, sums in 32 bits.
//!
//! ```text
//! w ≈ s_gn r,   r = -127 … 127     a scale for each column n of B and group g of its rows
//! x ≈ s_mg q,   q = -127 … 127     a scale for each row m of A and group g of its columns
//!
//! C = A B ≈ Σ_o x_o w_o + Σ_g s_mg s_gn Σ_k q r
//! ```
//!
//! Groups are [`SCALE_BLOCK`] wide: a sum within one is below 2²⁴ and exact in f32 too.
//!
//! Layer norms and gelu make some columns of A much larger than the others, the same for every
//! token, and one scale cannot serve both; what is lost is lost again in every repetition of a
//! shared layer. So A and B are [rotated](rotate_weights), which makes the numbers of a group
//! alike; and the few largest columns, the *outliers*, stay in f32: they are the first sum.
//!
//! TileProduct over k are exact and everything after them runs in one order: a row gives the same bits in
//! any company, on any number of threads and, where the CPU has fused multiply-adds, with any
//! instructions.
//!
//! Source: Dettmers et al. 2022, LLM.int8(), §3, for outliers apart; there they are found in the
//! activations, here they are given with the weights.

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

/// Columns of A, and rows of B, that share a scale.
pub const SCALE_BLOCK: usize = 256;

/// Columns of A, and rows of B, that the innermost loop takes in one step.
const STEP: usize = 16;

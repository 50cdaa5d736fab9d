//! Products in 8 bits: weights rounded once, activations as they come, sums in 32 bits.
//!
//! ```text
//! w ≈ s_gn r,         r = -127 … 127     a scale for each column n of B and group g of its rows
//! x ≈ s_mg (q - z),   q, z = 0 … 255     a scale and a zero for each row m of A and group g of columns
//!
//! C = A B ≈ Σ_o x_o w_o - Σ_g s_mg z s_gn Σ_k r + Σ_g s_mg s_gn Σ_k q r
//! ```
//!
//! The first sum, in f32 like the second, is over a few *outliers*: columns of A whose numbers are so much larger than the
//! others' that one scale cannot serve both. Layer norms and gelu make such columns, the same for every token,
//! and what is lost in them is lost again in every repetition of a shared layer. Groups are [`GROUP`] wide: a
//! sum within one is below 2²⁴ and exact in f32 too.
//!
//! Sums over k are exact and everything after them runs in one order: a row gives the same bits in any
//! company, on any number of threads and, where the CPU has fused multiply-adds, with any instructions.
//!
//! Source: Dettmers et al. 2022, LLM.int8(), §3, for outliers apart; there they are found in the
//! activations, here they are given with the weights.

mod matrix;
mod product;
mod rows;
mod weights;

pub use matrix::{QuantizedMatrix, QuantizedPart, QuantizedView};
pub use product::quantized_product;
pub use rows::QuantizedRows;
pub use weights::{quantize_weights, restore_weights};

/// Columns of A, and rows of B, that share a scale.
pub const GROUP: usize = 128;

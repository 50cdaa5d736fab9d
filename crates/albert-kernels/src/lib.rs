//! The arithmetic of ALBERT on the CPU, on plain slices: products with packed weights, in f32 and
//! in [8 bits](quantized), attention, layer norm and activations. It knows no tensors and no model.
//!
//! Every kernel is written once and compiled for each instruction set; [`Level`] says which of them
//! the CPU has, and the environment variable `ALBERT_KERNELS` chooses one. Weights are packed for
//! that level once, into a [`PackedMatrix`].
//!
//! ```
//! use albert_kernels::{Activation, Level, PackedMatrix, Rows, RowsMut, Then, Threads, product};
//!
//! // A dense layer from two numbers to three, applied to one row.
//! let (weight, bias) = ([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.5, -9.0]);
//! let packed = PackedMatrix::from_transposed(Level::current()?, 2, &[&weight]);
//! let mut ys = [0.0; 3];
//! product(
//!     Rows::new(&[3.0, 4.0], 1, 2),
//!     &packed.view(),
//!     RowsMut::new(&mut ys, 1, 3),
//!     Then::Activate(&bias, Activation::Relu),
//!     Threads::One,
//! );
//! assert_eq!(ys, [3.0, 4.5, 0.0]);
//! # Ok::<(), albert_kernels::LevelError>(())
//! ```
//!
//! A row's result has the same bits in any batch and on any number of threads: sums run in one
//! order, whatever the blocks, and work is split over rows, columns and heads alone. In 8 bits sums
//! are exact.

mod activation;
mod aligned;
mod attention;
mod functions;
mod grid;
mod layer_norm;
mod level;
mod packed;
mod peak;
mod product;
pub mod quantized;
#[cfg(test)]
mod random;
mod rectangle;
mod rows;
mod simd;
mod tile;

pub use activation::Activation;
pub use aligned::Aligned;
pub use attention::{Heads, attention, attention_in_words};
pub use grid::{Then, Threads};
pub use layer_norm::LayerNorm;
pub use level::{LEVEL_VARIABLE, Level, LevelError};
pub use packed::{PackedMatrix, PackedView};
pub use peak::{peak_byte_operations, peak_flops};
pub use product::product;
pub use quantized::{
    QuantizedMatrix, QuantizedPart, QuantizedRows, QuantizedView, quantize_weights,
    quantized_product, restore_weights, rotate_weights, rotate_weights_back,
};
pub use rows::{Rows, RowsMut};

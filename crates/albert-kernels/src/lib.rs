//! CPU kernels for ALBERT and BERT on plain slices, without tensors or models: matrix products
//! (GEMM) with packed weights, in f32 and in [8 bits](quantized), attention, layer norm,
//! activations, and the [backward pass and optimizers](training).
//!
//! This crate serves `albert-model`; its interface changes with that crate's needs.
//!
//! Every kernel is written once and compiled for each instruction set. [`InstructionSet`] lists the
//! instruction sets of the CPU, and the environment variable `ALBERT_KERNELS` selects one. Weights
//! are packed once into a [`PackedMatrix`], for one instruction set.
//!
//! ```
//! use albert_kernels::{Activation, InstructionSet, PackedMatrix, Rows, RowsMut, Epilogue, Threads, product};
//!
//! // A dense layer from two inputs to three outputs, applied to one row.
//! let (weight, bias) = ([1.0, 0.0, 0.0, 1.0, 1.0, 1.0], [0.0, 0.5, -9.0]);
//! let packed = PackedMatrix::from_transposed(InstructionSet::current()?, 2, &[&weight]);
//! let mut ys = [0.0; 3];
//! product(
//!     Rows::new(&[3.0, 4.0], 1, 2),
//!     &packed.view(),
//!     RowsMut::new(&mut ys, 1, 3),
//!     Epilogue::BiasActivation(&bias, Activation::Relu),
//!     Threads::One,
//! );
//! assert_eq!(ys, [3.0, 4.5, 0.0]);
//! # Ok::<(), albert_kernels::InstructionSetError>(())
//! ```
//!
//! The result of a row has the same bits in any batch and on any number of threads: sums run in a
//! fixed order, independent of the blocks, and work is only split over rows, columns and heads. In
//! 8 bits the sums are exact.

mod activation;
mod aligned;
mod attention;
mod functions;
mod gelu;
mod gemm;
mod instruction_set;
mod layer_norm;
mod peak;
pub mod quantized;
#[cfg(test)]
mod random;
mod simd;
pub mod training;

pub use activation::Activation;
pub use aligned::Aligned;
pub use attention::{Heads, attention, attention_int16};
pub use gemm::{Epilogue, PackedMatrix, PackedView, Rows, RowsMut, Threads, product};
pub use instruction_set::{INSTRUCTION_SET_VARIABLE, InstructionSet, InstructionSetError};
pub use layer_norm::LayerNorm;
pub use peak::{peak_flops, peak_int8_ops};
pub use quantized::{
    QuantizedMatrix, QuantizedPart, QuantizedRows, QuantizedView, dequantize_weights,
    quantize_weights, quantized_product, rotate_weights, unrotate_weights,
};

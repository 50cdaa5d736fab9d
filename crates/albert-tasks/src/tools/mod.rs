//! Tools around a model: look into its files, convert it, compare two ways of computing it, and
//! measure its speed.
//!
//! - [`inspect`] describes a model's files without loading weights
//! - [`convert`] writes a model from any layout as a Hugging Face folder
//! - [`verify`] compares the hidden states of two ways of computing the same texts
//! - [`bench()`] measures tokens per second on this machine

mod bench;
mod convert;
mod inspect;
mod verify;

pub use bench::{Benchmark, ShapeTime, bench};
pub use convert::{convert, convert_as};
pub use inspect::{
    Activation, Inspection, Renamed, Section, Shape, TensorNames, Tied, TokenizerInfo, inspect,
};
pub use verify::{SAMPLE_TEXTS, Verification, verify};

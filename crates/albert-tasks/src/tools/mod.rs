//! Tools that inspect a model's files, convert them, compare a model's hidden states under two
//! settings, and measure its speed.
//!
//! - [`inspect`] describes a model's files without loading weights
//! - [`convert`] converts a model in any layout to a folder in Hugging Face's layout
//! - [`verify`] compares the hidden states of the same texts under two settings
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

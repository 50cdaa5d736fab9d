//! Reads the small files of models as hostile input.
//!
//! Everything in a model's folder comes from an untrusted source. This crate has what its readers
//! share: small files that are regular and bounded ([`small_file`]), JSON as written by Python,
//! with errors that name the key ([`json`]), and protocol buffers read field by field ([`wire`]).
//! It does not depend on any model or network.

pub mod crc32c;
pub mod json;
mod shown;
pub mod small_file;
pub mod tensorflow;
pub mod wire;

pub use shown::shown;

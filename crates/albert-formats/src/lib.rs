//! Files of models, read as hostile input.
//!
//! Everything in a model's folder was written by somebody else. This crate holds what its readers
//! share: small files that are regular and bounded ([`small_file`]), JSON as Python writes it with
//! errors that name the key ([`json`]), and protocol buffers field by field ([`wire`]). It knows no
//! model and no network.

pub mod json;
pub mod small_file;
pub mod wire;

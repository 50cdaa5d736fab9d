//! The built binary on the built-in model: what a user types, and what comes back.
//!
//! Sentences about one command are in the file of its name; `streams` has what every command does
//! with its input and output, `usage` the exit codes and the help.
#![cfg(feature = "builtin")]

mod embed;
mod fill_mask;
mod forward;
mod harness;
mod inspect;
mod streams;
mod tokenize;
mod usage;

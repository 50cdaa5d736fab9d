//! The built binary on the built-in model: what a user types, and what comes back.
//!
//! Sentences about one command are in the file of its name; `streams` has what every command does
//! with its input and output, `usage` the exit codes and the help, `reference` what docs/cli.md
//! shows.
#![cfg(feature = "builtin")]

mod columns;
mod convert;
mod embed;
mod fill_mask;
mod forward;
mod harness;
#[cfg(feature = "hub")]
mod hub;
#[cfg(feature = "hub")]
#[path = "../../../albert-tasks/tests/tasks/hub_server.rs"]
mod hub_server;
mod inputs;
mod inspect;
mod labels;
mod memory;
mod pairs;
#[cfg(feature = "hub")]
mod python;
mod ranking;
mod reading;
// /dev/full is Linux.
#[cfg(all(target_os = "linux", feature = "hub"))]
mod reference;
mod refusals;
mod reports;
mod resume;
mod score;
mod search;
#[cfg(all(unix, feature = "server"))]
mod serve;
#[cfg(unix)]
mod shell;
#[cfg(unix)]
mod signals;
mod streams;
#[cfg(feature = "parquet")]
mod tables;
mod tokenize;
mod tools;
mod usage;
mod verify;

//! Runs batches through a network: turns texts into rows of ids, sizes the batches, and calls the
//! device from one thread.

pub(crate) mod batching;
mod budget;
mod in_order;
mod pipelined;
pub(crate) mod runner;

pub use pipelined::pipelined;

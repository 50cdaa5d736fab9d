//! Batches on their way through a network: how texts become rows of ids, how many rows make a
//! batch, and which thread asks the device for it.

pub(crate) mod batching;
mod budget;
mod pipelined;
pub(crate) mod runner;

pub use pipelined::pipelined;

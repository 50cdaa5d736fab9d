//! The commands, one file each: its options, its row, and what it does.

#[cfg(feature = "hub")]
pub(crate) mod download;
pub(crate) mod embed;
pub(crate) mod fill_mask;
pub(crate) mod forward;
pub(crate) mod inspect;
#[cfg(feature = "hub")]
pub(crate) mod models;
pub(crate) mod tokenize;

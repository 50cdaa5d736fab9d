//! The commands, one file each: its options, its row, and what it does.

pub(crate) mod embed;
pub(crate) mod fill_mask;
pub(crate) mod forward;
pub(crate) mod inspect;
pub(crate) mod tokenize;

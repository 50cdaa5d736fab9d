//! The input and output that a command supports.

use std::path::PathBuf;

use albert_data::Pairs;

use crate::options::PairArgs;
use crate::output::{Format, RECORDS};

/// The input and output that a command supports.
pub(crate) struct Terms {
    /// The pairs that the command takes.
    pub(crate) pairs: Pairs,
    /// The options for pairs.
    pub(crate) pair: PairArgs,
    /// The formats that the command writes.
    pub(crate) formats: &'static [Format],
    /// Files that the command reads in addition to the texts, which the output must not replace.
    pub(crate) also_reads: Vec<PathBuf>,
    /// True to continue the output of an interrupted run; `None` in a command that cannot.
    pub(crate) resumes: Option<bool>,
}

impl Terms {
    /// Creates the terms of a command that takes these pairs and writes records.
    pub(crate) fn new(pairs: Pairs) -> Self {
        Self {
            pairs,
            pair: PairArgs::default(),
            formats: RECORDS,
            also_reads: Vec::new(),
            resumes: None,
        }
    }

    /// Adds the options for pairs.
    pub(crate) fn with_pair(self, pair: PairArgs) -> Self {
        Self { pair, ..self }
    }
}

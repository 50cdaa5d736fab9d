//! Reports of a run in progress, and its summary.

use std::path::Path;

use super::task::Evaluation;
use crate::log::Row;

/// A report of a run in progress.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step was taken.
    Step {
        /// The row of `metrics.jsonl`.
        row: &'a Row,
        /// The terms of the loss.
        terms: &'a [(&'static str, f64)],
    },
    /// The evaluation data was evaluated.
    Evaluated {
        /// The step.
        step: u64,
        /// The metrics.
        evaluation: &'a Evaluation,
        /// True if it is the best so far.
        is_best: bool,
    },
    /// A snapshot was written.
    Saved(&'a Path),
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// All steps were taken.
    Finished,
    /// The evaluations stopped improving.
    EarlyStop,
    /// It received a request to stop and has written a snapshot to continue from.
    Stopped,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The reason why it ended.
    pub end: End,
    /// The last step.
    pub step: u64,
    /// The loss of the last step.
    pub loss: f64,
    /// The step whose weights are the result.
    pub result_step: u64,
    /// The evaluation of the result.
    pub evaluation: Option<Evaluation>,
}

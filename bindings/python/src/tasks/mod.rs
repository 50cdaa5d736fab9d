//! The tasks whose answers are dictionaries, with the keys of transformers' pipelines.

mod answer;
mod classify;
mod fill_mask;
mod rerank;
mod tag;
mod zero_shot;

use pyo3::prelude::*;

pub(crate) use answer::Answerer;
pub(crate) use classify::Classifier;
pub(crate) use fill_mask::MaskFiller;
pub(crate) use rerank::Reranker;
pub(crate) use tag::Tagger;
pub(crate) use zero_shot::ZeroShot;

/// A label with its score.
#[derive(Debug, IntoPyObject)]
pub(crate) struct LabelScore {
    label: String,
    score: f32,
}

impl From<albert_tasks::LabelScore> for LabelScore {
    fn from(label: albert_tasks::LabelScore) -> Self {
        Self {
            label: label.label,
            score: label.score,
        }
    }
}

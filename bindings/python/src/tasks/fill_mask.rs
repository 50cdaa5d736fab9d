//! Masked language modeling.

use albert_tasks::{Candidate, FillOptions, Filling};
use pyo3::prelude::*;

use crate::error::raise;
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::texts;

/// Fills masks.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct MaskFiller {
    filler: albert_tasks::MaskFiller,
    threads: Threads,
}

/// A candidate for a mask, with the keys of transformers' `fill-mask`.
#[derive(Debug, IntoPyObject)]
pub(crate) struct Filled {
    score: f32,
    /// None for a target of several pieces.
    token: Option<u32>,
    token_str: String,
    sequence: String,
}

impl From<Candidate> for Filled {
    fn from(candidate: Candidate) -> Self {
        Self {
            score: candidate.score,
            token: candidate.id,
            token_str: candidate.token,
            sequence: candidate.text,
        }
    }
}

/// All masks of a text, filled jointly.
#[derive(Debug, IntoPyObject)]
pub(crate) struct FilledJointly {
    score: f64,
    token_strs: Vec<String>,
    sequence: String,
}

impl From<Filling> for FilledJointly {
    fn from(filling: Filling) -> Self {
        Self {
            score: filling.score,
            token_strs: filling.tokens,
            sequence: filling.text,
        }
    }
}

/// The likelihood of a text.
#[derive(Debug, IntoPyObject)]
pub(crate) struct Likelihood {
    log_likelihood: f64,
    tokens: usize,
    truncated: bool,
}

#[pymethods]
impl MaskFiller {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (filler, threads) = model.load(py, albert_tasks::MaskFiller::load)?;
        Ok(Self { filler, threads })
    }

    /// Returns the candidates of each mask of each text.
    fn fill(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        top_k: usize,
        targets: Option<Vec<String>>,
    ) -> PyResult<Vec<Vec<Vec<Filled>>>> {
        let texts = self::texts(texts)?;
        if let Some(targets) = &targets {
            let checked = self.filler.check_targets(targets);
            checked.map_err(|error| raise(py, &error))?;
        }
        let options = FillOptions::default()
            .with_top_k(top_k)
            .with_targets(targets);
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            self.filler.fill(&as_strs(texts), &options)
        })?;
        let candidates = |mask: albert_tasks::FilledMask| {
            mask.candidates.into_iter().map(Filled::from).collect()
        };
        let answer =
            |text: albert_tasks::FilledText| text.masks.into_iter().map(candidates).collect();
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Returns the most probable fillings of all masks of each text.
    fn fill_jointly(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        beam: usize,
    ) -> PyResult<Vec<Vec<FilledJointly>>> {
        let texts = self::texts(texts)?;
        let options = FillOptions::default().with_beam(beam);
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            self.filler.fill(&as_strs(texts), &options)
        })?;
        let answer = |text: albert_tasks::FilledText| {
            let fillings = text.fillings.into_iter();
            fillings.map(FilledJointly::from).collect()
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// Returns the pseudo-log-likelihood of each text.
    fn score(&self, py: Python<'_>, texts: &Bound<'_, PyAny>) -> PyResult<Vec<Likelihood>> {
        let texts = self::texts(texts)?;
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            self.filler.score(&as_strs(texts))
        })?;
        let answer = |score: albert_tasks::TextScore| Likelihood {
            log_likelihood: score.log_likelihood,
            tokens: score.tokens,
            truncated: score.truncated,
        };
        Ok(answers.into_iter().map(answer).collect())
    }

    /// The mask token.
    #[getter]
    fn mask_token(&self) -> &str {
        self.filler.mask_token()
    }

    /// The maximum number of tokens of a text.
    #[getter]
    fn max_length(&self) -> usize {
        self.filler.max_length()
    }
}

fn as_strs(texts: &[pyo3::pybacked::PyBackedStr]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}

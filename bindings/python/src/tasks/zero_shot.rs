//! Classification with labels of the caller's choice.

use albert_tasks::{ZeroShotClassifier, ZeroShotOptions};
use pyo3::prelude::*;

use super::LabelScore;
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::texts;

/// Labels texts with any labels.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct ZeroShot {
    classifier: ZeroShotClassifier,
    threads: Threads,
}

#[pymethods]
impl ZeroShot {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (classifier, threads) = model.load(py, ZeroShotClassifier::load)?;
        Ok(Self {
            classifier,
            threads,
        })
    }

    /// Returns the labels of each text, best first.
    fn classify(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        labels: &Bound<'_, PyAny>,
        hypothesis: &str,
        multi_label: bool,
        stride: Option<usize>,
    ) -> PyResult<Vec<Vec<LabelScore>>> {
        let texts = self::texts(texts)?;
        let labels = self::texts(labels)?;
        let options = ZeroShotOptions::default()
            .with_hypothesis(hypothesis)
            .with_multi_label(multi_label)
            .with_stride(stride);
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            let labels: Vec<&str> = labels.iter().map(|label| &**label).collect();
            self.classifier.classify(&texts, &labels, &options)
        })?;
        let labels = |answer: albert_tasks::Classification| {
            answer.labels.into_iter().map(LabelScore::from).collect()
        };
        Ok(answers.into_iter().map(labels).collect())
    }

    /// The maximum number of tokens of a text with a hypothesis.
    #[getter]
    fn max_length(&self) -> usize {
        self.classifier.max_length()
    }
}

//! Text classification.

use albert_tasks::{ClassifyOptions, ScoreFunction};
use pyo3::prelude::*;

use super::LabelScore;
use crate::error::raise;
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::inputs;

/// Labels texts.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Classifier {
    classifier: albert_tasks::Classifier,
    threads: Threads,
}

#[pymethods]
impl Classifier {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (classifier, threads) = model.load(py, albert_tasks::Classifier::load)?;
        Ok(Self {
            classifier,
            threads,
        })
    }

    /// Returns the labels of each text or pair of texts, best first.
    fn classify(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        top_k: Option<usize>,
        function: Option<&str>,
        stride: Option<usize>,
    ) -> PyResult<Vec<Vec<LabelScore>>> {
        let inputs = inputs(texts)?;
        let function = function.map(str::parse::<ScoreFunction>).transpose();
        let function = function.map_err(|error| raise(py, &error))?;
        let options = ClassifyOptions::default()
            .with_top_k(top_k)
            .with_function(function)
            .with_stride(stride);
        let answers = in_steps(py, &self.threads, &inputs, |inputs| {
            self.classifier.classify(inputs, &options)
        })?;
        let labels = |answer: albert_tasks::Classification| {
            answer.labels.into_iter().map(LabelScore::from).collect()
        };
        Ok(answers.into_iter().map(labels).collect())
    }

    /// The names of the labels.
    #[getter]
    fn labels(&self) -> Vec<String> {
        let config = self.classifier.config();
        (0..config.num_labels())
            .map(|index| config.label(index))
            .collect()
    }

    /// The maximum number of tokens of a text.
    #[getter]
    fn max_length(&self) -> usize {
        self.classifier.max_length()
    }
}

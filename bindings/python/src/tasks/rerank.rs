//! Ranking with a cross-encoder.

use albert_tasks::RerankOptions;
use numpy::PyArray1;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;

use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::texts;

/// Ranks texts for a query.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Reranker {
    reranker: albert_tasks::Reranker,
    threads: Threads,
}

#[pymethods]
impl Reranker {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (reranker, threads) = model.load(py, albert_tasks::Reranker::load)?;
        Ok(Self { reranker, threads })
    }

    /// Returns the relevance of each text to the query, in order.
    fn score<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        texts: &Bound<'py, PyAny>,
        probability: bool,
    ) -> PyResult<Bound<'py, PyArray1<f32>>> {
        let query: PyBackedStr = query.extract()?;
        let texts = self::texts(texts)?;
        let options = RerankOptions::default().with_probability(probability);
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            self.reranker.score(&query, &texts, &options)
        })?;
        let scores = answers.iter().map(|relevance| relevance.score);
        Ok(PyArray1::from_iter(py, scores))
    }

    /// The maximum number of tokens of a query with a text.
    #[getter]
    fn max_length(&self) -> usize {
        self.reranker.max_length()
    }
}

//! Named entity recognition and other token classification.

use albert_tasks::{Aggregation, TagOptions};
use pyo3::prelude::*;

use crate::error::raise;
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::texts;

/// Labels spans of texts.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Tagger {
    tagger: albert_tasks::Tagger,
    threads: Threads,
}

/// A labeled span, with the keys of transformers' `token-classification`.
#[derive(Debug, IntoPyObject)]
pub(crate) struct Entity {
    entity_group: String,
    score: f32,
    word: String,
    start: usize,
    end: usize,
}

impl From<albert_tasks::Entity> for Entity {
    fn from(entity: albert_tasks::Entity) -> Self {
        Self {
            entity_group: entity.label,
            score: entity.score,
            word: entity.text,
            start: entity.start,
            end: entity.end,
        }
    }
}

#[pymethods]
impl Tagger {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (tagger, threads) = model.load(py, albert_tasks::Tagger::load)?;
        Ok(Self { tagger, threads })
    }

    /// Returns the entities of each text.
    fn tag(
        &self,
        py: Python<'_>,
        texts: &Bound<'_, PyAny>,
        aggregation: &str,
        stride: Option<usize>,
        align_to_words: bool,
    ) -> PyResult<Vec<Vec<Entity>>> {
        let texts = self::texts(texts)?;
        let aggregation = aggregation.parse::<Aggregation>();
        let options = TagOptions::default()
            .with_aggregation(aggregation.map_err(|error| raise(py, &error))?)
            .with_stride(stride)
            .with_align_to_words(align_to_words);
        let checked = self.tagger.check(&options);
        checked.map_err(|error| raise(py, &error))?;
        let answers = in_steps(py, &self.threads, &texts, |texts| {
            let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
            self.tagger.tag(&texts, &options)
        })?;
        let entities = |answer: albert_tasks::Entities| {
            answer.entities.into_iter().map(Entity::from).collect()
        };
        Ok(answers.into_iter().map(entities).collect())
    }

    /// The maximum number of tokens of a text or window.
    #[getter]
    fn max_length(&self) -> usize {
        self.tagger.max_length()
    }
}

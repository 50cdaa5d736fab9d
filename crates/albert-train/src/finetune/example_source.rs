//! The way from files to the examples and labels of a task.

use albert_tasks::albert_model::Checkpoint;
use albert_tasks::{ModelFiles, Tokenizer};

use super::examples::Examples;
use super::files::DataFiles;
use super::labels::Labels;
use super::options::ExampleOptions;
use super::task::FineTuneTask;
use super::{
    answering, choice, classification, model, multi_label, regression, similarity, tagging,
};
use crate::error::Result;

/// All that reading examples needs.
pub(super) struct ExampleSource<'a> {
    pub(super) task: FineTuneTask,
    pub(super) model: &'a ModelFiles,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) tokenizer: &'a Tokenizer,
    pub(super) options: &'a ExampleOptions,
}

impl ExampleSource<'_> {
    /// Reads examples. `known` are labels that others may not be added to; without them the labels
    /// are those that occur, in the model's order if it has the same.
    pub(super) fn read(
        &self,
        data: &DataFiles,
        known: Option<&Labels>,
    ) -> Result<(Box<dyn Examples>, Option<Labels>)> {
        let Self {
            tokenizer, options, ..
        } = *self;
        Ok(match self.task {
            FineTuneTask::Classification => {
                let found = classification::ClassificationData::read(data, options)?;
                let labels = self.labels(known, || found.labels(options))?;
                let examples = found.encode(tokenizer, &labels, options)?;
                (Box::new(examples), Some(labels))
            }
            FineTuneTask::MultiLabel => {
                let found = multi_label::MultiLabelData::read(data, options)?;
                let labels = self.labels(known, || found.labels())?;
                let examples = found.encode(tokenizer, &labels, options)?;
                (Box::new(examples), Some(labels))
            }
            FineTuneTask::Tagging => {
                let found = tagging::TaggingData::read(data, options)?;
                let labels = self.labels(known, || found.labels(options))?;
                let examples = found.encode(tokenizer, &labels, options)?;
                (Box::new(examples), Some(labels))
            }
            FineTuneTask::Regression => {
                let examples = regression::regression(data, tokenizer, options)?;
                (Box::new(examples), None)
            }
            FineTuneTask::Answering => {
                let examples = answering::AnsweringExamples::read(data, tokenizer, options)?;
                (Box::new(examples), None)
            }
            FineTuneTask::Choice => {
                let examples = choice::ChoiceExamples::read(data, tokenizer, options)?;
                (Box::new(examples), None)
            }
            FineTuneTask::Similarity => {
                let pooling = model::pooling(self.model)?;
                let examples =
                    similarity::SimilarityExamples::read(data, tokenizer, options, pooling)?;
                (Box::new(examples), None)
            }
        })
    }

    fn labels(
        &self,
        known: Option<&Labels>,
        found: impl FnOnce() -> Result<Labels>,
    ) -> Result<Labels> {
        if let Some(known) = known {
            return Ok(known.clone());
        }
        let found = found()?;
        let own = model::labels(self.checkpoint, self.task);
        Ok(own.filter(|own| own.has_the_same(&found)).unwrap_or(found))
    }
}

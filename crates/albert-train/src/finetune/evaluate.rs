//! The metrics of a finished model.

use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, FlatParameters, PassOptions, TrainingPass};
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};

use super::examples::Assessment;
use super::files::DataFiles;
use super::labels::Labels;
use super::options::ExampleOptions;
use super::task::FineTuneTask;
use super::{ExampleSource, check, model, run};
use crate::error::{Error, Result};
use crate::trainer::Evaluation;

/// Evaluates a model on data of a task.
#[derive(Debug)]
pub struct Evaluator {
    task: FineTuneTask,
    model: ModelFiles,
    tokenizer: TokenizerOptions,
    /// The options that turn rows into examples.
    pub examples: ExampleOptions,
}

/// The result of an evaluation.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// The number of examples: rows, or questions.
    pub examples: usize,
    /// The loss and the metrics by name.
    pub metrics: Evaluation,
    /// The predictions, and further figures.
    pub assessment: Assessment,
    /// A remark about the data, such as words that are left out.
    pub note: Option<String>,
    /// The labels of the model, if its task has them.
    pub labels: Option<Labels>,
}

impl Evaluator {
    /// Takes a task and a model that has its head.
    pub fn new(task: FineTuneTask, model: ModelFiles) -> Self {
        Self {
            task,
            model,
            tokenizer: TokenizerOptions::default(),
            examples: ExampleOptions::default(),
        }
    }

    /// Overrides how the tokenizer normalizes text.
    #[must_use]
    pub fn with_tokenizer(mut self, options: TokenizerOptions) -> Self {
        self.tokenizer = options;
        self
    }

    /// Computes the metrics.
    ///
    /// # Errors
    /// If the model lacks the head, a file cannot be read, or a row is not an example of the task or
    /// has a label that the model lacks.
    pub fn evaluate(&self, data: &DataFiles) -> Result<Report> {
        let checkpoint = self.model.checkpoint()?;
        let head = self.task.head();
        if let Some(tensor) = model::missing_head(&checkpoint, head) {
            return Err(Error::NoHead {
                model: self.model.name().into(),
                tensor,
            });
        }
        let tokenizer = Tokenizer::load(&self.model, &self.tokenizer)?;
        check(checkpoint.config(), &tokenizer)?;
        let options = self.examples.resolved(self.task, checkpoint.config())?;
        let labels = match self.task {
            FineTuneTask::Classification | FineTuneTask::MultiLabel | FineTuneTask::Tagging => {
                model::labels(&checkpoint, self.task)
            }
            _ => None,
        };
        let source = ExampleSource {
            task: self.task,
            model: &self.model,
            checkpoint: &checkpoint,
            tokenizer: &tokenizer,
            options: &options,
        };
        let (examples, labels) = source.read(data, labels.as_ref())?;
        let layout = Arc::new(FlatLayout::new(checkpoint.config(), head)?);
        let (parameters, _) = FlatParameters::from_checkpoint(&checkpoint, layout, 0)?;
        let pass_options = PassOptions::new(checkpoint.config());
        let mut pass = TrainingPass::new(Arc::clone(parameters.layout()), pass_options)?;
        let (loss, assessment) = run::assess(&mut pass, &parameters, &*examples)?;
        Ok(Report {
            examples: assessment.predictions.len(),
            metrics: run::with_loss(loss, &assessment),
            assessment,
            note: examples.note(),
            labels,
        })
    }
}

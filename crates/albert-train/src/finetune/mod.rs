//! Fine-tuning: a model for a task, from examples with labels.
//!
//! [`FineTune`] takes a model, files and settings; [`FineTune::run`] trains, and writes a folder that
//! loads like any other model:
//!
//! ```no_run
//! use albert_tasks::ModelFiles;
//! use albert_train::{Event, FineTune, FineTuneTask};
//!
//! # fn main() -> Result<(), albert_train::Error> {
//! let summary = FineTune::new(FineTuneTask::Classification, ModelFiles::resolve("albert-mini-en")?)
//!     .with_train("train.tsv")
//!     .with_eval("dev.tsv")
//!     .with_epochs(3.0)
//!     .with_settings(|settings| settings.learning_rate = 1e-4)
//!     .run("my-classifier", |event| {
//!         if let Event::Evaluated { step, evaluation, .. } = event {
//!             println!("step {step}: {evaluation:?}");
//!         }
//!     })?;
//! println!("{:?}", summary.evaluation);
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Content |
//! |---|---|
//! | `task`, `preset`, `options` | the tasks, known data sets, the way from rows to examples |
//! | `files`, `texts`, `race`, `window` | rows of any format, and the parts that tasks share |
//! | `classification`, `regression`, `multi_label`, `tagging`, … | one task each |
//! | `model`, `rates`, `run` | the head, learning rates by depth, the run of the trainer |
//! | `evaluate` | metrics of a finished model |

mod answering;
mod choice;
mod classification;
mod evaluate;
mod example_source;
mod examples;
mod files;
mod labels;
mod model;
mod multi_label;
mod options;
mod preset;
mod race;
mod rates;
mod regression;
mod run;
mod sequences;
mod similarity;
mod span;
mod tagging;
mod task;
mod texts;
mod window;

use std::path::Path;
use std::sync::Arc;

use albert_tasks::albert_model::AlbertConfig;
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde_json::json;

pub use evaluate::{Evaluator, Report};
pub use examples::Assessment;
pub use files::DataFiles;
pub use labels::Labels;
pub(crate) use model::pooling;
pub use options::{ClassWeights, ExampleOptions};
pub use preset::{Preset, PresetSettings};
pub use run::FineTuning;
pub use task::FineTuneTask;

use crate::error::{Error, Result};
use crate::optim::schedule::Warmup;
use crate::optim::{OptimizerKind, OptimizerSettings};
use crate::pass_settings::PassSettings;
use crate::trainer::{Event, Length, Summary, TrainerSettings};
use example_source::ExampleSource;

/// The learning rate of a run that sets none.
///
/// Source: transformers 4.46.3, `TrainingArguments`.
const LEARNING_RATE: f64 = 5e-5;

/// Epochs of a run that sets no length.
const EPOCHS: f64 = 3.0;

/// The setup of a fine-tuning run: a task, a model to start with, data and settings.
#[derive(Debug, Clone)]
pub struct FineTune {
    task: FineTuneTask,
    model: ModelFiles,
    tokenizer: TokenizerOptions,
    train: Option<DataFiles>,
    eval: Option<DataFiles>,
    examples: ExampleOptions,
    settings: TrainerSettings,
    seed: u64,
    shuffle: bool,
    pass: PassSettings,
    layer_groups: Option<usize>,
    layer_decay: f64,
}

impl FineTune {
    /// Sets up the fine-tuning of a model for a task, with the defaults of transformers' Trainer.
    pub fn new(task: FineTuneTask, model: ModelFiles) -> Self {
        let optimizer = OptimizerSettings::new(OptimizerKind::AdamW);
        Self {
            task,
            model,
            tokenizer: TokenizerOptions::default(),
            train: None,
            eval: None,
            examples: ExampleOptions::default(),
            settings: TrainerSettings::new(Length::Epochs(EPOCHS), optimizer, LEARNING_RATE),
            seed: 42,
            shuffle: true,
            pass: PassSettings::default(),
            layer_groups: None,
            layer_decay: 1.0,
        }
    }

    /// Takes the task, the fields and the settings of a known data set. Settings made after this
    /// replace its own.
    pub fn from_preset(preset: Preset, model: ModelFiles) -> Self {
        let mut run = Self::new(preset.task(), model);
        let known = preset.settings();
        run.examples.preset = Some(preset);
        run.settings.length = known.length();
        run.settings.learning_rate = known.learning_rate;
        run.settings.batch_size = known.batch_size;
        run.settings.warmup = Warmup::Steps(known.warmup_steps);
        run.with_metric(preset.metric())
    }

    /// Trains on these files.
    #[must_use]
    pub fn with_train(mut self, data: impl Into<DataFiles>) -> Self {
        self.train = Some(data.into());
        self
    }

    /// Evaluates on these files.
    #[must_use]
    pub fn with_eval(mut self, data: impl Into<DataFiles>) -> Self {
        self.eval = Some(data.into());
        self
    }

    /// Trains for a number of passes over the data.
    #[must_use]
    pub fn with_epochs(mut self, epochs: f64) -> Self {
        self.settings.length = Length::Epochs(epochs);
        self
    }

    /// Trains for a number of optimizer steps.
    #[must_use]
    pub fn with_steps(mut self, steps: u64) -> Self {
        self.settings.length = Length::Steps(steps);
        self
    }

    /// Sets the metric that selects the best evaluation.
    #[must_use]
    pub fn with_metric(mut self, metric: &str) -> Self {
        self.settings.metric = Some(metric.into());
        self
    }

    /// Changes the settings of the trainer: length, batch, optimizer, rate, schedule, evaluations.
    #[must_use]
    pub fn with_settings(mut self, change: impl FnOnce(&mut TrainerSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Changes the options that turn rows into examples: fields, labels, length, class weights.
    #[must_use]
    pub fn with_examples(mut self, change: impl FnOnce(&mut ExampleOptions)) -> Self {
        change(&mut self.examples);
        self
    }

    /// Overrides how the tokenizer normalizes text.
    #[must_use]
    pub fn with_tokenizer(mut self, options: TokenizerOptions) -> Self {
        self.tokenizer = options;
        self
    }

    /// Sets the seed of every random draw.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets whether each epoch takes the examples in a random order or in that of the files.
    #[must_use]
    pub fn with_shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Changes the settings of the forward and backward pass: engine, dropout, frozen parts.
    #[must_use]
    pub fn with_pass(mut self, change: impl FnOnce(&mut PassSettings)) -> Self {
        change(&mut self.pass);
        self
    }

    /// Copies the single layer group to this many groups, which are then trained separately.
    #[must_use]
    pub fn with_layer_groups(mut self, groups: usize) -> Self {
        self.layer_groups = Some(groups);
        self
    }

    /// Multiplies the learning rate by this factor from each group of layers to the one below it: 1
    /// for the head, the smallest for the embeddings.
    #[must_use]
    pub fn with_layer_decay(mut self, decay: f64) -> Self {
        self.layer_decay = decay;
        self
    }

    /// Reads and tokenizes the data, and makes the head.
    ///
    /// # Errors
    /// If a file cannot be read, a row is not an example of the task, an evaluation row has a label
    /// that the training data lacks, or the settings do not fit the model.
    pub fn prepare(&self) -> Result<FineTuning> {
        let checkpoint = self.model.checkpoint()?;
        let tokenizer = Tokenizer::load(&self.model, &self.tokenizer)?;
        self.check(checkpoint.config(), &tokenizer)?;
        let options = self.examples.resolved(self.task, checkpoint.config())?;
        let train = self.train.as_ref().ok_or_else(|| Error::Setting {
            name: "train",
            expected: "files of examples".into(),
            found: "none".into(),
        })?;
        let source = ExampleSource {
            task: self.task,
            model: &self.model,
            checkpoint: &checkpoint,
            tokenizer: &tokenizer,
            options: &options,
        };
        let (examples, labels) = source.read(train, None)?;
        let options = ExampleOptions {
            training_scores: examples.score_range(),
            ..options.clone()
        };
        let source = ExampleSource {
            options: &options,
            ..source
        };
        let evaluation = match &self.eval {
            Some(data) => Some(source.read(data, labels.as_ref())?.0),
            None => None,
        };
        let start = model::start(
            &checkpoint,
            self.task,
            labels.as_ref(),
            self.layer_groups,
            self.seed,
        )?;
        let layout = Arc::clone(start.parameters.layout());
        let pass = self.pass.pass(&layout)?;
        let sizes = |data: &DataFiles| {
            let size = |path: &std::path::PathBuf| {
                let bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
                json!([path.display().to_string(), bytes])
            };
            data.paths.iter().map(size).collect::<Vec<_>>()
        };
        let mut data = json!({
            "files": sizes(train),
            "evaluation": self.eval.as_ref().map(sizes),
            "examples": examples.len(),
        });
        self.pass.add_to_fingerprint(&pass, &mut data);
        Ok(FineTuning {
            pass,
            parameters: start.parameters,
            examples: examples.into(),
            evaluation,
            new_tensors: start.new_tensors,
            data,
            seed: self.seed,
            shuffle: self.shuffle,
            place: run::Place::default(),
            rates: match self.layer_decay {
                1.0 => Vec::new(),
                decay => rates::layer_rates(&layout, decay),
            },
            task: self.task,
            files: self.model.clone(),
        })
    }

    /// Returns the settings of the trainer.
    pub fn settings(&self) -> &TrainerSettings {
        &self.settings
    }

    /// Trains, and writes the model into a new folder.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`Trainer::run`](crate::Trainer::run), or if the folder exists.
    pub fn run(&self, folder: impl AsRef<Path>, observe: impl FnMut(Event<'_>)) -> Result<Summary> {
        let settings = self.settings.clone();
        crate::run::train(folder.as_ref(), || self.prepare(), settings, observe)
    }

    fn check(&self, config: &AlbertConfig, tokenizer: &Tokenizer) -> Result<()> {
        if self.task == FineTuneTask::Similarity && self.pass.frozen.encoder {
            return Err(Error::Setting {
                name: "frozen",
                expected: "a part of the model that is trained".into(),
                found: "the encoder, which is all that similarity trains".into(),
            });
        }
        check(config, tokenizer)
    }
}

/// Makes sure that the model has an embedding for every piece.
fn check(config: &AlbertConfig, tokenizer: &Tokenizer) -> Result<()> {
    let pieces = tokenizer.vocab_size();
    if config.vocab_size >= pieces {
        return Ok(());
    }
    Err(Error::Setting {
        name: "vocab_size",
        expected: format!("at least the tokenizer's {pieces} pieces"),
        found: config.vocab_size.to_string(),
    })
}

//! The errors of training.

use std::path::PathBuf;

/// A result whose error is this crate's.
pub type Result<T> = std::result::Result<T, Error>;

/// The reason why a run cannot start or continue.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or a folder cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A file or a folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },

    /// A corpus has no file with text.
    #[error("`{}`: expected text files (.txt, .gz, .zst), found none", .0.display())]
    NoText(PathBuf),

    /// A line of a corpus is not a sentence.
    #[error("`{}`, line {line}: {reason}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// The reason.
        reason: String,
    },

    /// A corpus whose files contain no sentence.
    #[error("{0}: expected one sentence per line, found no text")]
    EmptyCorpus(String),

    /// A row of training or evaluation data is not an example of the task.
    #[error("{place}: {reason}")]
    Example {
        /// The file with the line or row.
        place: String,
        /// The difference.
        reason: String,
    },

    /// Files of training or evaluation data have no row.
    #[error("{0}: expected examples, found none")]
    NoExamples(String),

    /// Training or evaluation data cannot be read.
    #[error(transparent)]
    Data(Box<dyn std::error::Error + Send + Sync>),

    /// The text yields no example of the requested length.
    #[error("maximum length: expected at least {least} tokens, found {found}")]
    TooShort {
        /// The fewest tokens of an example.
        least: usize,
        /// The requested maximum.
        found: usize,
    },

    /// The output folder has files that this run did not write.
    #[error("`{}` exists: expected a new folder", .0.display())]
    OutputExists(PathBuf),

    /// The folder has no run to resume.
    #[error("`{}`: expected a run to continue, found none", .0.display())]
    NoSnapshot(PathBuf),

    /// The run has reached its end.
    #[error("`{}`: the run is finished", .0.display())]
    Finished(PathBuf),

    /// A snapshot is inconsistent, or belongs to another run.
    #[error("snapshot `{}`: {reason}", path.display())]
    Snapshot {
        /// The snapshot's folder.
        path: PathBuf,
        /// The difference.
        reason: String,
    },

    /// The data of a resumed run has changed.
    #[error("the training or evaluation files differ from those that the run started with")]
    OtherData,

    /// A recipe cannot be used.
    #[error("recipe `{}`: {reason}", path.display())]
    Recipe {
        /// The file.
        path: PathBuf,
        /// The line and the reason.
        reason: String,
    },

    /// A setting is out of range.
    #[error("`{name}`: expected {expected}, found {found}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// The range.
        expected: String,
        /// The value.
        found: String,
    },

    /// The loss or the gradient is not a finite number.
    #[error(
        "the {what} of step {step} is {value} at a learning rate of {learning_rate:.3e} \
         (sequences {first} to {last} of epoch {epoch})"
    )]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// The step, from 1.
        step: u64,
        /// The value: NaN or an infinity.
        value: f64,
        /// The learning rate of the step.
        learning_rate: f64,
        /// The epoch of the batch's first sequence, from 0.
        epoch: u64,
        /// The first sequence of the batch within its epoch.
        first: u64,
        /// The last sequence of the batch.
        last: u64,
    },

    /// The model lacks the head that is evaluated.
    #[error("`{model}`: expected a model with the task's head, found no tensor `{tensor}`")]
    NoHead {
        /// The model.
        model: String,
        /// The first tensor that it lacks.
        tensor: String,
    },

    /// The tokenizer lacks a token or cannot be used.
    #[error(transparent)]
    Tasks(#[from] albert_tasks::Error),

    /// A step cannot be computed.
    #[error(transparent)]
    Engine(#[from] albert_tasks::albert_model::train::TrainError),

    /// The network or its files.
    #[error(transparent)]
    Model(#[from] albert_tasks::albert_model::Error),
}

impl Error {
    /// Returns the error of reading `path`.
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// Returns the error of reading rows.
    pub(crate) fn data(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Data(source.into())
    }

    /// Returns the error of writing `path`.
    pub(crate) fn write(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}

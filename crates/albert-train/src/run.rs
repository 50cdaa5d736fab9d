//! A run in its output folder, from the first check of the folder to the model in it.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//!
//! use albert_train::{Run, Task, TrainerSettings};
//!
//! # fn example(task: &mut dyn Task, settings: TrainerSettings) -> Result<(), albert_train::Error> {
//! let run = Run::new("my-albert")?;
//! let summary = run.start(task, settings, "")?.train(&AtomicBool::new(false), &mut |_| ())?;
//! println!("{:?}", summary.evaluation);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result};
use crate::output::Output;
use crate::snapshot::Snapshot;
use crate::trainer::{End, Event, Summary, Task, Trainer, TrainerSettings};

/// A run before its data is read: a new one, or one that is resumed.
#[derive(Debug)]
pub struct Run {
    folder: PathBuf,
    resumed: Option<(Output, Option<Snapshot>)>,
}

impl Run {
    /// Returns a new run. Nothing is written yet.
    ///
    /// # Errors
    /// If the folder exists and is not empty, or cannot be read.
    pub fn new(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Output::check_vacant(folder)?;
        Ok(Self {
            folder: folder.into(),
            resumed: None,
        })
    }

    /// Returns the run in a folder, which continues from its last snapshot. Without a snapshot it
    /// starts again, with the same bits.
    ///
    /// # Errors
    /// If the folder has no unfinished run, or the snapshot cannot be read.
    pub fn resume(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        Ok(Self {
            folder: folder.into(),
            resumed: Some(Output::resume(folder)?),
        })
    }

    /// Returns the snapshot that the run continues from, if any.
    pub fn snapshot(&self) -> Option<&Snapshot> {
        self.resumed.as_ref()?.1.as_ref()
    }

    /// Starts or resumes the training of a task. A new run creates its folder with `recipe` in it,
    /// after all errors of settings and data have been reported.
    ///
    /// # Errors
    /// If the settings exclude each other, the data cannot be read or differs from that of the run
    /// that is resumed, or a file cannot be written.
    pub fn start<'a>(
        self,
        task: &'a mut dyn Task,
        settings: TrainerSettings,
        recipe: &str,
    ) -> Result<Training<'a>> {
        let (output, snapshot) = match self.resumed {
            Some(resumed) => resumed,
            None => {
                settings.steps(task)?;
                (Output::create(&self.folder, recipe)?, None)
            }
        };
        let trainer = match &snapshot {
            None => {
                task.begin(&output)?;
                Trainer::start(task, output.training(), settings)?
            }
            Some(snapshot) if snapshot.state().fingerprint != task.fingerprint() => {
                return Err(Error::OtherData);
            }
            Some(snapshot) => Trainer::resume(task, output.training(), settings, snapshot)?,
        };
        Ok(Training {
            task,
            trainer,
            output,
        })
    }
}

/// Trains a task in a new folder. The folder is checked before the task is prepared.
pub(crate) fn train<T: Task>(
    folder: &Path,
    prepare: impl FnOnce() -> Result<T>,
    settings: TrainerSettings,
    mut observe: impl FnMut(Event<'_>),
) -> Result<Summary> {
    let run = Run::new(folder)?;
    let mut task = prepare()?;
    let training = run.start(&mut task, settings, "")?;
    training.train(&AtomicBool::new(false), &mut observe)
}

/// A run with its task, ready to be trained.
pub struct Training<'a> {
    task: &'a mut dyn Task,
    trainer: Trainer,
    output: Output,
}

impl fmt::Debug for Training<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Training");
        shown.field("trainer", &self.trainer);
        shown.field("output", &self.output).finish_non_exhaustive()
    }
}

impl Training<'_> {
    /// Also writes event files for TensorBoard into a folder.
    ///
    /// # Errors
    /// If the folder or the file cannot be written.
    pub fn with_tensor_board(mut self, folder: &Path) -> Result<Self> {
        self.trainer = self.trainer.with_tensor_board(folder)?;
        Ok(self)
    }

    /// Returns the loop with its counters.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Trains to the end, and writes the model into the folder. If `stop` is set, the step is
    /// finished and a snapshot written instead.
    ///
    /// # Errors
    /// If data cannot be read, a file cannot be written, or a loss or a gradient is not finite.
    pub fn train(
        mut self,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary> {
        let summary = self.trainer.run(self.task, stop, observe)?;
        if summary.end != End::Stopped {
            self.task.write(&self.output)?;
        }
        Ok(summary)
    }
}

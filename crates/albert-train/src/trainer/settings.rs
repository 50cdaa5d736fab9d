//! The settings of the training loop.

use std::time::Duration;

use super::task::Task;
use crate::error::{Error, Result};
use crate::optim::OptimizerSettings;
use crate::optim::schedule::{Schedule, Warmup};

/// The length of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// Passes over the training data.
    Epochs(f64),
    /// Optimizer steps.
    Steps(u64),
    /// A duration, over which the schedule advances in place of steps. Such a run depends on the
    /// speed of the machine: it cannot be repeated bit for bit.
    Time(Duration),
}

impl Length {
    /// Returns the duration of a run whose length is a time.
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::Time(time) => Some(time),
            Self::Epochs(_) | Self::Steps(_) => None,
        }
    }
}

/// The frequency of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// After each this many steps.
    Steps(u64),
    /// After each epoch.
    Epoch,
}

impl Every {
    pub(super) fn is_due(self, step: u64, (before, after): (f64, f64)) -> bool {
        match self {
            Self::Steps(steps) => step.is_multiple_of(steps),
            Self::Epoch => before.floor() < after.floor(),
        }
    }
}

impl std::str::FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text == "epoch" => Ok(Self::Epoch),
            Ok(steps) if steps > 0 => Ok(Self::Steps(steps)),
            _ => Err("expected a number of steps from 1, or epoch".into()),
        }
    }
}

impl std::fmt::Display for Every {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steps(steps) => steps.fmt(f),
            Self::Epoch => f.write_str("epoch"),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainerSettings {
    /// The length of the whole run.
    pub length: Length,
    /// Examples in a step.
    pub batch_size: usize,
    /// The number of passes into which a step's examples are divided.
    pub accumulate: usize,
    /// The optimizer.
    pub optimizer: OptimizerSettings,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The shape of the learning rate over the run.
    pub schedule: Schedule,
    /// The warm-up.
    pub warmup: Warmup,
    /// The largest global norm of the gradient; 0 for any.
    pub clip: f64,
    /// The frequency of evaluations.
    pub eval_every: Every,
    /// The frequency of snapshots.
    pub save_every: Every,
    /// The metric that selects the best evaluation; `None` for that of the task.
    pub metric: Option<String>,
    /// The number of evaluations without improvement after which the run ends.
    pub patience: Option<u64>,
    /// True if the result is the last weights, and not those of the best evaluation.
    pub keep_last: bool,
    /// The decay of a moving average of the weights, which is then evaluated and kept in their
    /// place.
    pub average: Option<f64>,
}

impl TrainerSettings {
    /// Returns the defaults for a run of this length.
    pub fn new(length: Length, optimizer: OptimizerSettings, learning_rate: f64) -> Self {
        Self {
            length,
            batch_size: 32,
            accumulate: 1,
            optimizer,
            learning_rate,
            schedule: Schedule::Linear,
            warmup: Warmup::Steps(0),
            clip: 1.0,
            eval_every: Every::Epoch,
            save_every: Every::Steps(500),
            metric: None,
            patience: None,
            keep_last: false,
            average: None,
        }
    }

    /// Returns the number of steps; for a run whose length is a time, a number that it cannot
    /// reach.
    ///
    /// # Errors
    /// If settings exclude each other, or the data cannot be read.
    pub fn steps(&self, task: &mut dyn Task) -> Result<u64> {
        if let (Length::Time(_), Warmup::Steps(1..)) = (self.length, self.warmup) {
            return Err(Error::Setting {
                name: "warmup",
                expected: "a fraction, because the length of the run is a time".into(),
                found: "a number of steps".into(),
            });
        }
        match self.length {
            Length::Steps(steps) => Ok(steps),
            Length::Epochs(epochs) => task.steps(epochs, self.batch_size),
            Length::Time(_) => Ok(u64::MAX),
        }
    }
}

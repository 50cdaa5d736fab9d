//! The interface between the training loop and the model and data that it trains on.

use serde_json::Value;

use crate::error::Result;
use crate::optim::Groups;
use crate::output::Output;

/// Metrics by name, in the order in which they are written.
pub type Evaluation = Vec<(String, f64)>;

/// A training task: parameters, their gradients, and the data that they come from.
pub trait Task {
    /// Returns the tensors of the flat buffers.
    fn groups(&self) -> Groups;

    /// Returns the parameters and their gradients.
    fn buffers(&mut self) -> (&mut [f32], &mut [f32]);

    /// Takes the next examples, and replaces the gradients by those of their mean loss, computed in
    /// the given number of passes. `step` counts from 1.
    ///
    /// # Errors
    /// If the data cannot be read or the network cannot be computed.
    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss>;

    /// Returns the metrics of the evaluation data; `None` without such data.
    ///
    /// # Errors
    /// See [`accumulate`](Self::accumulate).
    fn evaluate(&mut self) -> Result<Option<Evaluation>>;

    /// Returns the metric that selects the best evaluation, unless the settings name another.
    fn metric(&self) -> &str {
        "loss"
    }

    /// Returns the number of steps in a number of epochs.
    ///
    /// # Errors
    /// If the data cannot be read.
    fn steps(&mut self, epochs: f64, batch_size: usize) -> Result<u64>;

    /// Returns the epochs passed, with fractions.
    fn epochs(&self) -> f64;

    /// Returns the place in the data, for a snapshot.
    fn place(&self) -> Value;

    /// Goes to a place that [`place`](Self::place) returned.
    ///
    /// # Errors
    /// If the data cannot be read, or the value is not a place.
    fn go_to(&mut self, place: &Value) -> Result<()>;

    /// Returns all that the losses depend on: files with their sizes, settings, slots.
    fn fingerprint(&self) -> Value;

    /// Writes what a resumed run needs in addition to a snapshot; by default nothing. Called before
    /// the first step.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn begin(&self, _output: &Output) -> Result<()> {
        Ok(())
    }

    /// Writes the trained model into the output folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    fn write(&self, output: &Output) -> Result<()>;
}

/// The loss of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLoss {
    /// The mean over the step's examples.
    pub loss: f64,
    /// Its terms by name.
    pub terms: Vec<(&'static str, f64)>,
    /// The tokens of the step.
    pub tokens: usize,
    /// The epoch of the first example, from 0.
    pub epoch: u64,
    /// The first and the last example within their epoch.
    pub examples: (u64, u64),
}

//! Losses and gradients of whole batches, by the CPU's own pass or by Candle's autograd.

use std::sync::Arc;

use candle_core::{DType, Device};

use crate::train::batch::TrainingBatch;
use crate::train::candle::CandlePass;
use crate::train::cpu::CpuPass;
use crate::train::error::Result;
use crate::train::flat::{FlatLayout, FlatParameters};
use crate::train::objective::{Objective, ObjectiveLoss};
use crate::train::objectives::StateReader;
use crate::train::options::{Draw, PassOptions};

/// Computes losses and gradients of batches of any size.
///
/// [`new`](Self::new) makes the pass that is the fused inference path run backwards: bundles of a few
/// sequences go forward and back one after another, so that memory does not grow with the batch, and
/// the result has the same bits on any number of threads. [`with_autograd`](Self::with_autograd)
/// makes one on Candle's autograd, for GPUs and as the reference. Parameters and gradients are in
/// f32 on the CPU in both.
#[derive(Debug)]
pub struct TrainingPass(Engine);

#[derive(Debug)]
enum Engine {
    Cpu(Box<CpuPass>),
    Candle(Box<CandlePass>),
}

/// The losses of a batch.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct StepReport {
    /// One for each objective.
    pub losses: Vec<ObjectiveLoss>,
    /// Tokens of the batch.
    pub tokens: usize,
}

impl StepReport {
    /// Returns the sum of all objectives.
    pub fn loss(&self) -> f64 {
        self.losses.iter().map(|objective| objective.loss).sum()
    }
}

impl TrainingPass {
    /// Makes the CPU's pass for models of this layout.
    ///
    /// Memory: slots × (parameters + (8H + I) × bundle × layers) + 2 × weights, each value 4 bytes.
    ///
    /// # Errors
    /// If the requested instruction set is not available.
    pub fn new(layout: Arc<FlatLayout>, options: PassOptions) -> Result<Self> {
        let pass = CpuPass::new(layout, options)?;
        Ok(Self(Engine::Cpu(Box::new(pass))))
    }

    /// Creates a pass on Candle's autograd, which computes on `device` in `dtype`: f32 or bf16, or
    /// f64 for a reference. Norms, softmax, losses, and sums of gradients over repetitions are in
    /// f32 at least.
    ///
    /// If the device runs out of memory, the part of a batch that is computed together is halved,
    /// and `notice` is called with its number of tokens.
    ///
    /// # Errors
    /// If the instruction set that the environment names, which generates the dropout masks, is not
    /// available, or `dtype` is another type.
    pub fn with_autograd(
        layout: Arc<FlatLayout>,
        options: PassOptions,
        device: &Device,
        dtype: DType,
        notice: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Self> {
        let pass = CandlePass::new(layout, options, device, dtype, Box::new(notice))?;
        Ok(Self(Engine::Candle(Box::new(pass))))
    }

    /// Returns the options of the pass.
    pub fn options(&self) -> &PassOptions {
        match &self.0 {
            Engine::Cpu(pass) => pass.options(),
            Engine::Candle(pass) => pass.options(),
        }
    }

    /// Computes the losses of a batch and adds their gradients to those of earlier calls.
    ///
    /// # Errors
    /// If the batch or the targets do not fit the model, or the device fails. A loss that is not
    /// finite is returned.
    pub fn accumulate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Draw,
    ) -> Result<StepReport> {
        match &mut self.0 {
            Engine::Cpu(pass) => pass.accumulate(parameters, batch, objectives, draw),
            Engine::Candle(pass) => pass.accumulate(parameters, batch, objectives, draw),
        }
    }

    /// Computes the losses of a batch without dropout and without gradients.
    ///
    /// # Errors
    /// If the batch or the targets do not fit the model, or the device fails.
    pub fn evaluate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<StepReport> {
        match &mut self.0 {
            Engine::Cpu(pass) => pass.evaluate(parameters, batch, objectives),
            Engine::Candle(pass) => pass.evaluate(parameters, batch, objectives),
        }
    }

    /// Computes the losses of a batch and the values that the objective's head computes for each
    /// sequence: the logits of a sequence (`(C)`), of its labeled tokens in order
    /// (`(tokens, C)`), of its masked tokens (`(masks, V)`), of starts and ends (`(T, 2)`), the
    /// score of a choice (`(1)`), or a vector (`(H)`).
    ///
    /// A sequence without a target has no values.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn predict(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objective: &dyn Objective,
    ) -> Result<(StepReport, Vec<Vec<f32>>)> {
        let (report, mut values) = self.values(parameters, batch, &[objective])?;
        Ok((report, values.swap_remove(0)))
    }

    /// Computes the hidden states of all rows of a batch after some numbers of repetitions, each
    /// `(tokens, H)`: 0 is the projected embeddings, L the model's output.
    ///
    /// # Errors
    /// If the model has fewer repetitions, or as [`evaluate`](Self::evaluate).
    pub fn hidden_states(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        repetitions: &[usize],
    ) -> Result<Vec<Vec<f32>>> {
        let layout = Arc::clone(parameters.layout());
        let readers: Result<Vec<_>> = repetitions
            .iter()
            .map(|repetition| StateReader::new(&layout, *repetition))
            .collect();
        let readers = readers?;
        let objectives: Vec<&dyn Objective> = readers.iter().map(|it| it as _).collect();
        let (_, states) = self.values(parameters, batch, &objectives)?;
        Ok(states.into_iter().map(|it| it.concat()).collect())
    }

    /// Computes the losses of a batch and the values of each objective's head for each sequence.
    fn values(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<(StepReport, Vec<Vec<Vec<f32>>>)> {
        match &mut self.0 {
            Engine::Cpu(pass) => pass.predict(parameters, batch, objectives),
            Engine::Candle(pass) => pass.predict(parameters, batch, objectives),
        }
    }

    /// Computes the losses of a batch and their gradients alone.
    ///
    /// # Errors
    /// As [`accumulate`](Self::accumulate).
    pub fn step(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Draw,
    ) -> Result<(StepReport, &mut [f32])> {
        self.clear();
        let report = self.accumulate(parameters, batch, objectives, draw)?;
        Ok((report, self.gradients()))
    }

    /// Returns the sum of the gradients since [`clear`](Self::clear), in the layout's order.
    pub fn gradients(&mut self) -> &mut [f32] {
        match &mut self.0 {
            Engine::Cpu(pass) => pass.gradients(),
            Engine::Candle(pass) => pass.gradients(),
        }
    }

    /// Sets all gradients to 0.
    pub fn clear(&mut self) {
        match &mut self.0 {
            Engine::Cpu(pass) => pass.clear(),
            Engine::Candle(pass) => pass.clear(),
        }
    }
}

//! The training pass on Candle's autograd: any device, and the reference of the CPU's own pass.
//!
//! Parameters are uploaded in f32 for each call and cast where they are used, so that the gradient
//! of a weight that all repetitions share is summed in f32. Sequences of similar length are padded
//! to each other and go forward and back together.

mod chunk;
mod head;
mod network;
mod variables;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use albert_kernels::InstructionSet;
use albert_kernels::training::DropoutKey;
use candle_core::{DType, Device, Tensor};

use crate::train::batch::TrainingBatch;
use crate::train::error::{Result, TrainError};
use crate::train::flat::{FlatLayout, FlatParameters};
use crate::train::objective::{Objective, ObjectiveLoss};
use crate::train::options::{Draw, Dropout, PassOptions};
use crate::train::pass::StepReport;
use crate::train::slot::Recorded;

use chunk::Chunk;
pub(super) use head::{Place, TensorHead, TensorLoss, ranks};
use network::TensorNetwork;
use variables::Variables;

/// The maximum number of tokens in a pass, padding included, on a GPU and on the CPU.
const GPU_TOKENS: usize = 16 << 10;
const CPU_TOKENS: usize = 1 << 10;

/// Called with the new limit of tokens in a pass after the device ran out of memory.
pub(super) type Notice = Box<dyn Fn(usize) + Send + Sync>;

pub(super) struct CandlePass {
    layout: Arc<FlatLayout>,
    options: PassOptions,
    instructions: InstructionSet,
    device: Device,
    dtype: DType,
    /// The maximum number of tokens in a pass, padding included.
    tokens: AtomicUsize,
    notice: Notice,
    gradients: Vec<f32>,
}

/// Shows where it computes.
impl fmt::Debug for CandlePass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CandlePass");
        shown
            .field("options", &self.options)
            .field("device", &self.device)
            .field("dtype", &self.dtype)
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

/// The values of heads.
type Records = RefCell<Vec<Recorded>>;

/// The result of a part of the batch.
struct Part {
    losses: Vec<ObjectiveLoss>,
    /// For each objective over vectors, those of the part's sequences, `(n, H)`.
    vectors: Vec<Vec<f32>>,
}

impl CandlePass {
    pub(super) fn new(
        layout: Arc<FlatLayout>,
        options: PassOptions,
        device: &Device,
        dtype: DType,
        notice: Notice,
    ) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::BF16 | DType::F64) {
            let found = dtype.as_str().into();
            return Err(TrainError::DType { found });
        }
        let is_cpu = matches!(device, Device::Cpu);
        Ok(Self {
            gradients: Vec::new(),
            instructions: InstructionSet::current()?,
            tokens: AtomicUsize::new(if is_cpu { CPU_TOKENS } else { GPU_TOKENS }),
            device: device.clone(),
            layout,
            options,
            dtype,
            notice,
        })
    }

    pub(super) fn options(&self) -> &PassOptions {
        &self.options
    }

    pub(super) fn accumulate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Draw,
    ) -> Result<StepReport> {
        self.run(parameters, batch, objectives, Some(draw), None)
    }

    pub(super) fn evaluate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<StepReport> {
        self.run(parameters, batch, objectives, None, None)
    }

    pub(super) fn predict(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<(StepReport, Vec<Vec<Vec<f32>>>)> {
        let recorded = Records::default();
        let report = self.run(parameters, batch, objectives, None, Some(&recorded))?;
        let values = Recorded::sorted(recorded.into_inner(), objectives.len(), batch.len());
        Ok((report, values))
    }

    pub(super) fn gradients(&mut self) -> &mut [f32] {
        self.gradients.resize(self.layout.len(), 0.0);
        &mut self.gradients
    }

    pub(super) fn clear(&mut self) {
        self.gradients.fill(0.0);
    }

    fn run(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Option<Draw>,
        recorded: Option<&Records>,
    ) -> Result<StepReport> {
        batch.check_step(&self.layout, parameters, objectives)?;
        let mut report = StepReport {
            losses: vec![ObjectiveLoss::default(); objectives.len()],
            tokens: batch.tokens(),
        };
        if batch.is_empty() {
            return Ok(report);
        }
        let vectors_of = |index: usize| objectives[index].vectors();
        let mut vector_gradients: Vec<Option<Tensor>> = vec![None; objectives.len()];
        let indices = 0..objectives.len();
        if indices.clone().any(|index| vectors_of(index).is_some()) {
            // The vectors of the whole batch without a graph, then the gradient of each.
            let variables = Variables::new(&self.layout, parameters, None, &self.device);
            let mut vectors: Vec<Vec<f32>> = vec![Vec::new(); objectives.len()];
            let h = self.layout.config().hidden_size;
            vectors
                .iter_mut()
                .for_each(|all| all.resize(batch.len() * h, 0.0));
            self.each_part(&variables, batch, draw, |step, chunk| {
                let part = step.vectors(chunk, objectives)?;
                for (all, some) in vectors.iter_mut().zip(part.vectors) {
                    for (sequence, vector) in chunk.sequences.iter().zip(some.chunks_exact(h)) {
                        all[sequence * h..][..h].copy_from_slice(vector);
                    }
                }
                Ok(())
            })?;
            if let Some(recorded) = recorded {
                for objective in indices.clone().filter(|index| vectors_of(*index).is_some()) {
                    let vectors = vectors[objective].chunks_exact(h).enumerate();
                    let values = vectors.map(|(sequence, vector)| Recorded {
                        objective,
                        sequence,
                        values: vector.to_vec(),
                    });
                    recorded.borrow_mut().extend(values);
                }
            }
            for index in indices.clone() {
                if let Some(of_vectors) = vectors_of(index) {
                    let (loss, gradients) = of_vectors.compare(&vectors[index], h);
                    report.losses[index] = loss;
                    let gradients = Tensor::from_vec(gradients, (batch.len(), h), &self.device)?;
                    vector_gradients[index] = Some(gradients);
                }
            }
        }
        if draw.is_none() && indices.clone().all(|index| vectors_of(index).is_some()) {
            return Ok(report);
        }
        let frozen = draw.map(|_| self.options.frozen);
        let variables = Variables::new(&self.layout, parameters, frozen, &self.device);
        let mut gradients = std::mem::take(&mut self.gradients);
        gradients.resize(self.layout.len(), 0.0);
        let result = self.each_part(&variables, batch, draw, |step, chunk| {
            let (part, loss) = step.losses(chunk, objectives, &vector_gradients, recorded)?;
            if let (true, Some(loss)) = (draw.is_some(), loss) {
                variables.add_gradients(&loss.backward()?, &mut gradients)?;
            }
            for (sum, loss) in report.losses.iter_mut().zip(part.losses) {
                sum.add(loss);
            }
            Ok(())
        });
        self.gradients = gradients;
        result.map(|()| report)
    }

    /// Calls `work` with every part of the batch, with smaller ones where memory runs out.
    fn each_part(
        &self,
        variables: &Variables<'_>,
        batch: &TrainingBatch,
        draw: Option<Draw>,
        mut work: impl FnMut(&TensorNetwork<'_>, &Chunk<'_>) -> Result<()>,
    ) -> Result<()> {
        let step = TensorNetwork {
            config: self.layout.config(),
            network: self.layout.network(),
            variables,
            dtype: self.dtype,
            dropout: draw.map_or(Dropout::NONE, |_| self.options.dropout),
            key: draw.map_or(DropoutKey::new(0), |draw| {
                DropoutKey::new(draw.seed).with(draw.step)
            }),
            instructions: self.instructions,
            device: &self.device,
        };
        let mut waiting: VecDeque<_> =
            chunk::divide(batch, self.tokens.load(Ordering::Relaxed)).into();
        while let Some(units) = waiting.pop_front() {
            let chunk = Chunk::new(batch, &units, &self.device)?;
            match work(&step, &chunk) {
                Err(TrainError::Candle(error)) if is_out_of_memory(&error) && units.len() > 1 => {
                    let half = (chunk.padded_tokens() / 2).max(1);
                    self.tokens.store(half, Ordering::Relaxed);
                    (self.notice)(half);
                    let (first, second) = units.split_at(units.len() / 2);
                    waiting.push_front(second.to_vec());
                    waiting.push_front(first.to_vec());
                }
                result => result?,
            }
        }
        Ok(())
    }
}

/// Returns true if a device had no memory, by the status of CUDA's libraries.
fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = error.to_string();
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"]
        .iter()
        .any(|status| text.contains(status))
}

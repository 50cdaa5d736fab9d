//! Forward and backward of whole batches by the CPU's own kernels.

use std::sync::Arc;

use albert_kernels::training::{DropoutKey, add};
use albert_kernels::{Aligned, Heads, InstructionSet};
use rayon::prelude::*;

use crate::train::batch::TrainingBatch;
use crate::train::bundle::Bundle;
use crate::train::error::Result;
use crate::train::flat::{FlatLayout, FlatParameters};
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss};
use crate::train::options::{Draw, Dropout, PassOptions};
use crate::train::pass::StepReport;
use crate::train::slot::{Recorded, Shape, Slot, Step};
use crate::train::weights::PackedWeights;

/// The pass without an autograd, in constant memory.
///
/// A batch is divided into bundles of whole sequences. A bundle goes forward and back before the next
/// one begins, so that activations exist for one bundle of each slot. A slot is a buffer of
/// gradients; its bundles are computed one after another, and slots are summed in their order: the
/// result depends on the number of slots and not on the number of threads.
///
/// Memory: slots × (parameters + (8H + I) × bundle × layers) + 2 × weights, each value 4 bytes.
#[derive(Debug)]
pub(super) struct CpuPass {
    layout: Arc<FlatLayout>,
    options: PassOptions,
    instructions: InstructionSet,
    shape: Shape,
    packed: PackedWeights,
    slots: Vec<Slot>,
    zeros: Vec<f32>,
    /// True while a call keeps the values of the heads.
    records: bool,
    /// These values.
    recorded: Vec<Recorded>,
}

/// The last stage that a bundle reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// To the vectors of its sequences.
    Vectors,
    /// To losses and, in training, back.
    Losses,
}

impl CpuPass {
    /// Makes a pass for models of this layout.
    ///
    /// # Errors
    /// If the instruction set that the environment names is not available.
    pub(super) fn new(layout: Arc<FlatLayout>, options: PassOptions) -> Result<Self> {
        let instructions = InstructionSet::current()?;
        let config = layout.config();
        let network = layout.network();
        let shape = Shape {
            e: config.embedding_size,
            h: config.hidden_size,
            i: config.intermediate_size,
            heads: Heads {
                count: config.num_attention_heads,
                size: config.head_size(),
            },
            eps: config.layer_norm_eps as f32,
            activation: config.hidden_act.kernel(),
        };
        let layers = network.schedule.len();
        Ok(Self {
            instructions,
            shape,
            packed: PackedWeights::new(instructions, network.dense_count),
            slots: (0..options.slots.max(1))
                .map(|_| Slot::new(instructions, layers))
                .collect(),
            zeros: vec![0.0; config.hidden_size],
            options,
            layout,
            records: false,
            recorded: Vec::new(),
        })
    }

    /// Returns the options of the pass.
    pub(super) fn options(&self) -> &PassOptions {
        &self.options
    }

    /// Computes the losses of a batch and adds their gradients to those of earlier calls.
    ///
    /// # Errors
    /// If the batch or the targets do not fit the model. A loss that is not finite is returned.
    pub(super) fn accumulate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Draw,
    ) -> Result<StepReport> {
        for slot in &mut self.slots {
            if slot.gradients.is_empty() {
                slot.gradients = Aligned::zeros(self.layout.len());
            }
        }
        self.run(parameters, batch, objectives, Some(draw))
    }

    /// Computes the losses of a batch without dropout and without gradients.
    ///
    /// # Errors
    /// If the batch or the targets do not fit the model.
    pub(super) fn evaluate(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<StepReport> {
        self.run(parameters, batch, objectives, None)
    }

    pub(super) fn predict(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
    ) -> Result<(StepReport, Vec<Vec<Vec<f32>>>)> {
        self.records = true;
        let report = self.run(parameters, batch, objectives, None);
        self.records = false;
        let recorded = std::mem::take(&mut self.recorded);
        let values = Recorded::sorted(recorded, objectives.len(), batch.len());
        Ok((report?, values))
    }

    /// Returns the sum of the slots' gradients, in the order of the slots.
    pub(super) fn gradients(&mut self) -> &mut [f32] {
        /// Values that a thread sums at once.
        const PART: usize = 1 << 14;
        let instructions = self.instructions;
        let (first, rest) = self.slots.split_first_mut().expect("there is a slot");
        if first.gradients.is_empty() {
            first.gradients = Aligned::zeros(self.layout.len());
        }
        for slot in rest.iter_mut().filter(|slot| !slot.gradients.is_empty()) {
            let parts = first.gradients.par_chunks_mut(PART);
            parts
                .zip(slot.gradients.par_chunks_mut(PART))
                .for_each(|(sum, part)| {
                    add(instructions, part, sum);
                    part.fill(0.0);
                });
        }
        &mut first.gradients
    }

    /// Sets all gradients to 0.
    pub(super) fn clear(&mut self) {
        self.slots
            .par_iter_mut()
            .for_each(|slot| slot.gradients.fill(0.0));
    }

    fn run(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Option<Draw>,
    ) -> Result<StepReport> {
        batch.check_step(&self.layout, parameters, objectives)?;
        self.pack(parameters, objectives, draw.is_some());
        let mut report = StepReport {
            losses: vec![ObjectiveLoss::default(); objectives.len()],
            tokens: batch.tokens(),
        };
        if batch.is_empty() {
            return Ok(report);
        }

        let mut vector_gradients = vec![None; objectives.len()];
        let has_vectors = objectives
            .iter()
            .any(|objective| objective.vectors().is_some());
        if has_vectors {
            let vectors =
                self.run_bundles(parameters, batch, objectives, draw, &[], Stage::Vectors);
            for (index, objective) in objectives.iter().enumerate() {
                let Some(of_vectors) = objective.vectors() else {
                    continue;
                };
                let (loss, gradients) = of_vectors.compare(&vectors[index], self.shape.h);
                report.losses[index] = loss;
                vector_gradients[index] = Some(gradients);
            }
            if self.records {
                for (objective, vectors) in vectors.iter().enumerate() {
                    let vectors = vectors.chunks_exact(self.shape.h).enumerate();
                    self.recorded
                        .extend(vectors.map(|(sequence, vector)| Recorded {
                            objective,
                            sequence,
                            values: vector.to_vec(),
                        }));
                }
            }
        }
        let is_only_vectors = objectives
            .iter()
            .all(|objective| objective.vectors().is_some());
        if !is_only_vectors || draw.is_some() {
            let gradients = &vector_gradients[..];
            self.run_bundles(
                parameters,
                batch,
                objectives,
                draw,
                gradients,
                Stage::Losses,
            );
            for slot in &mut self.slots {
                for (sum, loss) in report.losses.iter_mut().zip(&slot.losses) {
                    sum.add(*loss);
                }
                self.recorded.append(&mut slot.recorded);
            }
        }
        Ok(report)
    }

    fn pack(
        &mut self,
        parameters: &FlatParameters,
        objectives: &[&dyn Objective],
        with_backward: bool,
    ) {
        let mut layers: Vec<&Dense> = self.layout.network().encoder().collect();
        for objective in objectives {
            layers.extend(objective.layers());
        }
        self.packed
            .refill(parameters.values(), &layers, with_backward);
    }

    /// Runs all bundles, as many at once as there are threads. Returns for each objective the
    /// vectors of all sequences, if the stage ends with them.
    fn run_bundles(
        &mut self,
        parameters: &FlatParameters,
        batch: &TrainingBatch,
        objectives: &[&dyn Objective],
        draw: Option<Draw>,
        vector_gradients: &[Option<Vec<f32>>],
        stage: Stage,
    ) -> Vec<Vec<f32>> {
        let step = Step {
            instructions: self.instructions,
            network: self.layout.network(),
            shape: self.shape,
            parameters: parameters.values(),
            packed: &self.packed,
            batch,
            objectives,
            vector_gradients,
            dropout: if draw.is_some() {
                self.options.dropout
            } else {
                Dropout::NONE
            },
            key: draw.map_or(DropoutKey::new(0), |draw| {
                DropoutKey::new(draw.seed).with(draw.step)
            }),
            frozen: self.options.frozen,
            skip_unread_rows: self.options.skip_unread_rows,
            is_training: draw.is_some(),
            records: self.records,
            zeros: &self.zeros,
        };
        let slots = self.slots.len();
        let bundles = batch.bundles(slots, self.options.bundle_tokens.max(1));
        let (step, bundles) = (&step, &bundles);
        let found: Vec<Vec<(usize, usize, Vec<f32>)>> = self
            .slots
            .par_iter_mut()
            .enumerate()
            .map(|(index, slot)| {
                slot.losses.clear();
                slot.losses
                    .resize(objectives.len(), ObjectiveLoss::default());
                let mine = bundles.iter().skip(index).step_by(slots);
                mine.flat_map(|bundle| slot.bundle(step, bundle, stage))
                    .collect()
            })
            .collect();
        let h = self.shape.h;
        let mut vectors: Vec<Vec<f32>> = objectives
            .iter()
            .map(|objective| match (stage, objective.vectors()) {
                (Stage::Vectors, Some(_)) => vec![0.0; batch.len() * h],
                _ => Vec::new(),
            })
            .collect();
        for (objective, sequence, vector) in found.into_iter().flatten() {
            vectors[objective][sequence * h..][..h].copy_from_slice(&vector);
        }
        vectors
    }
}

impl Slot {
    /// Computes one bundle, forward and back.
    fn bundle(
        &mut self,
        step: &Step<'_>,
        sequences: &[usize],
        stage: Stage,
    ) -> Vec<(usize, usize, Vec<f32>)> {
        let skips = step.skip_unread_rows;
        let bundle = Bundle::new(step.batch, sequences, step.objectives, skips);
        self.forward(step, &bundle);
        if stage == Stage::Vectors {
            return self.vectors(step, &bundle);
        }
        self.losses(step, &bundle);
        if step.is_training {
            self.backward(step, &bundle);
        }
        Vec::new()
    }

    /// Returns the vectors of all sequences for each objective that compares vectors.
    fn vectors(&self, step: &Step<'_>, bundle: &Bundle) -> Vec<(usize, usize, Vec<f32>)> {
        let (indices, h) = (bundle.indices(), step.shape.h);
        let mut vectors = Vec::new();
        for (index, objective) in step.objectives.iter().enumerate() {
            let Some(of_vectors) = objective.vectors() else {
                continue;
            };
            for span in &bundle.spans {
                let first = indices[span.start] * h;
                let vector = of_vectors.pool(&self.output[first..], span.tokens, h);
                vectors.push((index, span.sequence, vector));
            }
        }
        vectors
    }

    /// Computes all objectives; leaves the gradients of hidden states in `d_states` and `d_taps`.
    fn losses(&mut self, step: &Step<'_>, bundle: &Bundle) {
        let h = step.shape.h;
        self.d_states.resize(bundle.read_count() * h);
        self.d_states.fill(0.0);
        let (indices, all) = (bundle.indices(), (0..bundle.rows).collect::<Vec<_>>());
        let layers_each = self.kept.len() / step.network.repetitions;
        for (index, objective) in step.objectives.iter().enumerate() {
            let tap = objective.depth().map(|repetition| repetition * layers_each);
            let tap = tap.filter(|layer| *layer < self.kept.len());
            let (states, d_states, indices) = match tap {
                Some(layer) => {
                    let d_states = self.d_taps[layer].get_or_insert_default();
                    if d_states.len() != bundle.rows * h {
                        d_states.resize(bundle.rows * h);
                        d_states.fill(0.0);
                    }
                    (&self.kept[layer].input, d_states, &all)
                }
                None => (&self.output, &mut self.d_states, &indices),
            };
            let loss = objective.loss(&mut HeadPass {
                step,
                bundle,
                objective: index,
                states,
                d_states,
                indices,
                gradients: &mut self.gradients,
                scratch: &mut self.weight_scratch,
                logits: &mut self.logits,
                recorded: &mut self.recorded,
            });
            self.losses[index].add(loss);
        }
    }
}

//! Weights packed for the forward and the backward pass.

use albert_kernels::{InstructionSet, PackedMatrix, Rows};
use rayon::prelude::*;

use crate::train::network::Dense;

/// The weights of all dense layers, refilled after each step of an optimizer.
#[derive(Debug)]
pub(super) struct PackedWeights {
    /// Of each dense layer: `(input, out)` and `(out, input)`.
    pairs: Vec<[PackedMatrix; 2]>,
}

impl PackedWeights {
    pub(super) fn new(instructions: InstructionSet, count: usize) -> Self {
        let empty = || PackedMatrix::empty(instructions);
        Self {
            pairs: (0..count).map(|_| [empty(), empty()]).collect(),
        }
    }

    /// Packs the weights of some layers, on all threads.
    pub(super) fn refill(&mut self, parameters: &[f32], layers: &[&Dense], with_backward: bool) {
        let mut work = Vec::new();
        for (id, [forward, backward]) in self.pairs.iter_mut().enumerate() {
            let Some(dense) = layers.iter().find(|dense| dense.id == id) else {
                continue;
            };
            work.push((forward, false, *dense));
            if with_backward {
                work.push((backward, true, *dense));
            }
        }
        work.into_par_iter()
            .for_each(|(packed, is_backward, dense)| {
                let weight = Rows::new(&parameters[dense.weight.clone()], dense.out, dense.input);
                if is_backward {
                    packed.refill(weight, dense.input);
                } else {
                    packed.refill_transposed(weight, dense.input);
                }
            });
    }

    /// `(input, out)`: x times it is y.
    pub(super) fn forward(&self, dense: &Dense) -> &PackedMatrix {
        &self.pairs[dense.id][0]
    }

    /// `(out, input)`: dy times it is dx.
    pub(super) fn backward(&self, dense: &Dense) -> &PackedMatrix {
        &self.pairs[dense.id][1]
    }
}

//! Optimizers over one flat buffer of parameters.
//!
//! A step is `clip`, then the update of every tensor by [`AdamW`](OptimizerKind::AdamW),
//! [`Lamb`](OptimizerKind::Lamb) or [`Muon`](OptimizerKind::Muon). Sums run in one order at any
//! number of threads, so the result has the same bits.

mod adamw;
mod average;
mod clip;
mod groups;
mod lamb;
mod muon;
pub mod schedule;

use std::fmt;
use std::str::FromStr;

use albert_kernels::InstructionSet;
use albert_kernels::training::{Adam, NewtonSchulz};
use albert_tasks::albert_model::train::TrainError;
use serde::{Deserialize, Serialize};

pub use average::Average;
pub use clip::{clip_to_norm, global_norm};
pub use groups::{Groups, Tensor};

use crate::error::Result;

/// The rule that turns a gradient into an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay, like `torch.optim.AdamW`.
    AdamW,
    /// AdamW without bias correction, each tensor's update scaled to the tensor's norm, as
    /// google-research/albert trains.
    Lamb,
    /// Orthogonalized momentum for the matrices of the layers, AdamW for everything else, as
    /// `torch.optim.Muon` with `match_rms_adamw`.
    Muon,
}

impl OptimizerKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::AdamW, Self::Lamb, Self::Muon];

    /// Returns the name in options and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::AdamW => "adamw",
            Self::Lamb => "lamb",
            Self::Muon => "muon",
        }
    }
}

impl fmt::Display for OptimizerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for OptimizerKind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or_else(|| "expected adamw, lamb or muon".into())
    }
}

/// The settings of an optimizer.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerSettings {
    /// The rule.
    pub kind: OptimizerKind,
    /// The decay of the running mean of the gradients, in [0, 1). Muon's momentum is separate.
    pub beta1: f64,
    /// The decay of the running mean of the squared gradients, in [0, 1).
    pub beta2: f64,
    /// Added to the root of the mean of squared gradients.
    pub epsilon: f64,
    /// The fraction of a weight that a step with learning rate 1 removes; 0 for biases and norms.
    pub weight_decay: f64,
}

impl OptimizerSettings {
    /// Returns the defaults: β 0.9 and 0.999, ε 1e-8 (1e-6 for LAMB, as Google trains), decay 0.01.
    pub fn new(kind: OptimizerKind) -> Self {
        Self {
            kind,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: if kind == OptimizerKind::Lamb {
                1e-6
            } else {
                1e-8
            },
            weight_decay: 0.01,
        }
    }
}

/// An optimizer with its moments.
#[derive(Debug)]
pub struct Optimizer {
    settings: OptimizerSettings,
    groups: Groups,
    step: u64,
    first: Vec<f32>,
    second: Vec<f32>,
    instructions: InstructionSet,
    newton_schulz: NewtonSchulz,
}

impl Optimizer {
    /// Returns an optimizer at step 0 for the parameters of `groups`.
    ///
    /// # Errors
    /// If the environment names an instruction set that the machine lacks.
    pub fn new(settings: OptimizerSettings, groups: Groups) -> Result<Self> {
        let len = groups.len();
        let instructions = InstructionSet::current().map_err(TrainError::from)?;
        Ok(Self {
            settings,
            groups,
            step: 0,
            first: vec![0.0; len],
            second: vec![0.0; len],
            instructions,
            newton_schulz: NewtonSchulz::new(instructions),
        })
    }

    /// Updates the parameters with their gradients.
    ///
    /// # Panics
    /// If the buffers have another length than the parameters of the groups.
    pub fn step(&mut self, parameters: &mut [f32], gradients: &[f32], learning_rate: f64) {
        let len = self.groups.len();
        assert_eq!(parameters.len(), len, "parameters");
        assert_eq!(gradients.len(), len, "gradients");
        self.step += 1;
        let settings = &self.settings;
        for (tensor, rate) in self.groups.trained() {
            let range = tensor.range.clone();
            let state = Update {
                instructions: self.instructions,
                parameters: &mut parameters[range.clone()],
                gradients: &gradients[range.clone()],
                first: &mut self.first[range.clone()],
                second: &mut self.second[range],
                learning_rate: learning_rate * rate,
                weight_decay: if tensor.decays {
                    settings.weight_decay as f32
                } else {
                    0.0
                },
                step: self.step,
            };
            let adam = Adam {
                learning_rate: state.learning_rate as f32,
                beta1: settings.beta1,
                beta2: settings.beta2,
                epsilon: settings.epsilon as f32,
                weight_decay: state.weight_decay,
                correction1: 1.0,
                correction2: 1.0,
            };
            match settings.kind {
                OptimizerKind::Muon if tensor.is_hidden_matrix => {
                    muon::update(state, tensor, &mut self.newton_schulz);
                }
                OptimizerKind::AdamW | OptimizerKind::Muon => adamw::update(state, adam),
                OptimizerKind::Lamb => lamb::update(state, adam, tensor.decays),
            }
        }
    }

    /// Returns the number of steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Returns the moments, in the layout of the parameters: the mean of gradients (Muon: the
    /// momentum), and the mean of squared gradients.
    pub fn moments(&self) -> [&[f32]; 2] {
        [&self.first, &self.second]
    }

    /// Puts back the state that [`steps`](Self::steps) and [`moments`](Self::moments) returned.
    ///
    /// # Panics
    /// If a moment has another length than the parameters.
    pub fn restore(&mut self, step: u64, [first, second]: [Vec<f32>; 2]) {
        assert_eq!(
            [first.len(), second.len()],
            [self.groups.len(); 2],
            "moments"
        );
        (self.step, self.first, self.second) = (step, first, second);
    }
}

/// One tensor's share of the buffers, with the settings of its update.
struct Update<'a> {
    instructions: InstructionSet,
    parameters: &'a mut [f32],
    gradients: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    learning_rate: f64,
    weight_decay: f32,
    step: u64,
}

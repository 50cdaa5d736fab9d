//! The engine that computes losses and gradients.

use std::fmt;
use std::sync::Arc;

use albert_tasks::albert_model::candle_core::{DType, Device};
use albert_tasks::albert_model::train::{FlatLayout, PassOptions, Result, TrainingPass};

/// The engine that computes losses and gradients. Weights, moments and optimizers are on the CPU in
/// f32 with either.
#[derive(Debug, Clone, Default)]
pub enum Engine {
    /// The CPU's own kernels: constant memory, and the same bits on any number of threads.
    #[default]
    Cpu,
    /// Candle's autograd, on any device.
    Candle {
        /// The device of activations and gradients.
        device: Device,
        /// f32 or bf16.
        dtype: DType,
    },
}

impl Engine {
    /// Creates the pass of a run. `notice` is called with the new limit of tokens in a pass after
    /// the device ran out of memory.
    ///
    /// # Errors
    /// If the engine cannot compute on this machine.
    pub fn pass(
        &self,
        layout: Arc<FlatLayout>,
        options: PassOptions,
        notice: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<TrainingPass> {
        match self {
            Self::Cpu => TrainingPass::new(layout, options),
            Self::Candle { device, dtype } => {
                TrainingPass::with_autograd(layout, options, device, *dtype, notice)
            }
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Candle { .. } => f.write_str("candle"),
        }
    }
}

//! The options that all training commands share.

use std::path::PathBuf;
use std::time::Duration;

use albert_model::candle_core::{DType, Device};
use albert_train::optim::OptimizerKind;
use albert_train::optim::schedule::{Schedule, Warmup};
use albert_train::{Engine, Every};
use anyhow::anyhow;
use clap::{Args, ValueEnum};

use crate::device::DeviceChoice;
use crate::failure::Hint;

use super::{MAX_THREADS, folder, number};

/// The maximum default number of gradient buffers: with more cores, cores share buffers.
pub(crate) const MOST_SLOTS: usize = 8;

/// The usual number of examples in one step.
pub(crate) const BATCH_SIZE: usize = 32;

/// The run as a whole: its output, its length, its log.
#[derive(Debug, Args)]
#[command(next_help_heading = "Run")]
pub(crate) struct RunArgs {
    /// Folder for the model and the log of the run; must not exist yet
    #[arg(long, value_name = "DIR", value_parser = folder())]
    pub(crate) output: PathBuf,

    /// Resume the run in --output from its last snapshot, with the same losses as an uninterrupted
    /// run
    #[arg(long)]
    pub(crate) resume: bool,

    /// Read options from a TOML file, by their long names; the command line takes precedence
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) recipe: Option<PathBuf>,

    /// Passes over the training data, possibly fractional [default: 3]
    #[arg(long, value_name = "F", value_parser = positive, conflicts_with = "steps")]
    pub(crate) epochs: Option<f64>,

    /// Duration of the run, such as 45m or 1h30m, over which the learning rate decays
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with_all = ["steps", "epochs"])]
    pub(crate) time: Option<Duration>,

    /// Optimizer steps
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    pub(crate) steps: Option<usize>,

    /// Evaluate on a file of the same format
    #[arg(long, value_name = "FILE")]
    pub(crate) eval: Vec<PathBuf>,

    /// Steps between evaluations, or epoch
    #[arg(long, value_name = "N|epoch", default_value = "epoch")]
    pub(crate) eval_every: Every,

    /// Metric that selects the best evaluation [default: loss, or that of the task]
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,

    /// End the run after N evaluations without improvement
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    pub(crate) patience: Option<usize>,

    /// Keep the last weights instead of those of the best evaluation
    #[arg(long)]
    pub(crate) keep_last: bool,

    /// Steps between snapshots, or epoch; the last two are kept
    #[arg(long, value_name = "N|epoch", default_value = "500")]
    pub(crate) save_every: Every,

    /// Steps between lines of the log on stderr
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), default_value = "10")]
    pub(crate) log_every: usize,

    /// Also write event files for TensorBoard
    #[arg(long, value_name = "DIR", value_parser = folder())]
    pub(crate) tensorboard: Option<PathBuf>,
}

/// The updates of the weights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimization")]
pub(crate) struct OptimizationArgs {
    /// Examples per optimizer step [default: 32, or the preset's]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    pub(crate) batch_size: Option<usize>,

    /// Forward passes per optimizer step
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), default_value = "1")]
    pub(crate) accumulate: usize,

    /// Optimizer: adamw, lamb or muon [default: adamw]
    #[arg(long, value_name = "NAME")]
    pub(crate) optimizer: Option<OptimizerKind>,

    /// Peak learning rate [default: by optimizer, preset and batch size]
    #[arg(long, value_name = "F", value_parser = positive)]
    pub(crate) learning_rate: Option<f64>,

    /// Decay of the running mean of the gradients
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.9")]
    pub(crate) beta1: f64,

    /// Decay of the running mean of the squared gradients
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.999")]
    pub(crate) beta2: f64,

    /// Constant added to the denominator of the update [default: 1e-8, lamb 1e-6]
    #[arg(long, value_name = "F", value_parser = positive)]
    pub(crate) epsilon: Option<f64>,

    /// Weight decay, not applied to biases and layer norms
    #[arg(long, value_name = "F", value_parser = not_negative, default_value = "0.01")]
    pub(crate) weight_decay: f64,

    /// Maximum global norm of the gradient; 0 disables clipping
    #[arg(long, value_name = "F", value_parser = not_negative, default_value = "1.0")]
    pub(crate) clip: f64,

    /// Learning rate after the warm-up: linear, cosine, polynomial, constant or wsd
    #[arg(long, value_name = "NAME", default_value = "linear")]
    pub(crate) schedule: Schedule,

    /// Warm-up in steps or, below 1, as a fraction of the run [default: 0, presets 0.025]
    #[arg(long, value_name = "N|F")]
    pub(crate) warmup: Option<Warmup>,

    /// Evaluate and save a moving average of the weights with this decay
    #[arg(long, value_name = "F", value_parser = fraction)]
    pub(crate) average: Option<f64>,

    /// Dropout of embeddings and layer outputs [default: the configuration's]
    #[arg(long, value_name = "F", value_parser = fraction)]
    pub(crate) dropout: Option<f64>,

    /// Dropout of attention probabilities [default: the configuration's]
    #[arg(long, value_name = "F", value_parser = fraction)]
    pub(crate) attention_dropout: Option<f64>,

    /// Dropout of the pooled output before a classifier [default: the configuration's]
    #[arg(long, value_name = "F", value_parser = fraction)]
    pub(crate) classifier_dropout: Option<f64>,

    /// Part of the model that is not trained
    #[arg(long, value_name = "PART", value_enum)]
    pub(crate) freeze: Option<Freeze>,

    /// Copy the single layer group of --model to N groups, which are then trained separately
    #[arg(long, value_name = "N", value_parser = number(1..=1024))]
    pub(crate) layer_groups: Option<usize>,

    /// Seed of every random draw
    #[arg(long, value_name = "N", default_value = "42")]
    pub(crate) seed: u64,

    /// Shuffle the training data
    #[arg(long, value_name = "true|false", hide_possible_values = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) shuffle: bool,

    /// Device: auto, cpu, cuda, cuda:N or metal
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "ALBERT_DEVICE"
    )]
    pub(crate) device: DeviceChoice,

    /// Engine of losses and gradients [default: cpu on the CPU, candle on a GPU]
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true)]
    pub(crate) engine: Option<EngineName>,

    /// Data type of the engine candle: f32 or bf16; weights are always in f32 [default: bf16 on CUDA,
    /// f32 elsewhere]
    #[arg(long, value_name = "TYPE", value_enum, hide_possible_values = true)]
    pub(crate) dtype: Option<TrainingType>,

    /// CPU threads; they do not change the result [default: one per core]
    #[arg(long, value_name = "N", value_parser = number(1..=MAX_THREADS), env = "ALBERT_THREADS")]
    pub(crate) threads: Option<usize>,

    #[arg(
        long,
        help = format!("Gradient buffers; their number changes the last digits of the result \
                        [default: one per core, at most {MOST_SLOTS}]"),
        value_name = "N",
        value_parser = number(1..=64)
    )]
    pub(crate) slots: Option<usize>,
}

/// An engine that computes losses and gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EngineName {
    /// The CPU's own kernels
    Cpu,
    /// Candle's autograd
    Candle,
}

/// A data type of activations and gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TrainingType {
    /// Single precision
    F32,
    /// bfloat16
    Bf16,
}

impl OptimizationArgs {
    /// Opens the device and returns the engine that trains on it.
    pub(crate) fn engine(&self) -> anyhow::Result<Engine> {
        let is_gpu = matches!(self.device, DeviceChoice::Cuda(_) | DeviceChoice::Metal);
        if self.engine == Some(EngineName::Cpu) && is_gpu {
            return Err(anyhow!("engine `cpu`: expected the CPU, found a GPU")
                .hint("leave --engine out, or use --device cpu"));
        }
        let device = match (self.engine, self.device) {
            (Some(EngineName::Cpu), _) | (None, DeviceChoice::Cpu) => Device::Cpu,
            (_, device) => device.open()?,
        };
        if device.is_cpu() && self.engine != Some(EngineName::Candle) {
            if self.dtype == Some(TrainingType::Bf16) {
                return Err(anyhow!("engine `cpu`: expected f32, found bf16")
                    .hint("leave --dtype out, or use --engine candle"));
            }
            return Ok(Engine::Cpu);
        }
        let dtype = match self.dtype {
            Some(TrainingType::F32) => DType::F32,
            Some(TrainingType::Bf16) => DType::BF16,
            None if device.is_cuda() => DType::BF16,
            None => DType::F32,
        };
        Ok(Engine::Candle { device, dtype })
    }

    /// Starts the requested threads.
    pub(crate) fn start_threads(&self) -> anyhow::Result<()> {
        super::compute::start_threads(self.threads)
    }
}

/// A part of the model that is not trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Freeze {
    /// The embedding tables and their norm
    Embeddings,
    /// Embeddings and layers: only the pooler and the heads are trained
    Encoder,
}

impl Freeze {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::Encoder => "encoder",
        }
    }
}

/// Parses a duration of hours, minutes and seconds: `1h30m`, `45s`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 45m or 1h30m".to_string();
    let (mut seconds, mut rest) = (0u64, text.trim());
    for (unit, length) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((count, after)) = rest.split_once(unit) {
            let count: u64 = count.parse().map_err(|_| expected())?;
            let part = count.checked_mul(length).ok_or_else(expected)?;
            seconds = seconds.checked_add(part).ok_or_else(expected)?;
            rest = after;
        }
    }
    match (seconds, rest) {
        (1.., "") => Ok(Duration::from_secs(seconds)),
        _ => Err(expected()),
    }
}

/// Parses a number above 0.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    within(text, "a number above 0", |value| value > 0.0)
}

/// Parses a number of at least 0.
pub(crate) fn not_negative(text: &str) -> Result<f64, String> {
    within(text, "a number of at least 0", |value| value >= 0.0)
}

/// Parses a number of at least 0 and below 1.
pub(crate) fn fraction(text: &str) -> Result<f64, String> {
    within(text, "a number of at least 0 and below 1", |value| {
        (0.0..1.0).contains(&value)
    })
}

fn within(text: &str, expected: &str, is_in: impl Fn(f64) -> bool) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && is_in(value) => Ok(value),
        _ => Err(format!("expected {expected}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [("45s", 45), ("90m", 5400), ("1h30m", 5400), ("2h5s", 7205)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "0s", "5", "1.5h", "30m1h", "h", "99999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(positive("1e-4"), Ok(1e-4));
        for (parse, wrong) in [
            (
                positive as fn(&str) -> Result<f64, String>,
                ["0", "-1", "x", "inf"],
            ),
            (not_negative, ["-1", "x", "NaN", ""]),
            (fraction, ["1", "-0.1", "x", "NaN"]),
        ] {
            for text in wrong {
                assert!(
                    parse(text).unwrap_err().starts_with("expected a number"),
                    "{text}"
                );
            }
        }
    }
}

//! The options of the computation: device, data type, threads, batch size.

use std::env;

use albert_kernels::InstructionSet;
use albert_tasks::{DEFAULT_BATCH_TOKENS, Event, RunOptions, TokenizerOptions};
use anyhow::Context;
use clap::Args;

use super::{ModelArgs, number};
use crate::device::{DeviceChoice, DtypeChoice};
use crate::failure::usage;
use crate::progress::Talk;

/// The maximum number of threads.
pub(crate) const MAX_THREADS: usize = 1024;

/// The options of computation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Computation")]
pub(crate) struct ComputeArgs {
    /// Device: auto, cpu, cuda, cuda:N or metal
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        env = "ALBERT_DEVICE"
    )]
    device: DeviceChoice,

    /// Data type; on the CPU, f16 and bf16 round the weights and compute in f32, and int8
    /// multiplies in 8 bits
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        default_value = "auto",
        env = "ALBERT_DTYPE"
    )]
    dtype: DtypeChoice,

    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = number(1..=MAX_THREADS), allow_negative_numbers = true, env = "ALBERT_THREADS")]
    threads: Option<usize>,

    /// Truncate texts to N tokens, special tokens included [default: the model's limit]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    pub(crate) max_length: Option<usize>,

    #[arg(
        long,
        help = format!("Tokens in one batch [default: {DEFAULT_BATCH_TOKENS}; on CUDA, by free memory]"),
        value_name = "N",
        value_parser = number(1..=usize::MAX),
        allow_negative_numbers = true,
        env = "ALBERT_BATCH_TOKENS"
    )]
    batch_tokens: Option<usize>,
}

/// Reports exhausted GPU memory, and the progress of filling many masks jointly.
fn say(event: &Event) {
    /// Masks between two reports; fewer take too little time to report.
    const MASKS: usize = 20;
    let talk = Talk::new(false);
    match event {
        Event::SmallerBatches { rows, tokens } => talk.say(format_args!(
            "the GPU has no memory for {rows} rows of {tokens} tokens: continuing with half as many"
        )),
        Event::MasksFilled { done, total } if done % MASKS == 0 && done < total => {
            talk.say(format_args!("{done} of {total} masks filled"));
        }
        _ => {}
    }
}

impl ComputeArgs {
    /// Sets the number of threads and opens the device.
    pub(crate) fn run_options(&self, model: &ModelArgs, talk: Talk) -> anyhow::Result<RunOptions> {
        self.run_options_with(model.tokenizer(), talk)
    }

    /// Sets the number of threads and opens the device, for models that read text in this way.
    pub(crate) fn run_options_with(
        &self,
        tokenizer: TokenizerOptions,
        talk: Talk,
    ) -> anyhow::Result<RunOptions> {
        start_threads(self.threads)?;
        let mut options = RunOptions::default().with_tokenizer(tokenizer);
        (options.max_length, options.batch_tokens) = (self.max_length, self.batch_tokens);
        if talk.is_heard() {
            options = options.with_observer(say);
        }
        options.load.weights = self.dtype.into();
        options.load.device = self.device.open()?;
        Ok(options)
    }
}

/// Starts the given number of threads, instead of one per core.
pub(crate) fn start_threads(threads: Option<usize>) -> anyhow::Result<()> {
    let Some(threads) = threads else {
        return Ok(());
    };
    // Candle reads RAYON_NUM_THREADS, but its work and gemm's run on this pool.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global()
        .with_context(|| format!("cannot start {threads} threads"))
}

/// Checks the environment variables that libraries read, because some are only read by some
/// commands, or without an error that names the variable.
///
/// # Errors
/// If one of them is not a number, asks for more threads than `--threads` may, or names an
/// instruction set that the machine does not have.
pub(crate) fn check_environment() -> anyhow::Result<()> {
    check_variable("RAYON_NUM_THREADS", MAX_THREADS)?;
    check_variable("RUST_MIN_STACK", MAX_STACK_BYTES)?;
    InstructionSet::current().context("environment variable ALBERT_KERNELS")?;
    Ok(())
}

/// The largest stack of a thread. The system may refuse one of far more, and then no thread starts.
const MAX_STACK_BYTES: usize = 1 << 30;

fn check_variable(name: &str, most: usize) -> anyhow::Result<()> {
    let Some(value) = env::var_os(name).filter(|value| !value.is_empty()) else {
        return Ok(());
    };
    number(0..=most)(&value.to_string_lossy())
        .map(drop)
        .map_err(|why| {
            usage(format!("{why}, found `{}`", value.to_string_lossy()))
                .context(format!("environment variable {name}"))
        })
}

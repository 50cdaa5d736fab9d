//! Measures how fast a model runs on this machine.

use std::time::Instant;

use albert_kernels::InstructionSet;
use albert_model::{AlbertModel, Pretrained as _};
use candle_core::Device;
use serde::Serialize;

use crate::engine::batching;
use crate::engine::runner::Runner;
use crate::tokenizer::TokenIds;
use crate::{ModelFiles, Result, RunOptions};

/// A measurement and its conditions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Benchmark {
    /// The model.
    pub model: String,
    /// Its parameters.
    pub parameters: usize,
    /// `cpu`, `cuda` or `metal`.
    pub device: &'static str,
    /// The type of the weights.
    pub dtype: String,
    /// The instruction set of the kernels, on the CPU.
    pub kernels: Option<String>,
    /// Threads of the CPU.
    pub threads: usize,
    /// The time to load the model.
    pub load_seconds: f64,
    /// The number of times that each shape was timed.
    pub rounds: usize,
    /// One row per shape.
    pub shapes: Vec<ShapeTime>,
    /// The peak memory of the process so far; `None` if the system does not report it.
    pub peak_memory_bytes: Option<u64>,
}

/// The time of one pass through the encoder.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShapeTime {
    /// Texts × tokens of each, or `ragged`.
    pub shape: String,
    /// Tokens of all texts, without padding.
    pub tokens: usize,
    /// The median of the rounds.
    pub milliseconds: f64,
    /// The speed at the median time.
    pub tokens_per_second: f64,
}

/// Texts and tokens of the shapes: one short text, one long, and a batch of long ones.
const SHAPES: [(usize, usize); 3] = [(1, 16), (1, 128), (8, 128)];

/// Lengths typical of sentences: most are short, some are long.
const RAGGED: [usize; 32] = [
    7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26, 28, 30, 32, 35, 38, 41,
    45, 50, 56, 63, 72, 84, 102, 128,
];

/// Times the encoder on token ids of a few shapes.
///
/// Each shape is computed once to warm up. Then all shapes take turns, `rounds` times, so that a
/// disturbance of the machine affects all of them; the median of the rounds is reported. Texts are
/// limited to the model's maximum length. Tokenization is not measured.
///
/// ```
/// use albert_tasks::tools::bench;
/// use albert_tasks::{ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let measured = bench(&ModelFiles::builtin()?, &RunOptions::default(), 1)?;
/// assert!(measured.shapes.iter().all(|shape| shape.tokens_per_second > 0.0));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the model cannot be loaded or the computation fails.
pub fn bench(files: &ModelFiles, options: &RunOptions, rounds: usize) -> Result<Benchmark> {
    let rounds = rounds.max(1);
    let started = Instant::now();
    let checkpoint = files.checkpoint()?;
    let model = AlbertModel::load(&checkpoint, &options.load)?;
    let runner = Runner::new(model.config(), options)?;
    let load_seconds = started.elapsed().as_secs_f64();
    let config = model.config();
    let longest = config
        .max_position_embeddings
        .min(options.max_length.unwrap_or(usize::MAX));
    let of_length = |tokens: usize| -> TokenIds {
        let tokens = tokens.min(longest);
        // Any ids will do: the time does not depend on them.
        let ids = (0..tokens)
            .map(|at| (at * 7919 % config.vocab_size) as u32)
            .collect();
        TokenIds {
            ids,
            type_ids: vec![0; tokens],
            truncated: false,
        }
    };
    let mut shapes: Vec<(String, Vec<TokenIds>)> = Vec::new();
    for (texts, tokens) in SHAPES {
        let rows = vec![of_length(tokens); texts];
        shapes.push((format!("{texts}x{}", tokens.min(longest)), rows));
    }
    shapes.push(("ragged".to_string(), RAGGED.map(of_length).to_vec()));

    let pass = |rows: &[TokenIds]| -> Result<f64> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
        let started = Instant::now();
        let forward = |batch: &[usize]| {
            let rows: Vec<&TokenIds> = batch.iter().map(|&index| &rows[index]).collect();
            let output = model.forward(&batching::model_input(&rows, model.device())?)?;
            // A GPU may still be computing: copying the values waits for it.
            Ok(batching::to_f32(&output.last_hidden_state)?)
        };
        runner.run(&lengths, forward, |_, _| Ok(()))?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    for (_, rows) in &shapes {
        pass(rows)?;
    }
    let mut times = vec![Vec::with_capacity(rounds); shapes.len()];
    for _ in 0..rounds {
        for (times, (_, rows)) in times.iter_mut().zip(&shapes) {
            times.push(pass(rows)?);
        }
    }
    let measured = shapes.into_iter().zip(times).map(|((shape, rows), times)| {
        let tokens = rows.iter().map(|row| row.ids.len()).sum();
        let milliseconds = median(times);
        ShapeTime {
            shape,
            tokens,
            milliseconds,
            tokens_per_second: tokens as f64 / milliseconds * 1e3,
        }
    });
    let (device, kernels) = match model.device() {
        Device::Cpu => (
            "cpu",
            Some(
                InstructionSet::current()
                    .map_err(candle_core::Error::wrap)?
                    .to_string(),
            ),
        ),
        Device::Cuda(_) => ("cuda", None),
        Device::Metal(_) => ("metal", None),
    };
    Ok(Benchmark {
        model: files.name().to_string(),
        parameters: config.parameter_count(albert_model::Head::Encoder),
        device,
        dtype: checkpoint
            .weight_format(options.load.weights, &options.load.device)
            .to_string(),
        kernels,
        threads: rayon::current_num_threads(),
        load_seconds,
        rounds,
        shapes: measured.collect(),
        peak_memory_bytes: peak_memory_bytes(),
    })
}

/// Returns the median of the values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Returns the peak resident memory, which Linux reports as `VmHWM` in KiB.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_reports_the_peak() {
        let megabyte = 1 << 20;
        assert!(peak_memory_bytes().unwrap() > megabyte);
    }
}

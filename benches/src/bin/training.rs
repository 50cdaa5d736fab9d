//! The engine albert-model of `benches/training`: a process that takes training steps on request.
//!
//! ```text
//! training SHAPE
//! ```
//!
//! It reads a number of steps per line and answers with one line `{"seconds", "processor_seconds",
//! "loss", "peak_mb", "operations", "thread_peak"}`, all per step: forward pass, backward pass and
//! AdamW of masked language modeling and sentence order, on random token ids and weights. It ends at
//! the end of its input.
//!
//! `operations` counts the multiplications and additions of a step's products; `thread_peak` is the
//! throughput of fused multiply-adds on one thread just before the step, two operations each.

#![allow(clippy::print_stdout, reason = "the answers are the program's output")]

use std::io::{BufRead, Write, stdin, stdout};
use std::sync::Arc;
use std::time::Instant;

use albert_benches::{Ceiling, processor_seconds, set_threads};
use albert_kernels::InstructionSet;
use albert_kernels::training::{Adam, adamw};
use albert_model::train::{
    Draw, Dropout, FlatLayout, FlatParameters, MaskedLm, PassOptions, SentenceOrder, TrainingBatch,
    TrainingPass,
};
use albert_model::{AlbertConfig, Head};
use anyhow::{Context, bail};
use rayon::prelude::*;

const ADAM: Adam = Adam {
    learning_rate: 1e-4,
    beta1: 0.9,
    beta2: 0.999,
    epsilon: 1e-8,
    weight_decay: 0.01,
    correction1: 1.0,
    correction2: 1.0,
};

fn shape(name: &str) -> anyhow::Result<(AlbertConfig, usize, usize)> {
    let config = |vocab_size, hidden_size, layers, heads| AlbertConfig {
        vocab_size,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        intermediate_size: 4 * hidden_size,
        classifier_dropout_prob: Some(0.0),
        ..AlbertConfig::base_v2()
    };
    Ok(match name {
        "small" => (config(16_000, 384, 6, 6), 32, 64),
        "base" => (config(30_000, 768, 12, 12), 8, 128),
        other => bail!("expected the shape small or base, found `{other}`"),
    })
}

fn main() -> anyhow::Result<()> {
    let name = std::env::args()
        .nth(1)
        .context("usage: training small|base")?;
    let threads = set_threads();
    let (config, sequences, tokens) = shape(&name)?;
    let layout = Arc::new(FlatLayout::new(&config, Head::PreTraining)?);
    let mut parameters = FlatParameters::random(Arc::clone(&layout), 42);
    let mut options = PassOptions::new(&config);
    (options.slots, options.dropout) = (threads, Dropout::NONE);
    let mut pass = TrainingPass::new(Arc::clone(&layout), options)?;

    let mut random = fastrand::Rng::with_seed(1);
    let mut below = |count: usize| random.usize(..count);
    let mut batch = TrainingBatch::new();
    let (mut targets, mut row) = (Vec::new(), 0);
    for _ in 0..sequences {
        let mut ids: Vec<u32> = (0..tokens)
            .map(|_| (5 + below(config.vocab_size - 5)) as u32)
            .collect();
        for id in &mut ids {
            if below(100) < 15 {
                targets.push((row, *id));
                *id = 4;
            }
            row += 1;
        }
        let types: Vec<u32> = (0..tokens)
            .map(|token| u32::from(token > tokens / 2))
            .collect();
        batch.push(&ids, &types);
    }
    let operations = operations(&config, [sequences, tokens], &targets);
    let orders = (0..sequences)
        .map(|sequence| Some((sequence % 2) as u32))
        .collect();
    let masked_lm = MaskedLm::new(&layout, targets)?;
    let order = SentenceOrder::new(&layout, orders)?;
    let instructions = InstructionSet::current()?;
    let (mut means, mut squares) = (vec![0.0; layout.len()], vec![0.0; layout.len()]);
    let mut number = 0;
    let mut step = || -> anyhow::Result<f64> {
        number += 1;
        let draw = Draw {
            seed: 1,
            step: number,
        };
        let (report, gradients) = pass.step(&parameters, &batch, &[&masked_lm, &order], draw)?;
        let adam = ADAM.with_bias_correction(number);
        const PART: usize = 1 << 14;
        let state = means.par_chunks_mut(PART).zip(squares.par_chunks_mut(PART));
        let values = parameters
            .values_mut()
            .par_chunks_mut(PART)
            .zip(gradients.par_chunks(PART));
        values
            .zip(state)
            .for_each(|((values, gradients), (means, squares))| {
                adamw(instructions, &adam, values, gradients, means, squares);
            });
        Ok(report.loss())
    };
    step()?;
    println!("{{\"ready\": true, \"instructions\": \"{instructions}\"}}");
    stdout().flush()?;
    for line in stdin().lock().lines() {
        let steps: u32 = line?.trim().parse().context("a number of steps")?;
        let thread_peak = Ceiling::Float.measure() / threads as f64;
        let (start, processor) = (Instant::now(), processor_seconds());
        let mut loss = f64::NAN;
        for _ in 0..steps {
            loss = step()?;
        }
        let seconds = start.elapsed().as_secs_f64() / f64::from(steps);
        let processor = (processor_seconds() - processor) / f64::from(steps);
        let peak = peak_megabytes().unwrap_or(f64::NAN);
        println!(
            "{{\"seconds\": {seconds}, \"processor_seconds\": {processor}, \"loss\": {loss}, \
             \"peak_mb\": {peak}, \"operations\": {operations:e}, \"thread_peak\": {thread_peak:e}}}"
        );
        stdout().flush()?;
    }
    Ok(())
}

/// Returns the operations of a step: three times those of the forward pass, of which the last layer
/// computes queries, outputs and the feed-forward network only in rows that a head reads.
fn operations(
    config: &AlbertConfig,
    [sequences, tokens]: [usize; 2],
    targets: &[(usize, u32)],
) -> f64 {
    let float = |count: usize| count as f64;
    let (h, e) = (float(config.hidden_size), float(config.embedding_size));
    let (i, layers) = (float(config.intermediate_size), config.num_hidden_layers);
    let (rows, masked) = (float(sequences * tokens), float(targets.len()));
    let firsts = targets.iter().filter(|(row, _)| row % tokens == 0).count();
    let read = masked + float(sequences - firsts);
    let layer = |queried: f64| {
        let products = rows * 2.0 * h * h + queried * (2.0 * h * h + 2.0 * h * i);
        products + queried * float(tokens) * 2.0 * h
    };
    let encoder = rows * e * h + float(layers - 1) * layer(rows) + layer(read);
    let decoder = masked * (h * e + e * float(config.vocab_size));
    6.0 * (encoder + decoder)
}

/// Returns the peak memory of the process, as reported by Linux.
fn peak_megabytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
    let kilobytes: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes / 1024.0)
}

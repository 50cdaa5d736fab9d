//! ALBERT base with random weights: tokens in a second.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Duration;

use albert_benches::{Speed, set_threads};
use albert_model::candle_core::{DType, Device, Result, Tensor};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::{AlbertConfig, AlbertModel, ModelInput};

fn main() -> Result<()> {
    let threads = set_threads();
    let config = AlbertConfig::base_v2();
    let variables = VarMap::new();
    AlbertModel::new(&config, VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu))?;
    let mut variables = variables.data().lock().expect("no other thread");
    let tensors = variables.drain().map(|(name, variable)| (name, variable.as_tensor().detach())).collect();
    let model = AlbertModel::new(&config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;

    let wanted = std::env::args().nth(1).filter(|wanted| !wanted.starts_with('-'));
    println!("{threads} threads; best sample, GFLOP/s, of the measured FMA peak, the same by processor time");
    for (name, batches) in [
        ("1x16", vec![vec![16]]),
        ("1x128", vec![vec![128]]),
        ("8x128", vec![vec![128; 8]]),
        ("32x128", vec![vec![128; 32]]),
        ("8x512", vec![vec![512; 8]]),
        ("ragged", ragged()),
    ] {
        if wanted.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let inputs = batches.iter().map(|lengths| input(lengths)).collect::<Result<Vec<_>>>()?;
        let tokens: usize = batches.iter().flatten().sum();
        let operations: f64 = batches.iter().flatten().map(|&length| operations(&config, length)).sum();
        let speed = Speed::of(operations, Duration::from_secs(8), || {
            for input in &inputs {
                model.forward(input).expect("the input fits");
            }
        });
        let flops = operations / speed.seconds;
        println!(
            "{name:<7} {:>9.2} ms  {:>6.0} tokens/s  {:>4.0} GFLOP/s  {:>3.0} %  {:>3.0} %  ({} samples)",
            1e3 * speed.seconds,
            tokens as f64 / speed.seconds,
            flops / 1e9,
            100.0 * flops / speed.peak_flops,
            100.0 * speed.busy_of_peak,
            speed.samples
        );
    }
    Ok(())
}

/// 256 sentences, 20 tokens in the median, longest first in batches of 64.
fn ragged() -> Vec<Vec<usize>> {
    // The quantiles of a log-normal distribution, roughly: 20 · e^(0.6 z).
    let mut lengths: Vec<usize> = (0..256)
        .map(|i| {
            let p = (i as f64 + 0.5) / 256.0;
            let z = (p / (1.0 - p)).ln() / 1.702;
            ((20.0 * (0.6 * z).exp()).round() as usize).clamp(4, 128)
        })
        .collect();
    lengths.sort_by_key(|&length| std::cmp::Reverse(length));
    lengths.chunks(64).map(<[usize]>::to_vec).collect()
}

fn input(lengths: &[usize]) -> Result<ModelInput> {
    let longest = lengths.iter().copied().max().unwrap_or(1);
    let shape = (lengths.len(), longest);
    let ids: Vec<u32> = (0..lengths.len() * longest).map(|i| (i * 7919 % 30000) as u32).collect();
    let mask = lengths.iter().flat_map(|&length| (0..longest).map(move |at| u32::from(at < length)));
    let mask = Tensor::from_vec(mask.collect::<Vec<_>>(), shape, &Device::Cpu)?;
    Ok(ModelInput::new(Tensor::from_vec(ids, shape, &Device::Cpu)?).with_attention_mask(mask))
}

/// Two for each multiplication with its addition, in products and attention.
fn operations(config: &AlbertConfig, tokens: usize) -> f64 {
    let (e, h, i) = (config.embedding_size, config.hidden_size, config.intermediate_size);
    let layer = 4 * h * h + 2 * h * i + 2 * tokens * h;
    2.0 * (tokens * (e * h + config.num_hidden_layers * layer)) as f64
}

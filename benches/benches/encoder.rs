//! Measures the encoder of ALBERT base with random weights, in f32 and in 8 bits.

#![allow(clippy::print_stdout, reason = "the table is the output")]

use std::collections::HashMap;
use std::time::Duration;

use albert_benches::{Ceiling, Speed, set_threads};
use albert_model::candle_core::{DType, Device, Tensor};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::{
    AlbertConfig, AlbertModel, Checkpoint, LoadOptions, ModelInput, Pretrained, WeightFormat,
};
use anyhow::Result;

fn main() -> Result<()> {
    let threads = set_threads();
    let config = AlbertConfig::base_v2();
    let variables = VarMap::new();
    AlbertModel::new(
        &config,
        VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu).pp("albert"),
    )?;
    let tensors: HashMap<String, Tensor> = {
        let mut variables = variables.data().lock().expect("no other thread");
        variables
            .drain()
            .map(|(name, variable)| (name, variable.as_tensor().detach()))
            .collect()
    };
    let weights = safetensors::serialize(&tensors, None)?;
    drop(tensors);
    let checkpoint = Checkpoint::from_bytes(&config.to_json(), weights, "random")?;

    let wanted = std::env::args()
        .nth(1)
        .filter(|wanted| !wanted.starts_with('-'));
    println!(
        "{threads} threads; best sample, GOP/s, share of the measured ceiling (FMA or dot products of bytes), and that share by processor time"
    );
    for (dtype, ceiling) in [
        (WeightFormat::F32, Ceiling::Float),
        (WeightFormat::Int8, Ceiling::Int8),
    ] {
        let options = LoadOptions::default().with_weights(dtype);
        let model = AlbertModel::load(&checkpoint, &options)?;
        for (name, batches) in cases() {
            if wanted
                .as_deref()
                .is_none_or(|wanted| wanted == name || wanted == dtype.to_string())
            {
                measure(
                    &model,
                    &config,
                    ceiling,
                    &format!("{dtype:<4} {name:<7}"),
                    &batches,
                )?;
            }
        }
    }
    Ok(())
}

fn cases() -> [(&'static str, Vec<Vec<usize>>); 6] {
    [
        ("1x16", vec![vec![16]]),
        ("1x128", vec![vec![128]]),
        ("8x128", vec![vec![128; 8]]),
        ("32x128", vec![vec![128; 32]]),
        ("8x512", vec![vec![512; 8]]),
        ("ragged", ragged()),
    ]
}

fn measure(
    model: &AlbertModel,
    config: &AlbertConfig,
    ceiling: Ceiling,
    name: &str,
    batches: &[Vec<usize>],
) -> Result<()> {
    let inputs = batches
        .iter()
        .map(|lengths| input(lengths))
        .collect::<Result<Vec<_>>>()?;
    let tokens: usize = batches.iter().flatten().sum();
    let operations: f64 = batches
        .iter()
        .flatten()
        .map(|&length| operations(config, length))
        .sum();
    let speed = Speed::measure(ceiling, operations, Duration::from_secs(6), || {
        for input in &inputs {
            model.forward(input).expect("the input fits");
        }
    });
    let per_second = operations / speed.seconds;
    println!(
        "{name} {:>9.2} ms  {:>6.0} tokens/s  {:>4.0} GOP/s  {:>3.0} %  {:>3.0} %  ({} samples)",
        1e3 * speed.seconds,
        tokens as f64 / speed.seconds,
        per_second / 1e9,
        100.0 * per_second / speed.peak,
        100.0 * speed.busy_of_peak,
        speed.samples
    );
    Ok(())
}

/// Returns 256 sentences with a median of 20 tokens, in batches of 64, longest first.
fn ragged() -> Vec<Vec<usize>> {
    // Roughly the quantiles of a log-normal distribution: 20 · e^(0.6 z).
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
    let ids: Vec<u32> = (0..lengths.len() * longest)
        .map(|i| (i * 7919 % 30000) as u32)
        .collect();
    let mask = lengths
        .iter()
        .flat_map(|&length| (0..longest).map(move |at| u32::from(at < length)));
    let mask = Tensor::from_vec(mask.collect::<Vec<_>>(), shape, &Device::Cpu)?;
    Ok(ModelInput::new(Tensor::from_vec(ids, shape, &Device::Cpu)?).with_attention_mask(mask))
}

/// Returns the number of operations: two per multiply-add of the matrix products and of attention.
fn operations(config: &AlbertConfig, tokens: usize) -> f64 {
    let (e, h, i) = (
        config.embedding_size,
        config.hidden_size,
        config.intermediate_size,
    );
    let layer = 4 * h * h + 2 * h * i + 2 * tokens * h;
    2.0 * (tokens * (e * h + config.num_hidden_layers * layer)) as f64
}

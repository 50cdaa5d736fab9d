//! albert-model in the comparison of `benches/peers`: a process that loads the model, then times
//! what it is asked to.
//!
//! ```text
//! engine FOLDER f32|f16|bf16|int8 [cpu|cuda|metal]
//! engine FOLDER convert
//! ```
//!
//! `convert` writes the model in 8 bits beside the other, and ends. Else it reads `{"case": NAME,
//! "output": FILE or null}` a line and answers `{"seconds": S, "peak_mb": M}` a line, as
//! `benches/peers/engine.py` does. With an output file, the first batch's last hidden state is
//! written to it as .npy in f32, with zeros at padding. `{"product": N}` times the device's own
//! product of two N×N matrices instead. Tokens are on the device before the clock starts, the mask
//! stays on the CPU.

#![allow(clippy::print_stdout, reason = "the answers are what it is for")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

use albert_model::candle_core::{DType, Device, Result as CandleResult, Tensor};
use albert_model::{AlbertModel, Checkpoint, LoadOptions, ModelInput, Pretrained, WeightFormat};
use anyhow::{Context, bail};
use serde::Deserialize;

/// The batches of one case, each a list of sequences of token ids.
#[derive(Deserialize)]
struct Case {
    batches: Vec<Vec<Vec<u32>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Asked {
    Case {
        case: String,
        output: Option<PathBuf>,
    },
    Product {
        product: usize,
    },
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, what, device @ ..] = &arguments[..] else {
        bail!("usage: engine FOLDER TYPE|convert [DEVICE]")
    };
    let device = match device.first().map_or("cpu", String::as_str) {
        "cpu" => Device::Cpu,
        "cuda" => Device::new_cuda(0)?,
        "metal" => Device::new_metal(0)?,
        other => bail!("expected the device cpu, cuda or metal, found `{other}`"),
    };
    let folder = PathBuf::from(folder);
    let (model, dtype, product_type) = match what.as_str() {
        "f32" => ("model", WeightFormat::F32, DType::F32),
        "f16" => ("model", WeightFormat::F16, DType::F16),
        "bf16" => ("model", WeightFormat::BF16, DType::BF16),
        "int8" => ("model-int8", WeightFormat::Int8, DType::F32),
        "convert" => {
            let checkpoint = Checkpoint::from_dir(folder.join("model"))?.quantize()?;
            checkpoint.save(folder.join("model-int8"), WeightFormat::Int8)?;
            return Ok(());
        }
        other => bail!("expected f32, f16, bf16, int8 or convert, found `{other}`"),
    };
    let cases: BTreeMap<String, Case> =
        serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
    let checkpoint = Checkpoint::from_dir(folder.join(model))?;
    let model = AlbertModel::load(
        &checkpoint,
        &LoadOptions::new(device.clone()).with_weights(dtype),
    )?;
    for line in stdin().lock().lines() {
        let seconds = match serde_json::from_str(&line?)? {
            Asked::Product { product } => time_product(product, product_type, &device)?,
            Asked::Case { case, output } => {
                let case = cases
                    .get(&case)
                    .with_context(|| format!("no case `{case}`"))?;
                let inputs = case.batches.iter().map(|rows| padded(rows, &device));
                time_case(&model, &inputs.collect::<CandleResult<Vec<_>>>()?, output)?
            }
        };
        let answer = serde_json::json!({ "seconds": seconds, "peak_mb": peak_mb()? });
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}

fn time_case(
    model: &AlbertModel,
    inputs: &[ModelInput],
    output: Option<PathBuf>,
) -> anyhow::Result<f64> {
    model.device().synchronize()?;
    let started = Instant::now();
    for input in inputs {
        model.forward(input)?;
    }
    model.device().synchronize()?;
    let seconds = started.elapsed().as_secs_f64();
    if let (Some(path), Some(input)) = (output, inputs.first()) {
        let states = model.forward(input)?.last_hidden_state;
        states
            .to_device(&Device::Cpu)?
            .to_dtype(DType::F32)?
            .write_npy(path)?;
    }
    Ok(seconds)
}

/// `(N, N) × (N, N)`
fn time_product(size: usize, dtype: DType, device: &Device) -> CandleResult<f64> {
    let matrix = Tensor::rand(-1f32, 1., (size, size), device)?.to_dtype(dtype)?;
    device.synchronize()?;
    let started = Instant::now();
    matrix.matmul(&matrix)?;
    device.synchronize()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Without a mask where there is no padding.
fn padded(rows: &[Vec<u32>], device: &Device) -> CandleResult<ModelInput> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let at = |row: &[u32], token: usize| row.get(token).copied();
    let shape = (rows.len(), longest);
    let all = || {
        rows.iter()
            .flat_map(|row| (0..longest).map(move |token| at(row, token)))
    };
    let ids: Vec<u32> = all().map(Option::unwrap_or_default).collect();
    let mask: Vec<u32> = all().map(|id| id.is_some().into()).collect();
    let input = ModelInput::new(Tensor::from_vec(ids, shape, device)?);
    if mask.contains(&0) {
        return Ok(input.with_attention_mask(Tensor::from_vec(mask, shape, &Device::Cpu)?));
    }
    Ok(input)
}

/// The most memory that the process has had, in 2²⁰ bytes; of Linux alone.
fn peak_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| {
        line.trim()
            .trim_end_matches("kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    Ok(kilobytes.context("no VmHWM in /proc/self/status")? / 1024.0)
}

//! The engine albert-model of `benches/peers`: a process that loads a model, reads requests, and
//! times them.
//!
//! ```text
//! engine FOLDER f32|f16|bf16|int8 [cpu|cuda|metal]
//! engine FOLDER convert
//! ```
//!
//! `convert` writes the model in 8 bits to `FOLDER/model-int8`. Otherwise each line of input is a
//! JSON request, and one line answers it:
//!
//! | request | answer |
//! |---|---|
//! | `{"case": NAME, "output": FILE or null}` | `{"seconds": S, "peak_mb": M}` |
//! | `{"texts": FILE, "output": FILE or null}` | the same |
//! | `{"product": N}` | the same |
//! | `{"ceiling": true}` | `{"f32": OPS, "int8": OPS}`, operations per second |
//! | `{"describe": true}` | `{"instructions": NAME}` |
//!
//! A case is a list of batches of token ids in `cases.json`. If there is an output file, the last
//! hidden state of the first batch is written to it as .npy in f32, with zeros at padding. The
//! tokens are on the device before the clock starts; the mask stays on the CPU. Texts are one per
//! line; the time includes tokenizing, encoding and pooling, and the output is their vectors.
//! `product` times the device's own product of two N×N matrices.

#![allow(clippy::print_stdout, reason = "the answers are the program's output")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::time::Instant;

use albert_benches::Ceiling;
use albert_model::candle_core::{DType, Device, Result as CandleResult, Tensor};
use albert_model::{AlbertModel, Checkpoint, LoadOptions, ModelInput, Pretrained, WeightFormat};
use albert_tasks::{Embedder, ModelFiles, RunOptions};
use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

/// The batches of one case, each a list of sequences of token ids.
#[derive(Deserialize)]
struct Case {
    batches: Vec<Vec<Vec<u32>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Request {
    Case {
        case: String,
        output: Option<PathBuf>,
    },
    Texts {
        texts: PathBuf,
        output: Option<PathBuf>,
    },
    Product {
        product: usize,
    },
    Ceiling {
        #[serde(rename = "ceiling")]
        _ceiling: bool,
    },
    Describe {
        #[serde(rename = "describe")]
        _describe: bool,
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
    let (model, weights, product_type) = match what.as_str() {
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
    let mut engine = Engine {
        model_folder: folder.join(model),
        weights,
        product_type,
        device,
        model: None,
        embedder: None,
    };
    for line in stdin().lock().lines() {
        let answer = engine.answer(serde_json::from_str(&line?)?, &cases)?;
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}

/// A model, whose encoder and embedder are loaded by the first request that needs them.
struct Engine {
    model_folder: PathBuf,
    weights: WeightFormat,
    product_type: DType,
    device: Device,
    model: Option<AlbertModel>,
    embedder: Option<Embedder>,
}

impl Engine {
    fn answer(
        &mut self,
        request: Request,
        cases: &BTreeMap<String, Case>,
    ) -> anyhow::Result<serde_json::Value> {
        let seconds = match request {
            Request::Describe { .. } => {
                let instructions = albert_kernels::InstructionSet::current()?.to_string();
                return Ok(json!({ "instructions": instructions }));
            }
            Request::Ceiling { .. } => {
                let [f32, int8] = [Ceiling::Float, Ceiling::Int8].map(Ceiling::measure);
                return Ok(json!({ "f32": f32, "int8": int8 }));
            }
            Request::Product { product } => time_product(product, self.product_type, &self.device)?,
            Request::Texts { texts, output } => time_texts(self.embedder()?, &texts, output)?,
            Request::Case { case, output } => {
                let rows = cases.get(&case);
                let rows = rows.with_context(|| format!("no case `{case}`"))?;
                let batches = rows.batches.iter();
                let inputs = batches.map(|rows| padded(rows, &self.device));
                let inputs = inputs.collect::<CandleResult<Vec<_>>>()?;
                time_case(self.model()?, &inputs, output)?
            }
        };
        Ok(json!({ "seconds": seconds, "peak_mb": peak_mb()? }))
    }

    fn model(&mut self) -> anyhow::Result<&AlbertModel> {
        if self.model.is_none() {
            let checkpoint = Checkpoint::from_dir(&self.model_folder)?;
            let options = LoadOptions::new(self.device.clone()).with_weights(self.weights);
            self.model = Some(AlbertModel::load(&checkpoint, &options)?);
        }
        Ok(self.model.as_ref().expect("loaded above"))
    }

    fn embedder(&mut self) -> anyhow::Result<&Embedder> {
        if self.embedder.is_none() {
            let options = RunOptions::on_device(self.device.clone()).with_weights(self.weights);
            let files = ModelFiles::from_dir(&self.model_folder)?;
            self.embedder = Some(Embedder::load(&files, &options)?);
        }
        Ok(self.embedder.as_ref().expect("loaded above"))
    }
}

/// Times texts to vectors: tokenizing, encoding and pooling.
fn time_texts(embedder: &Embedder, texts: &Path, output: Option<PathBuf>) -> anyhow::Result<f64> {
    let texts = std::fs::read_to_string(texts)?;
    let texts: Vec<&str> = texts.lines().collect();
    let started = Instant::now();
    let embeddings = embedder.embed(&texts)?;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(path) = output {
        let vectors: Vec<f32> = embeddings.into_iter().flat_map(|e| e.vector).collect();
        let shape = (texts.len(), vectors.len() / texts.len().max(1));
        Tensor::from_vec(vectors, shape, &Device::Cpu)?.write_npy(path)?;
    }
    Ok(seconds)
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

/// Times a product `(N, N) × (N, N)`.
fn time_product(size: usize, dtype: DType, device: &Device) -> CandleResult<f64> {
    let matrix = Tensor::rand(-1f32, 1., (size, size), device)?.to_dtype(dtype)?;
    device.synchronize()?;
    let started = Instant::now();
    matrix.matmul(&matrix)?;
    device.synchronize()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Builds one batch, with a mask only if there is padding.
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

/// Returns the peak resident memory of the process in 2²⁰ bytes (Linux only).
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

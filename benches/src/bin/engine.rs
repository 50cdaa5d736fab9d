//! albert-model in the comparison of `benches/peers`: a process that loads the model, then times what
//! it is asked to.
//!
//! ```text
//! engine FOLDER f32
//! ```
//!
//! Reads `{"case": NAME, "output": FILE or null}` a line and answers `{"seconds": S, "peak_mb": M}` a
//! line, as `benches/peers/engine.py` does. With an output file, the first batch's last hidden state
//! is written to it as .npy, with zeros at padding.

#![allow(clippy::print_stdout, reason = "the answers are what it is for")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::time::Instant;

use albert_model::candle_core::{Device, Result as CandleResult, Tensor};
use albert_model::{AlbertModel, Checkpoint, LoadOptions, ModelInput, Pretrained};
use anyhow::{Context, bail};
use serde::Deserialize;

/// The batches of one case, each a list of sequences of token ids.
#[derive(Deserialize)]
struct Case {
    batches: Vec<Vec<Vec<u32>>>,
}

#[derive(Deserialize)]
struct Asked {
    case: String,
    output: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, dtype] = &arguments[..] else { bail!("usage: engine FOLDER f32") };
    if dtype != "f32" {
        bail!("expected the type f32, found `{dtype}`")
    }
    let folder = PathBuf::from(folder);
    let cases: BTreeMap<String, Case> = serde_json::from_slice(&std::fs::read(folder.join("cases.json"))?)?;
    let checkpoint = Checkpoint::from_dir(folder.join("model"))?;
    let (model, _) = AlbertModel::load(&checkpoint, &LoadOptions::default())?;
    for line in stdin().lock().lines() {
        let asked: Asked = serde_json::from_str(&line?)?;
        let case = cases.get(&asked.case).with_context(|| format!("no case `{}`", asked.case))?;
        let inputs = case.batches.iter().map(|rows| padded(rows)).collect::<CandleResult<Vec<_>>>()?;
        let started = Instant::now();
        for input in &inputs {
            model.forward(input)?;
        }
        let seconds = started.elapsed().as_secs_f64();
        if let (Some(path), Some(input)) = (asked.output, inputs.first()) {
            model.forward(input)?.last_hidden_state.write_npy(path)?;
        }
        let answer = serde_json::json!({ "seconds": seconds, "peak_mb": peak_mb()? });
        println!("{answer}");
        stdout().flush()?;
    }
    Ok(())
}

fn padded(rows: &[Vec<u32>]) -> CandleResult<ModelInput> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let at = |row: &[u32], token: usize| row.get(token).copied();
    let shape = (rows.len(), longest);
    let all = || rows.iter().flat_map(|row| (0..longest).map(move |token| at(row, token)));
    let ids: Vec<u32> = all().map(Option::unwrap_or_default).collect();
    let mask: Vec<u32> = all().map(|id| id.is_some().into()).collect();
    let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
    Ok(ModelInput::new(ids).with_attention_mask(Tensor::from_vec(mask, shape, &Device::Cpu)?))
}

/// The most memory that the process has had, in 2²⁰ bytes; of Linux alone.
fn peak_mb() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<f64>().ok());
    Ok(kilobytes.context("no VmHWM in /proc/self/status")? / 1024.0)
}

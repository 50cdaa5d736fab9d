//! Fine-tunes a classifier from a pretrained model: `cargo run --release --example fine_tune --
//! FOLDER OUT`
//!
//! FOLDER holds a model as the Hub has it, OUT becomes one that this crate and transformers load.

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use albert_model::candle_core::{DType, Device, Tensor};
use albert_model::candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder};
use albert_model::{
    AlbertConfig, AlbertForSequenceClassification, Checkpoint, Head, LoadOptions, ModelInput,
    WeightFormat, loss,
};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (folder, out) = arguments
        .next()
        .zip(arguments.next())
        .context("expected two folders")?;
    Checkpoint::check_vacant(&out)?; // before the work, and not after it
    let checkpoint = Checkpoint::from_dir(folder)?;
    let variables = checkpoint.var_map(&LoadOptions::default())?;
    let config = AlbertConfig {
        id2label: [(0, "first".to_string()), (1, "second".to_string())].into(),
        architectures: vec![Head::SequenceClassification.to_string()],
        ..checkpoint.config().clone()
    };
    // Trained weights, if any; the classifier is new and joins the variables.
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let model = AlbertForSequenceClassification::new(&config, vb)?;

    let ids = Tensor::new(
        &[[2u32, 5, 6, 3], [2, 7, 8, 3], [2, 5, 9, 3], [2, 7, 4, 3]],
        &Device::Cpu,
    )?;
    let labels = Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu)?;
    let settings = ParamsAdamW {
        lr: 1e-4,
        ..ParamsAdamW::default()
    };
    let mut optimizer = AdamW::new(variables.all_vars(), settings)?;
    for step in 1..=20 {
        let logits = model.forward_t(&ModelInput::new(ids.clone()), true)?.logits; // (B, labels)
        let loss = loss::classification(&logits, &labels, None, 0.0)?;
        optimizer.backward_step(&loss)?;
        println!("step {step}: {:.4}", loss.to_scalar::<f32>()?);
    }
    Checkpoint::from_var_map(&config, &variables)?.save(out, WeightFormat::F32)?;
    Ok(())
}

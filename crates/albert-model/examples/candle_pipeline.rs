//! An ALBERT inside a Candle pipeline: the mean of its hidden states feeds a layer of your own.
//!
//! Here the weights are fresh. To start from trained ones, in a folder as the Hub has it:
//! `let variables = Checkpoint::from_dir("albert-base-v2")?.var_map(&LoadOptions::default())?;`

#![expect(clippy::print_stdout, reason = "an example shows its result")]

use albert_model::candle_core::{D, DType, Device, Tensor};
use albert_model::candle_nn::{Module, VarBuilder, VarMap, linear, ops::softmax};
use albert_model::{AlbertConfig, AlbertModel, ModelInput};

fn main() -> anyhow::Result<()> {
    let device = Device::Cpu;
    let config = AlbertConfig {
        num_hidden_layers: 4,
        ..AlbertConfig::base_v2()
    };
    let variables = VarMap::new();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &device);

    let albert = AlbertModel::new(&config, vb.pp("albert"))?;
    let topics = linear(config.hidden_size, 3, vb.pp("topics"))?;

    // Two texts as token ids, the second padded on the right.
    let ids = Tensor::new(
        &[[2u32, 48, 25, 21, 1289, 3], [2, 1162, 25, 3, 0, 0]],
        &device,
    )?;
    let mask = Tensor::new(
        &[[1f32, 1., 1., 1., 1., 1.], [1., 1., 1., 1., 0., 0.]],
        &device,
    )?;
    let output = albert.forward(&ModelInput::new(ids).with_attention_mask(mask.clone()))?;

    let mask = mask.unsqueeze(2)?; // (B, T, 1)
    let sum = output.last_hidden_state.broadcast_mul(&mask)?.sum(1)?; // (B, H)
    let mean = sum.broadcast_div(&mask.sum(1)?)?;
    let probabilities = softmax(&topics.forward(&mean)?, D::Minus1)?; // (B, 3)
    println!("{probabilities}");
    Ok(())
}

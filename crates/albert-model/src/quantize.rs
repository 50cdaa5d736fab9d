//! Collects the activation statistics for int8 quantization by running the model once.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::checkpoint::{Calibration, ChannelStatistics, Checkpoint, LoadOptions, WeightFormat};
use crate::config::AlbertConfig;
use crate::error::{Error, Result};
use crate::input::ModelInput;
use crate::model::AlbertModel;
use crate::observer::{Observer, ProductInput};
use crate::parameters::{MASKED_LM, MASKED_LM_DENSE, POOLER, Product, in_model, layer_prefix};
use crate::pretrained::Pretrained;

/// The number of tokens to run, unless the model has fewer positions.
const TOKENS: usize = 128;

/// Returns the products that have this input.
fn readers(input: ProductInput) -> &'static [Product] {
    match input {
        ProductInput::HiddenStates => &[Product::Query, Product::Key, Product::Value],
        ProductInput::Context => &[Product::AttentionOutput],
        ProductInput::Attended => &[Product::Inner],
        ProductInput::Activations => &[Product::Output],
    }
}

impl Observer for BTreeMap<((usize, usize), ProductInput), ChannelStatistics> {
    fn see(&mut self, layer: (usize, usize), input: ProductInput, rows: &[f32], channels: usize) {
        self.entry((layer, input)).or_default().see(rows, channels);
    }
}

impl Checkpoint {
    /// Returns the checkpoint with what it needs to be loaded or saved as
    /// [`Int8`](WeightFormat::Int8).
    ///
    /// The model is loaded in f32 and run once on 128 random tokens, or as many as it has
    /// positions; random tokens suffice because layer norms make the same channels large whatever
    /// the text. A file with int8 weights is returned unchanged. [`Pretrained::load`] calls this if
    /// int8 is requested.
    ///
    /// # Errors
    /// If the encoder cannot be loaded, or its values are not finite.
    pub fn quantize(&self) -> Result<Self> {
        if self.is_quantized() {
            return Ok(self.clone());
        }
        let options = LoadOptions::default().with_weights(WeightFormat::F32);
        let model = AlbertModel::load(self, &options)?;
        let ids = random_ids(self.config())?;
        let embeddings = model
            .embeddings()
            .forward_t(&ModelInput::new(ids), false)?
            .squeeze(0)?; // (T, E)
        let mut seen = BTreeMap::new();
        let states = model.encoder().observe(&embeddings, &mut seen)?;
        if !states.iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite {
                tensor: "last_hidden_state".into(),
            });
        }

        let mut calibration = Calibration::new();
        for (((group, inner), input), statistics) in seen {
            let (layer, statistics) = (layer_prefix(group, inner), Arc::new(statistics));
            for product in readers(input) {
                let weight = format!("{layer}.{}.weight", product.name());
                calibration.insert(weight, Arc::clone(&statistics));
            }
        }
        let mut last = ChannelStatistics::default();
        last.see(&states, self.config().hidden_size);
        // The pooler only reads the first token, whose mean differs.
        let without_means = Arc::new(last.without_means());
        calibration.insert(format!("{}.weight", in_model(POOLER)), without_means);
        let dense = format!("{MASKED_LM}.{MASKED_LM_DENSE}.weight");
        calibration.insert(dense, Arc::new(last));
        Ok(self.with_calibration(calibration))
    }
}

fn random_ids(config: &AlbertConfig) -> Result<Tensor> {
    let tokens = TOKENS.min(config.max_position_embeddings);
    let mut state = 1u64;
    let ids = (0..tokens).map(|_| {
        // Knuth's linear congruential generator
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % config.vocab_size as u64) as u32
    });
    Ok(Tensor::from_vec(
        ids.collect::<Vec<_>>(),
        (1, tokens),
        &Device::Cpu,
    )?)
}

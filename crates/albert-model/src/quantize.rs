//! What rounding to 8 bits must know of a model's activations, found by running it.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::checkpoint::{Calibration, ChannelStatistics, Checkpoint, LoadOptions, WeightType};
use crate::config::AlbertConfig;
use crate::error::{Error, Result};
use crate::input::ModelInput;
use crate::model::AlbertModel;
use crate::pretrained::Pretrained;

/// Tokens that are run, or as many as the model has positions.
const TOKENS: usize = 128;

/// What a product of an encoder is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    /// Queries, keys and values, from hidden states.
    Projections,
    /// Attention's output, from the context.
    AttentionOutput,
    /// The feed-forward network's inner layer.
    Inner,
    /// Its outer layer.
    Output,
}

impl Product {
    fn weights(self) -> &'static [&'static str] {
        match self {
            Self::Projections => &["attention.query", "attention.key", "attention.value"],
            Self::AttentionOutput => &["attention.dense"],
            Self::Inner => &["ffn"],
            Self::Output => &["ffn_output"],
        }
    }
}

/// Sees what the products of an encoder are fed.
pub(crate) trait Observer {
    /// Rows of so many channels on their way into a product of the layer `inner` of `group`.
    fn see(&mut self, layer: (usize, usize), product: Product, rows: &[f32], channels: usize);
}

/// Looks at nothing.
pub(crate) struct Blind;

impl Observer for Blind {
    #[inline(always)]
    fn see(&mut self, _: (usize, usize), _: Product, _: &[f32], _: usize) {}
}

impl Observer for BTreeMap<((usize, usize), Product), ChannelStatistics> {
    fn see(&mut self, layer: (usize, usize), product: Product, rows: &[f32], channels: usize) {
        self.entry((layer, product))
            .or_default()
            .see(rows, channels);
    }
}

impl Checkpoint {
    /// The same checkpoint, ready to be loaded or saved as [`Int8`](WeightType::Int8).
    ///
    /// The model is loaded in f32 and run once, on 128 tokens drawn at random, or as many as it has
    /// positions: layer norms make the same channels large whatever the text. A file with weights
    /// in 8 bits is ready as it is. [`Pretrained::load`] does this itself where it is asked for 8
    /// bits.
    ///
    /// # Errors
    /// If the encoder cannot be loaded, or its numbers are not finite.
    pub fn quantize(&self) -> Result<Self> {
        if self.is_quantized() {
            return Ok(self.clone());
        }
        let options = LoadOptions {
            device: Device::Cpu,
            dtype: WeightType::F32,
        };
        let (model, _) = AlbertModel::load(self, &options)?;
        let ids = random_ids(self.config())?;
        let embeddings = model.embeddings().forward_t(&ModelInput::new(ids), false)?;
        let mut seen = BTreeMap::new();
        let states = model.encoder().observe(&embeddings, &mut seen)?;
        if !states.iter().all(|x| x.is_finite()) {
            return Err(Error::NotFinite {
                tensor: "last_hidden_state".into(),
            });
        }

        let mut calibration = Calibration::new();
        for (((group, inner), product), statistics) in seen {
            let (layer, statistics) = (
                format!("albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}"),
                Arc::new(statistics),
            );
            for weight in product.weights() {
                calibration.insert(format!("{layer}.{weight}.weight"), Arc::clone(&statistics));
            }
        }
        let mut last = ChannelStatistics::default();
        last.see(&states, self.config().hidden_size);
        // The pooler reads the first token alone, which has a mean of its own.
        calibration.insert(
            "albert.pooler.weight".into(),
            Arc::new(last.without_means()),
        );
        calibration.insert("predictions.dense.weight".into(), Arc::new(last));
        Ok(self.with_calibration(calibration))
    }
}

fn random_ids(config: &AlbertConfig) -> Result<Tensor> {
    let tokens = TOKENS.min(config.max_position_embeddings);
    let mut state = 1u64;
    let ids = (0..tokens).map(|_| {
        // Knuth's linear congruential generator.
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

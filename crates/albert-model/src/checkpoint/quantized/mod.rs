//! Weights in 8 bits: as a file has them, or rounded on the way to the model.
//!
//! A file has five tensors for such a weight `(out, in)`, after its name:
//!
//! | | | |
//! |---|---|---|
//! | `….weight` | I8, `(out, in)` | integers from -127 to 127; -128 is read too |
//! | `….weight_scale` | `(out, ⌈in / 256⌉)` | what 256 integers of a row are multiplied by |
//! | `….weight_rotation` | U32, `(1)` | 256: the weights are [rotated](albert_kernels::rotate_weights) in blocks of 256 inputs |
//! | `….weight_outlier_channels` | U32, `(O)` | the input channels that stay as they are |
//! | `….weight_outliers` | `(out, O)` | their weights |
//!
//! The first two are those of compressed-tensors with groups of 256 and symmetric. The third is
//! absent where weights are not rotated, as word embeddings are not, of which rows are looked up;
//! the others if there are no outliers.
//!
//! Layer norms and gelu make the same few channels large for every token. One scale for them and
//! the rest would leave the rest few steps, and what is lost there is lost again in each repetition
//! of a shared layer. The rotation divides what is large among the channels of its block;
//! *outliers*, the input channels with the largest values of all, stay in f32.
//!
//! Rounding moves each output by `Σ_k (w - w̃) x_k`. The part of it that is the same for all
//! tokens, which the mean of `x_k` gives, is taken out of the bias (Nagel et al. 2019, §4.2).
//!
//! The largest values and the means are a [`Calibration`], which [`Checkpoint::quantize`] makes.

mod calibration;
mod companions;
mod rounded;

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device};

use crate::checkpoint::{Checkpoint, WeightFormat};
use crate::error::{Error, Result};
use crate::parameters::{
    LAYERS, MASKED_LM, MASKED_LM_DENSE, POOLER, Product, WORD_EMBEDDINGS, in_model,
};

pub(crate) use calibration::{Calibration, ChannelStatistics};
pub(super) use companions::Companions;
pub(super) use rounded::RoundedWeight;

pub(super) const SCALE: &str = "_scale";
pub(super) const ROTATION: &str = "_rotation";
pub(super) const OUTLIER_CHANNELS: &str = "_outlier_channels";
pub(super) const OUTLIERS: &str = "_outliers";

/// Returns true if a tensor is rounded to int8: the word embeddings and all products of the layers,
/// pooler and masked-LM head. The projection from E to H is not: every repetition would build on
/// its error.
pub(super) fn is_quantized(name: &str) -> bool {
    let Some(module) = name.strip_suffix(".weight") else {
        return false;
    };
    let is_product = |layer: &str| {
        let (_, product) = layer.split_once('.').unwrap_or_default();
        Product::ALL.iter().any(|known| known.name() == product)
    };
    name == WORD_EMBEDDINGS
        || module == in_model(POOLER)
        || module.strip_prefix(MASKED_LM) == Some(&format!(".{MASKED_LM_DENSE}"))
        || module
            .split_once(&format!(".{LAYERS}."))
            .is_some_and(|(_, layer)| is_product(layer))
}

/// A name of [`RoundedWeight::part`], split into the weight's and what follows it.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let ends = [SCALE, ROTATION, OUTLIER_CHANNELS, OUTLIERS];
    ends.into_iter().find_map(|end| {
        name.strip_suffix(end)
            .filter(|name| is_quantized(name))
            .map(|name| (name, end))
    })
}

/// The weight in 8 bits that a bias belongs to.
pub(super) fn weight_of_bias(name: &str) -> Option<String> {
    let weight = format!("{}weight", name.strip_suffix("bias")?);
    is_quantized(&weight).then_some(weight)
}

impl Checkpoint {
    /// Returns true if the file has int8 weights wherever [`Int8`](WeightFormat::Int8) has them.
    pub fn is_quantized(&self) -> bool {
        let mut weights = self
            .names
            .keys()
            .filter(|name| is_quantized(name))
            .peekable();
        weights.peek().is_some()
            && weights.all(|name| {
                self.stored(name)
                    .is_some_and(|(_, tensor)| tensor.companions.is_some())
            })
    }

    /// Resolves [`Auto`](WeightFormat::Auto) for this file and a device. Returns any other format
    /// as it is.
    pub fn weight_format(&self, requested: WeightFormat, device: &Device) -> WeightFormat {
        match requested {
            WeightFormat::Auto if self.is_quantized() && device.is_cpu() => WeightFormat::Int8,
            WeightFormat::Auto => WeightFormat::F32,
            other => other,
        }
    }

    /// Returns the checkpoint with statistics of its activations.
    pub(crate) fn with_calibration(&self, calibration: Calibration) -> Self {
        Self {
            calibration: Some(Arc::new(calibration)),
            ..self.clone()
        }
    }

    fn quantized(&self, name: &str) -> Result<RoundedWeight> {
        let Some((_, tensor)) = self.stored(name) else {
            return Err(Error::MissingTensors {
                file: self.files.name(),
                names: vec![name.into()],
            });
        };
        match (&tensor.companions, &self.calibration) {
            (Some(companions), _) => Ok(RoundedWeight::read(tensor, companions)?),
            (None, Some(calibration)) => {
                let weight = tensor.load()?.to_dtype(DType::F32)?;
                RoundedWeight::round(name, &weight, calibration.get(name).map(Arc::as_ref))
            }
            (None, None) => Err(Error::NotCalibrated {
                file: self.files.name(),
            }),
        }
    }
}

/// The weights of a checkpoint in 8 bits. The one that was asked for last is kept: its parts and
/// its bias are asked for one after another.
#[derive(Debug, Default)]
pub(super) struct RoundedWeights {
    last: Mutex<Option<(String, Arc<RoundedWeight>)>>,
}

impl RoundedWeights {
    /// The weight of this name.
    pub(super) fn get(&self, checkpoint: &Checkpoint, name: &str) -> Result<Arc<RoundedWeight>> {
        let mut last = self.last.lock().expect("no other thread panics with it");
        if let Some((of, weight)) = &*last
            && of == name
        {
            return Ok(Arc::clone(weight));
        }
        let weight = Arc::new(checkpoint.quantized(name)?);
        *last = Some((name.into(), Arc::clone(&weight)));
        Ok(weight)
    }
}

//! int8 weights: read from a file, or quantized while loading.
//!
//! A file has up to five tensors for an int8 weight `(out, in)`:
//!
//! | | | |
//! |---|---|---|
//! | `….weight` | I8, `(out, in)` | integers from -127 to 127; -128 is read too |
//! | `….weight_scale` | `(out, ⌈in / 256⌉)` | the factor of 256 integers of a row |
//! | `….weight_rotation` | U32, `(1)` | 256: the weights are [rotated](albert_kernels::rotate_weights) in blocks of 256 inputs |
//! | `….weight_outlier_channels` | U32, `(O)` | the input channels that are not quantized |
//! | `….weight_outliers` | `(out, O)` | their weights |
//!
//! The first two are those of compressed-tensors, symmetric with groups of 256. The third is absent
//! if the weight is not rotated, as word embeddings are not, because their rows are looked up; the
//! last two are absent if there are no outliers.
//!
//! Layer norms and gelu make the same few channels large for every token. A scale shared with them
//! would leave few steps for the other channels, and a shared layer repeats that loss every time it
//! runs. The rotation spreads large values over the channels of its block, and *outliers*, the
//! input channels with the largest values of all, stay in f32.
//!
//! Rounding changes each output by `Σ_k (w - w̃) x_k`. The part of this error that is the same for
//! all tokens, estimated from the mean of `x_k`, is corrected in the bias (Nagel et al. 2019,
//! §4.2).
//!
//! The largest values and the means form a [`Calibration`], which [`Checkpoint::quantize`]
//! computes.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device};

use crate::checkpoint::calibration::Calibration;
use crate::checkpoint::companions::{OUTLIER_CHANNELS, OUTLIERS, ROTATION, SCALE};
use crate::checkpoint::rounded::RoundedWeight;
use crate::checkpoint::{Checkpoint, WeightFormat};
use crate::error::{Error, Result};
use crate::parameters::{
    LAYERS, MASKED_LM, MASKED_LM_DENSE, POOLER, Product, WORD_EMBEDDINGS, in_model,
};

/// Returns true if a tensor is quantized to int8: the word embeddings and all matrices of the
/// layers, the pooler and the masked-LM head. The projection from E to H is not, because all layers
/// would build on its error.
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

/// Splits a name of [`RoundedWeight::part`] into the name of the weight and the suffix.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let ends = [SCALE, ROTATION, OUTLIER_CHANNELS, OUTLIERS];
    ends.into_iter().find_map(|end| {
        name.strip_suffix(end)
            .filter(|name| is_quantized(name))
            .map(|name| (name, end))
    })
}

/// Returns the int8 weight to which a bias belongs.
pub(super) fn weight_of_bias(name: &str) -> Option<String> {
    let weight = format!("{}weight", name.strip_suffix("bias")?);
    is_quantized(&weight).then_some(weight)
}

impl Checkpoint {
    /// Returns true if all weights that are int8 in [`Int8`](WeightFormat::Int8) are int8 in the
    /// file.
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
    /// unchanged.
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

/// The int8 weights of a checkpoint. The last one is cached, because its parts and its bias are
/// requested one after another.
#[derive(Debug, Default)]
pub(super) struct RoundedWeights {
    last: Mutex<Option<(String, Arc<RoundedWeight>)>>,
}

impl RoundedWeights {
    /// Returns the weight with this name.
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

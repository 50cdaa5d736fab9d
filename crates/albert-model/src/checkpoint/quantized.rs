//! Weights in 8 bits: as a file has them, or rounded on the way to the model.
//!
//! A file has four tensors for such a weight `(out, in)`, after its name:
//!
//! | | | |
//! |---|---|---|
//! | `….weight` | I8, `(out, in)` | integers from -127 to 127; -128 is read too |
//! | `….weight_scale` | `(out, ⌈in / 128⌉)` | what 128 integers of a row are multiplied by |
//! | `….weight_outlier_channels` | U32, `(O)` | the input channels that stay as they are |
//! | `….weight_outliers` | `(out, O)` | their weights |
//!
//! The first two are those of compressed-tensors with groups of 128 and symmetric; the others are absent where
//! there are no outliers.
//!
//! *Outliers* are the input channels with the largest numbers: layer norms and gelu put them into the same
//! channels for every token. One scale for them and the rest would leave the rest few steps, and what is lost
//! there is lost again in each repetition of a shared layer.
//!
//! Rounding moves each output by `Σ_k (w - w̃) x_k`. The part of it that is the same for all tokens, which the
//! mean of `x_k` tells, is taken out of the bias (Nagel et al. 2019, §4.2).
//!
//! Largest numbers and means are a [`Calibration`], which [`Checkpoint::quantize`] makes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use albert_kernels::quantized::GROUP;
use albert_kernels::{quantize_weights, restore_weights};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::names::WORD_EMBEDDINGS;
use crate::checkpoint::stored::StoredTensor;
use crate::checkpoint::{Checkpoint, WeightType};
use crate::error::{Error, Result};

pub(super) const SCALE: &str = "_scale";
pub(super) const OUTLIER_CHANNELS: &str = "_outlier_channels";
pub(super) const OUTLIERS: &str = "_outliers";

/// One input channel in so many stays in f32: 16 of 768.
const CHANNELS_FOR_AN_OUTLIER: usize = 48;

/// Products that are computed in 8 bits, by the ends of their names.
const PRODUCTS: [&str; 8] = [
    ".attention.query.weight",
    ".attention.key.weight",
    ".attention.value.weight",
    ".attention.dense.weight",
    ".ffn.weight",
    ".ffn_output.weight",
    "albert.pooler.weight",
    "predictions.dense.weight",
];

/// Whether a tensor is rounded to 8 bits: the word embeddings and all products of the layers, pooler and
/// masked-LM head. The projection from E to H is not: every repetition would build on its error.
pub(super) fn is_quantized(name: &str) -> bool {
    name == WORD_EMBEDDINGS || PRODUCTS.iter().any(|end| name.ends_with(end))
}

/// What a file holds beside the integers of a weight.
#[derive(Debug)]
pub(super) struct Companions {
    scales: StoredTensor,
    /// Channels and weights.
    outliers: Option<(StoredTensor, StoredTensor)>,
    /// Their names in the file.
    pub(super) names: Vec<String>,
    /// One of the pair of outliers, where the other is there.
    missing: Option<String>,
}

impl Companions {
    /// Gives every tensor of 8-bit integers the tensors that its name says belong to it.
    pub(super) fn attach(tensors: &mut BTreeMap<String, StoredTensor>) {
        let with_scales = tensors
            .iter()
            .filter(|(name, tensor)| tensor.holds_bytes() && tensors.contains_key(&format!("{name}{SCALE}")));
        let names: Vec<String> = with_scales.map(|(name, _)| name.clone()).collect();
        for name in names {
            let [scale, channels, outliers] =
                [SCALE, OUTLIER_CHANNELS, OUTLIERS].map(|end| format!("{name}{end}"));
            let scales = tensors[&scale].clone();
            let mut names = vec![scale];
            let (mut pair, mut missing) = (None, None);
            match (tensors.get(&channels), tensors.get(&outliers)) {
                (Some(a), Some(b)) => {
                    pair = Some((a.clone(), b.clone()));
                    names.extend([channels, outliers]);
                }
                (Some(_), None) => missing = Some(outliers),
                (None, Some(_)) => missing = Some(channels),
                (None, None) => {}
            }
            let companions = Arc::new(Self { scales, outliers: pair, names, missing });
            if let Some(tensor) = tensors.get_mut(&name) {
                tensor.companions = Some(companions);
            }
        }
    }

    /// How many bytes they take once loaded; `None` beyond `usize`.
    pub(super) fn loaded_len(&self) -> Option<usize> {
        let outliers = self.outliers.iter().flat_map(|(channels, outliers)| [channels, outliers]);
        std::iter::once(&self.scales)
            .chain(outliers)
            .try_fold(0usize, |len, tensor| len.checked_add(tensor.loaded_len()?))
    }

    /// Checks shapes and types against the integers' shape.
    pub(super) fn expect(&self, shape: &[usize]) -> Result<()> {
        if let Some(missing) = &self.missing {
            return Err(Error::MissingTensors { file: self.scales.file(), names: vec![missing.clone()] });
        }
        // The check of the integers' own shape refuses anything else.
        let &[out, input] = shape else { return Ok(()) };
        self.scales.expect(&self.names[0], &[out, input.div_ceil(GROUP)])?;
        if let Some((channels, outliers)) = &self.outliers {
            let count = channels.shape.first().copied().unwrap_or(0);
            channels.expect_indices(&self.names[1], &[count])?;
            outliers.expect(&self.names[2], &[out, count])?;
        }
        Ok(())
    }
}

/// A weight in 8 bits, as a file has it or rounded now.
#[derive(Debug)]
pub(super) struct RoundedWeight {
    /// Outputs and inputs.
    shape: [usize; 2],
    /// `(out, in)`
    rounded: Vec<i8>,
    /// `(out, ⌈in / GROUP⌉)`
    scales: Vec<f32>,
    /// `(O)`
    channels: Vec<u32>,
    /// `(out, O)`
    outliers: Vec<f32>,
    /// What is added to the bias, `(out)`, where the weight was rounded now.
    correction: Option<Vec<f32>>,
}

impl RoundedWeight {
    /// Rounds a weight, `(out, in)` in f32, for inputs of which something is known or nothing.
    fn round(name: &str, weight: &Tensor, inputs: Option<&ChannelStatistics>) -> Result<Self> {
        let (out, input) = weight.dims2()?;
        let channels =
            inputs.map_or_else(Vec::new, |inputs| inputs.outliers(input.div_ceil(CHANNELS_FOR_AN_OUTLIER)));
        let mut weights = weight.flatten_all()?.to_vec1::<f32>()?;
        let mut outliers = Vec::with_capacity(out * channels.len());
        for row in weights.chunks_exact_mut(input) {
            // They take no part in the scale.
            outliers.extend(channels.iter().map(|&channel| std::mem::take(&mut row[channel as usize])));
        }
        let (rounded, scales) = quantize_weights(&weights, input);
        if !scales.iter().chain(&outliers).all(|x| x.is_finite()) {
            return Err(Error::NotFinite { tensor: name.into() });
        }
        let correction = inputs.map(|inputs| {
            let means = inputs.means();
            let restored = restore_weights(&rounded, &scales, input);
            let rows = weights.chunks_exact(input).zip(restored.chunks_exact(input));
            rows.map(|(row, restored)| {
                let lost = row.iter().zip(restored).map(|(w, restored)| f64::from(w - restored));
                lost.zip(&means).map(|(lost, mean)| lost * mean).sum::<f64>() as f32
            })
            .collect()
        });
        Ok(Self { shape: [out, input], rounded, scales, channels, outliers, correction })
    }

    /// Copies a weight out of its file.
    pub(super) fn read(integers: &StoredTensor, companions: &Companions) -> candle_core::Result<Self> {
        companions.expect(&integers.shape).map_err(candle_core::Error::wrap)?;
        let (out, input) = match integers.shape[..] {
            [out, input] if input > 0 => (out, input),
            _ => candle_core::bail!("8-bit weights: expected a matrix, found the shape {:?}", integers.shape),
        };
        let rounded = integers.load_bytes()?;
        let numbers =
            |tensor: &StoredTensor| tensor.load()?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let scales = numbers(&companions.scales)?;
        let (mut channels, mut outliers) = (Vec::new(), Vec::new());
        if let Some((of_channels, of_outliers)) = &companions.outliers {
            for channel in of_channels.load()?.to_dtype(DType::I64)?.flatten_all()?.to_vec1::<i64>()? {
                match u32::try_from(channel) {
                    Ok(index)
                        if (index as usize) < input && channels.last().is_none_or(|last| *last < index) =>
                    {
                        channels.push(index)
                    }
                    _ => candle_core::bail!(
                        "`{}`: expected ascending channels from 0 to {}, found {channel}",
                        companions.names[1],
                        input - 1
                    ),
                }
            }
            outliers = numbers(of_outliers)?;
        }
        Ok(Self { shape: [out, input], rounded, scales, channels, outliers, correction: None })
    }

    /// The weight in f32, `(out, in)`.
    pub(super) fn restore(&self) -> candle_core::Result<Tensor> {
        let [out, input] = self.shape;
        let mut weights = restore_weights(&self.rounded, &self.scales, input);
        if !self.channels.is_empty() {
            let rows = weights.chunks_exact_mut(input);
            for (row, outliers) in rows.zip(self.outliers.chunks_exact(self.channels.len())) {
                self.channels.iter().zip(outliers).for_each(|(&channel, x)| row[channel as usize] = *x);
            }
        }
        Tensor::from_vec(weights, (out, input), &Device::Cpu)
    }

    /// What a [`VarBuilder`](candle_nn::VarBuilder) gives under a name's end: the integers 128 above what they
    /// are, for Candle has no signed bytes; scales; channels; outliers.
    pub(super) fn part(&self, end: &str) -> candle_core::Result<Option<Tensor>> {
        let ([out, input], outliers, cpu) = (self.shape, self.channels.len(), &Device::Cpu);
        Ok(Some(match end {
            "" => {
                let bytes: Vec<u8> = self.rounded.iter().map(|r| *r as u8 ^ 0x80).collect();
                Tensor::from_vec(bytes, (out, input), cpu)?
            }
            SCALE => Tensor::from_slice(&self.scales, (out, input.div_ceil(GROUP)), cpu)?,
            OUTLIER_CHANNELS => Tensor::from_slice(&self.channels, outliers, cpu)?,
            OUTLIERS => Tensor::from_slice(&self.outliers, (out, outliers), cpu)?,
            _ => return Ok(None),
        }))
    }

    /// The layer's bias, `(out)`, without what rounding adds to all of its outputs.
    pub(super) fn correct(&self, bias: Tensor) -> candle_core::Result<Tensor> {
        match &self.correction {
            Some(correction) => bias + Tensor::new(correction.as_slice(), &Device::Cpu)?,
            None => Ok(bias),
        }
    }

    /// The integers, `(out, in)`.
    pub(super) fn rounded(&self) -> &[i8] {
        &self.rounded
    }

    /// `(out, in)`
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }
}

/// A name of [`RoundedWeight::part`], split into the weight's and what follows it.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let ends = [SCALE, OUTLIER_CHANNELS, OUTLIERS];
    ends.into_iter()
        .find_map(|end| name.strip_suffix(end).filter(|name| is_quantized(name)).map(|name| (name, end)))
}

/// The weight in 8 bits that a bias belongs to.
pub(super) fn weight_of_bias(name: &str) -> Option<String> {
    let weight = format!("{}weight", name.strip_suffix("bias")?);
    is_quantized(&weight).then_some(weight)
}

impl Checkpoint {
    /// Whether the file has all the weights in 8 bits that [`Int8`](WeightType::Int8) would have.
    pub fn is_quantized(&self) -> bool {
        let mut weights = self.names.keys().filter(|name| is_quantized(name)).peekable();
        weights.peek().is_some()
            && weights.all(|name| self.stored(name).is_some_and(|(_, tensor)| tensor.companions.is_some()))
    }

    /// What [`Auto`](WeightType::Auto) means for this file on a device; any other type is itself.
    pub fn weight_type(&self, asked: WeightType, device: &Device) -> WeightType {
        match asked {
            WeightType::Auto if self.is_quantized() && device.is_cpu() => WeightType::Int8,
            WeightType::Auto => WeightType::F32,
            other => other,
        }
    }

    /// The same with what is known of its activations.
    pub(crate) fn with_calibration(&self, calibration: Calibration) -> Self {
        Self { calibration: Some(Arc::new(calibration)), ..self.clone() }
    }

    fn quantized(&self, name: &str) -> Result<RoundedWeight> {
        let Some((_, tensor)) = self.stored(name) else {
            return Err(Error::MissingTensors { file: self.files.name(), names: vec![name.into()] });
        };
        match (&tensor.companions, &self.calibration) {
            (Some(companions), _) => Ok(RoundedWeight::read(tensor, companions)?),
            (None, Some(calibration)) => {
                let weight = tensor.load()?.to_dtype(DType::F32)?;
                RoundedWeight::round(name, &weight, calibration.get(name).map(Arc::as_ref))
            }
            (None, None) => Err(Error::NotCalibrated { file: self.files.name() }),
        }
    }
}

/// The weights of a checkpoint in 8 bits. The one that was asked for last is kept: its parts and its bias are
/// asked for one after another.
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

/// What is known of the inputs of products in 8 bits, by the names of their weights.
pub(crate) type Calibration = BTreeMap<String, Arc<ChannelStatistics>>;

/// How large the numbers of each channel are.
#[derive(Debug, Default)]
pub(crate) struct ChannelStatistics {
    largest: Vec<f32>,
    sums: Vec<f64>,
    rows: usize,
}

impl ChannelStatistics {
    /// Takes rows of so many channels into account.
    pub(crate) fn see(&mut self, rows: &[f32], channels: usize) {
        self.largest.resize(channels, 0.0);
        self.sums.resize(channels, 0.0);
        for row in rows.chunks_exact(channels) {
            for ((largest, sum), x) in self.largest.iter_mut().zip(&mut self.sums).zip(row) {
                *largest = largest.max(x.abs());
                *sum += f64::from(*x);
            }
            self.rows += 1;
        }
    }

    /// The largest numbers alone: rounding by these corrects no bias.
    pub(crate) fn without_means(&self) -> Self {
        Self { largest: self.largest.clone(), sums: vec![0.0; self.sums.len()], rows: self.rows }
    }

    /// The `count` channels with the largest numbers, in order.
    fn outliers(&self, count: usize) -> Vec<u32> {
        let mut channels: Vec<u32> = (0..self.largest.len() as u32).collect();
        channels.sort_by(|&a, &b| self.largest[b as usize].total_cmp(&self.largest[a as usize]));
        channels.truncate(count);
        channels.sort_unstable();
        channels
    }

    fn means(&self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.rows as f64).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use safetensors::Dtype;

    use super::*;
    use crate::checkpoint::stored::WeightFile;

    #[test]
    fn what_belongs_to_a_weight_counts_when_it_is_loaded() {
        let file = Arc::new(WeightFile::owned(Cow::Owned(vec![0; 8]), "test"));
        // They may all be the same bytes, as tensors of a pickle can be.
        let stored = |dtype, shape: &[usize], bytes| {
            StoredTensor::dense(&file, dtype, shape.to_vec(), 0..bytes).expect("within the file")
        };
        let mut tensors = BTreeMap::from([
            ("x".to_string(), stored(Dtype::I8, &[2, 4], 8)),
            ("x_scale".to_string(), stored(Dtype::F32, &[2, 1], 8)),
            ("x_outlier_channels".to_string(), stored(Dtype::U32, &[1], 4)),
            ("x_outliers".to_string(), stored(Dtype::F32, &[2, 1], 8)),
        ]);
        Companions::attach(&mut tensors);
        assert_eq!(tensors["x"].loaded_len(), Some(2 * 4 * 4 + 8 + 4 + 8));
    }
}

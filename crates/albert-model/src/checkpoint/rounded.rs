//! An int8 weight in memory, read from a file or quantized, and its conversions.

use albert_kernels::quantized::SCALE_BLOCK;
use albert_kernels::{dequantize_weights, quantize_weights, rotate_weights, unrotate_weights};
use candle_core::{DType, Device, Tensor};

use crate::checkpoint::calibration::ChannelStatistics;
use crate::checkpoint::companions::{Companions, OUTLIER_CHANNELS, OUTLIERS, ROTATION, SCALE};
use crate::checkpoint::stored::StoredTensor;
use crate::error::{Error, Result};
use crate::parameters::WORD_EMBEDDINGS;

/// One in this many input channels stays in f32: 8 of 768.
const CHANNELS_FOR_AN_OUTLIER: usize = 96;

/// An int8 weight, read from a file or quantized.
#[derive(Debug)]
pub(super) struct RoundedWeight {
    /// Outputs and inputs.
    shape: [usize; 2],
    /// `(out, in)`
    rounded: Vec<i8>,
    /// `(out, ⌈in / SCALE_BLOCK⌉)`
    scales: Vec<f32>,
    /// True if the integers are those of rotated weights.
    is_rotated: bool,
    /// `(O)`
    channels: Vec<u32>,
    /// `(out, O)`
    outliers: Vec<f32>,
    /// The correction of the bias, `(out)`, if the weight was quantized after loading.
    correction: Option<Vec<f32>>,
}

impl RoundedWeight {
    /// Quantizes a weight, `(out, in)` in f32, with or without statistics of its inputs.
    pub(super) fn round(
        name: &str,
        weight: &Tensor,
        inputs: Option<&ChannelStatistics>,
    ) -> Result<Self> {
        let (out, input) = weight.dims2()?;
        let channels = inputs.map_or_else(Vec::new, |inputs| {
            inputs.outliers(input.div_ceil(CHANNELS_FOR_AN_OUTLIER))
        });
        let mut weights = weight.flatten_all()?.to_vec1::<f32>()?;
        let mut outliers = Vec::with_capacity(out * channels.len());
        for row in weights.chunks_exact_mut(input) {
            // Outliers do not affect the scale.
            outliers.extend(
                channels
                    .iter()
                    .map(|&channel| std::mem::take(&mut row[channel as usize])),
            );
        }
        let is_rotated = name != WORD_EMBEDDINGS;
        let before = inputs.map(|_| weights.clone());
        if is_rotated {
            rotate_weights(&mut weights, input);
        }
        let (rounded, scales) = quantize_weights(&weights, input);
        if !scales.iter().chain(&outliers).all(|x| x.is_finite()) {
            return Err(Error::NotFinite {
                tensor: name.into(),
            });
        }
        let correction = inputs.zip(before).map(|(inputs, before)| {
            let mut means = inputs.means();
            // Outliers are not in the integers.
            channels
                .iter()
                .for_each(|&channel| means[channel as usize] = 0.0);
            let mut restored = dequantize_weights(&rounded, &scales, input);
            if is_rotated {
                unrotate_weights(&mut restored, input);
            }
            let rows = before.chunks_exact(input).zip(restored.chunks_exact(input));
            rows.map(|(row, restored)| {
                let lost = row
                    .iter()
                    .zip(restored)
                    .map(|(w, restored)| f64::from(w - restored));
                lost.zip(&means)
                    .map(|(lost, mean)| lost * mean)
                    .sum::<f64>() as f32
            })
            .collect()
        });
        Ok(Self {
            shape: [out, input],
            rounded,
            scales,
            is_rotated,
            channels,
            outliers,
            correction,
        })
    }

    /// Reads a weight from its file.
    pub(super) fn read(
        integers: &StoredTensor,
        companions: &Companions,
    ) -> candle_core::Result<Self> {
        companions
            .expect(&integers.shape)
            .map_err(candle_core::Error::wrap)?;
        let (out, input) = match integers.shape[..] {
            [out, input] if input > 0 => (out, input),
            _ => candle_core::bail!(
                "int8 weights: expected a matrix, found the shape {:?}",
                integers.shape
            ),
        };
        let rounded = integers.load_bytes()?;
        let numbers = |tensor: &StoredTensor| {
            tensor
                .load()?
                .to_dtype(DType::F32)?
                .flatten_all()?
                .to_vec1::<f32>()
        };
        let scales = numbers(&companions.scales)?;
        let is_rotated = match &companions.rotation {
            None => false,
            Some((name, rotation)) => {
                match rotation.load()?.to_dtype(DType::I64)?.to_vec1::<i64>()?[..] {
                    [size] if size == SCALE_BLOCK as i64 => true,
                    ref found => {
                        candle_core::bail!("`{name}`: expected {SCALE_BLOCK}, found {found:?}")
                    }
                }
            }
        };
        let (mut channels, mut outliers) = (Vec::new(), Vec::new());
        if let Some((of_channels, of_outliers)) = &companions.outliers {
            for channel in of_channels
                .load()?
                .to_dtype(DType::I64)?
                .flatten_all()?
                .to_vec1::<i64>()?
            {
                match u32::try_from(channel) {
                    Ok(index)
                        if (index as usize) < input
                            && channels.last().is_none_or(|last| *last < index) =>
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
        Ok(Self {
            shape: [out, input],
            rounded,
            scales,
            is_rotated,
            channels,
            outliers,
            correction: None,
        })
    }

    /// Returns the weight in f32, `(out, in)`.
    pub(super) fn restore(&self) -> candle_core::Result<Tensor> {
        let [out, input] = self.shape;
        let mut weights = dequantize_weights(&self.rounded, &self.scales, input);
        if self.is_rotated {
            unrotate_weights(&mut weights, input);
        }
        if !self.channels.is_empty() {
            let rows = weights.chunks_exact_mut(input);
            for (row, outliers) in rows.zip(self.outliers.chunks_exact(self.channels.len())) {
                self.channels
                    .iter()
                    .zip(outliers)
                    .for_each(|(&channel, x)| row[channel as usize] = *x);
            }
        }
        Tensor::from_vec(weights, (out, input), &Device::Cpu)
    }

    /// Returns the tensor of a [`VarBuilder`](candle_nn::VarBuilder) for a name's suffix: the
    /// integers plus 128, because Candle has no signed bytes; scales; rotation; channels; outliers.
    pub(super) fn part(&self, end: &str) -> candle_core::Result<Option<Tensor>> {
        let ([out, input], outliers, cpu) = (self.shape, self.channels.len(), &Device::Cpu);
        Ok(Some(match end {
            "" => {
                let bytes: Vec<u8> = self.rounded.iter().map(|r| *r as u8 ^ 0x80).collect();
                Tensor::from_vec(bytes, (out, input), cpu)?
            }
            SCALE => Tensor::from_slice(&self.scales, (out, input.div_ceil(SCALE_BLOCK)), cpu)?,
            ROTATION => Tensor::from_slice(
                &[SCALE_BLOCK as u32][..usize::from(self.is_rotated)],
                usize::from(self.is_rotated),
                cpu,
            )?,
            OUTLIER_CHANNELS => Tensor::from_slice(&self.channels, outliers, cpu)?,
            OUTLIERS => Tensor::from_slice(&self.outliers, (out, outliers), cpu)?,
            _ => return Ok(None),
        }))
    }

    /// Returns the layer's bias, `(out)`, minus the mean rounding error of its outputs.
    pub(super) fn correct(&self, bias: Tensor) -> candle_core::Result<Tensor> {
        match &self.correction {
            Some(correction) => bias + Tensor::new(correction.as_slice(), &Device::Cpu)?,
            None => Ok(bias),
        }
    }

    /// Returns the integers, `(out, in)`.
    pub(super) fn rounded(&self) -> &[i8] {
        &self.rounded
    }

    /// `(out, in)`
    pub(super) fn shape(&self) -> &[usize] {
        &self.shape
    }
}

//! The format of a model's weights in memory, and their device.

use std::fmt;

use candle_core::{DType, Device};

/// The format of a model's weights in memory, or in a file to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WeightFormat {
    /// [`F32`](Self::F32), or [`Int8`](Self::Int8) on the CPU if the file has int8 weights. On a
    /// GPU int8 weights are converted to f32.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats. On the CPU only a storage type: weights are rounded to it, and the arithmetic
    /// stays in f32.
    F16,
    /// 16-bit floats with the range of f32; on the CPU only a storage type, like
    /// [`F16`](Self::F16).
    BF16,
    /// 8-bit integers with one scale per output and block of 256 inputs, on the CPU. The products
    /// of the layers and the word embeddings are in 8 bits, attention is in 16 bits, and everything
    /// else in f32. If hidden states or attentions are requested, only the products are in 8 bits.
    Int8,
}

impl WeightFormat {
    /// Returns the floating-point type of tensors that are not int8.
    pub(super) fn float_type(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
            Self::Auto | Self::F32 | Self::Int8 => DType::F32,
        }
    }
}

impl TryFrom<DType> for WeightFormat {
    type Error = candle_core::Error;

    /// Converts Candle's floating-point types.
    ///
    /// # Errors
    /// If weights cannot be stored as `dtype`.
    fn try_from(dtype: DType) -> candle_core::Result<Self> {
        match dtype {
            DType::F32 => Ok(Self::F32),
            DType::F16 => Ok(Self::F16),
            DType::BF16 => Ok(Self::BF16),
            other => candle_core::bail!("weights: expected f32, f16 or bf16, found {other:?}"),
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// The device and the format of the loaded weights.
///
/// ```
/// use albert_model::{LoadOptions, WeightFormat};
/// use albert_model::candle_core::Device;
///
/// let options = LoadOptions::new(Device::Cpu).with_weights(WeightFormat::Int8);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoadOptions {
    /// The device that computes.
    pub device: Device,
    /// The format of the weights in memory, whatever their format in the file.
    pub weights: WeightFormat,
}

impl LoadOptions {
    /// Creates options that load to a device, in the format of the file ([`WeightFormat::Auto`]).
    pub fn new(device: Device) -> Self {
        Self {
            device,
            weights: WeightFormat::Auto,
        }
    }

    /// Sets the format of the weights.
    pub fn with_weights(self, weights: WeightFormat) -> Self {
        Self { weights, ..self }
    }
}

impl Default for LoadOptions {
    /// Returns options that load to the CPU, in the format of the file.
    fn default() -> Self {
        Self::new(Device::Cpu)
    }
}

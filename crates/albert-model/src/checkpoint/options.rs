//! What weights become on their way into a model, and where they go.

use std::fmt;

use candle_core::{DType, Device};

/// What a model's weights are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WeightType {
    /// [`F32`](Self::F32), or [`Int8`](Self::Int8) on the CPU where the file has weights in 8 bits.
    /// On a GPU, which does not multiply in 8 bits, f32 of what the integers stand for.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats. On the CPU a storage type: weights are rounded to it, arithmetic stays in
    /// f32.
    F16,
    /// 16-bit floats with the range of f32; on the CPU a storage type too.
    BF16,
    /// 8-bit integers with a scale for each output and 256 inputs, on the CPU: the layers' products
    /// and the word embeddings in 8 bits, attention in 16, everything else in f32; all of it in f32
    /// where hidden states or attentions are asked for, but for the products.
    Int8,
}

impl WeightType {
    /// The floating-point type of what is not in 8 bits.
    pub(super) fn float_type(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
            Self::Auto | Self::F32 | Self::Int8 => DType::F32,
        }
    }
}

impl fmt::Display for WeightType {
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

/// Where a model's weights go, and as what.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device that will compute.
    pub device: Device,
    /// What the weights become, whatever the file stores.
    pub dtype: WeightType,
}

impl Default for LoadOptions {
    /// As the file has them, on the CPU.
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            dtype: WeightType::Auto,
        }
    }
}

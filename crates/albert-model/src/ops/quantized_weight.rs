//! An int8 weight between a checkpoint and the packed panels.

use albert_kernels::quantized::SCALE_BLOCK;
use candle_core::{DType, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

/// An int8 weight, as provided by the [`VarBuilder`] of a checkpoint.
#[derive(Debug)]
pub(crate) struct QuantizedWeight {
    pub(super) input: usize,
    /// `(out, in)`
    pub(super) rounded: Vec<i8>,
    /// `(out, ⌈in / SCALE_BLOCK⌉)`
    pub(super) scales: Vec<f32>,
    pub(super) is_rotated: bool,
    /// `(O)`
    pub(super) channels: Vec<usize>,
    /// `(out, O)`
    pub(super) outliers: Vec<f32>,
}

impl QuantizedWeight {
    /// Takes `weight` as bytes, `weight_scale`, `weight_rotation`, `weight_outlier_channels` and
    /// `weight_outliers` from `vb`.
    pub(crate) fn new(input: usize, out: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let rounded =
            vb.get_with_hints_dtype((out, input), "weight", Init::Const(0.0), DType::U8)?;
        let shape = (out, input.div_ceil(SCALE_BLOCK));
        let scales =
            vb.get_with_hints_dtype(shape, "weight_scale", Init::Const(0.0), DType::F32)?;
        let channels = vb
            .get_unchecked_dtype("weight_outlier_channels", DType::U32)?
            .to_vec1::<u32>()?;
        let ascend = channels.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascend || channels.last().is_some_and(|&last| last as usize >= input) {
            bail!(
                "int8 weights: expected outliers in ascending order below {input}, found {channels:?}"
            )
        }
        let outliers = vb.get_unchecked_dtype("weight_outliers", DType::F32)?;
        if outliers.dims() != [out, channels.len()] {
            bail!(
                "int8 weights: expected outliers of shape {:?}, found {:?}",
                [out, channels.len()],
                outliers.dims()
            )
        }
        let rotation = vb.get_unchecked_dtype("weight_rotation", DType::U32)?;
        Ok(Self {
            is_rotated: rotation.elem_count() > 0,
            channels: channels.iter().map(|&channel| channel as usize).collect(),
            outliers: outliers.flatten_all()?.to_vec1()?,
            ..Self::from_rows(&rounded, &scales)?
        })
    }

    /// Creates a weight that is not rotated from scales and bytes `(out, in)`, which are the
    /// integers plus 128.
    pub(crate) fn from_rows(rounded: &Tensor, scales: &Tensor) -> Result<Self> {
        let (_, input) = rounded.dims2()?;
        let bytes = rounded.flatten_all()?.to_vec1::<u8>()?;
        Ok(Self {
            input,
            rounded: bytes.iter().map(|byte| (byte ^ 0x80) as i8).collect(),
            scales: scales.flatten_all()?.to_vec1()?,
            is_rotated: false,
            channels: Vec::new(),
            outliers: Vec::new(),
        })
    }
}

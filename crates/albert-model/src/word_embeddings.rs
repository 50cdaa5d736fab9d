//! The word embedding table, the largest tensor of a small ALBERT.

use std::sync::Arc;

use albert_kernels::quantized::SCALE_BLOCK;
use candle_core::{D, DType, Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::config::AlbertConfig;
use crate::layer_norm::is_constant;
use crate::linear::Linear;
use crate::ops::packed_linear::PackedLinear;
use crate::ops::quantized_weight::QuantizedWeight;

/// The names by which a [`Checkpoint`](crate::Checkpoint) offers the table in 16 bits.
pub(crate) const HALVES: [(&str, DType); 2] =
    [("weight_f16", DType::F16), ("weight_bf16", DType::BF16)];

/// The name of an id in messages, and of the table whose rows it counts.
pub(crate) const TOKEN_ID: (&str, &str) = ("token id", "the vocabulary");

/// One row of width E per token of the vocabulary.
#[derive(Debug, Clone)]
pub(crate) enum WordEmbeddings {
    /// `(V, E)`
    Floats(Tensor),
    /// `(V, E)` in f16 or bf16, as in the file: half the memory, and no time for rows that no text
    /// contains. Rows are looked up in f32, which has all values of both.
    Halves(Tensor),
    /// A row is `scale (byte - 128)`, with one scale per [`SCALE_BLOCK`] values.
    Bytes {
        /// `(V, E)`
        rounded: Tensor,
        /// `(V, ⌈E / SCALE_BLOCK⌉)`
        scales: Tensor,
    },
}

impl WordEmbeddings {
    /// Takes `weight`, in 16 bits if `vb` offers them, or `weight` as bytes and `weight_scale`.
    pub(crate) fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (v, e) = (config.vocab_size, config.embedding_size);
        let init = Init::Randn {
            mean: 0.0,
            stdev: config.initializer_range,
        };
        for (name, dtype) in HALVES {
            if vb.contains_tensor(name) {
                return Ok(Self::Halves(vb.get_with_hints_dtype(
                    (v, e),
                    "weight",
                    init,
                    dtype,
                )?));
            }
        }
        if !vb.contains_tensor("weight_scale") {
            return Ok(Self::Floats(vb.get_with_hints((v, e), "weight", init)?));
        }
        for none in ["weight_rotation", "weight_outlier_channels"] {
            if vb.get_unchecked_dtype(none, DType::U32)?.elem_count() > 0 {
                bail!("word embeddings in 8 bits: expected no rotation and no outliers")
            }
        }
        Ok(Self::Bytes {
            rounded: vb.get_with_hints_dtype((v, e), "weight", init, DType::U8)?,
            scales: vb.get_with_hints_dtype(
                (v, e.div_ceil(SCALE_BLOCK)),
                "weight_scale",
                init,
                DType::F32,
            )?,
        })
    }

    /// Returns V and E.
    pub(crate) fn dims(&self) -> Result<(usize, usize)> {
        match self {
            Self::Floats(table) | Self::Halves(table) | Self::Bytes { rounded: table, .. } => {
                table.dims2()
            }
        }
    }

    /// `(V, E)`
    pub(crate) fn table(&self) -> Result<Tensor> {
        match self {
            Self::Floats(table) => Ok(table.clone()),
            Self::Halves(table) => table.to_dtype(DType::F32),
            Self::Bytes { rounded, scales } => restore(rounded, scales),
        }
    }

    /// Returns true if the table is on the CPU and no variable.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::Floats(table) => is_constant(table),
            Self::Halves(table) | Self::Bytes { rounded: table, .. } => {
                matches!(table.device(), Device::Cpu)
            }
        }
    }

    /// `(…)` → `(…, E)`
    pub(crate) fn look_up(&self, ids: &Tensor) -> Result<Tensor> {
        let (what, of) = TOKEN_ID;
        match self {
            Self::Floats(table) => look_up(table, ids, what, of),
            Self::Halves(table) => look_up(table, ids, what, of)?.to_dtype(DType::F32),
            Self::Bytes { rounded, scales } => {
                let rounded = look_up(rounded, ids, what, of)?;
                restore(&rounded, &look_up(scales, ids, what, of)?)
            }
        }
    }

    /// Returns the decoder tied to the table, with its own bias, `(V)`.
    pub(crate) fn decoder(&self, bias: Tensor) -> Result<Linear> {
        match self {
            Self::Floats(_) | Self::Halves(_) => Linear::from_shared(self.table()?, bias),
            Self::Bytes { rounded, scales } => {
                let weight = QuantizedWeight::from_rows(rounded, scales)?;
                let packed = PackedLinear::from_quantized(&[weight], bias.to_vec1()?)?;
                Ok(Linear::Packed(Arc::new(packed)))
            }
        }
    }
}

/// `(…, E)` bytes and `(…, ⌈E / SCALE_BLOCK⌉)` scales → `(…, E)`
fn restore(rounded: &Tensor, scales: &Tensor) -> Result<Tensor> {
    let integers = (rounded.to_dtype(DType::F32)? - 128.0)?;
    let groups = (0..integers.dim(D::Minus1)?)
        .step_by(SCALE_BLOCK)
        .enumerate()
        .map(|(group, start)| {
            let width = SCALE_BLOCK.min(integers.dim(D::Minus1)? - start);
            let integers = integers.narrow(D::Minus1, start, width)?;
            integers.broadcast_mul(&scales.narrow(D::Minus1, group, 1)?)
        });
    Tensor::cat(&groups.collect::<Result<Vec<_>>>()?, D::Minus1)
}

/// `(…)` → `(…, E)`
pub(crate) fn look_up(table: &Tensor, ids: &Tensor, what: &str, of: &str) -> Result<Tensor> {
    let (rows, width) = table.dims2()?;
    if matches!(ids.device(), Device::Cpu) {
        indices(ids, rows, what, of)?;
    } else {
        check_dtype(ids, what)?;
    }
    let mut flat = ids.flatten_all()?;
    if flat.dtype() == DType::U8 {
        // Candle returns a row of zeros for the maximum of the index type, which is a valid id in
        // u8.
        flat = flat.to_dtype(DType::U32)?;
    }
    let mut shape = ids.dims().to_vec();
    shape.push(width);
    table.index_select(&flat, 0)?.reshape(shape)
}

/// Returns ids on the CPU as indices of a table with this number of rows.
pub(crate) fn indices(ids: &Tensor, rows: usize, what: &str, of: &str) -> Result<Vec<usize>> {
    check_dtype(ids, what)?;
    let flat = ids.flatten_all()?;
    let ids: Vec<i64> = match flat.dtype() {
        DType::U8 => flat.to_vec1::<u8>()?.into_iter().map(i64::from).collect(),
        DType::U32 => flat.to_vec1::<u32>()?.into_iter().map(i64::from).collect(),
        _ => flat.to_vec1()?,
    };
    let index = |id: i64| match usize::try_from(id) {
        Ok(index) if index < rows => Ok(index),
        _ => bail!("{what} {id} is outside {of}: expected 0 to {}", rows - 1),
    };
    ids.into_iter().map(index).collect()
}

fn check_dtype(ids: &Tensor, what: &str) -> Result<()> {
    if !matches!(ids.dtype(), DType::U8 | DType::U32 | DType::I64) {
        bail!("a {what} is a u32, i64 or u8, found {:?}", ids.dtype())
    }
    Ok(())
}

//! `y = x Wᵀ + b`, with the weight laid out for the product that uses it.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use albert_kernels::quantized::SCALE_BLOCK;
use albert_kernels::{
    Activation, Epilogue, InstructionSet, PackedMatrix, QuantizedMatrix, QuantizedPart,
    QuantizedRows, Rows, RowsMut, Threads, product, quantized_product,
};
use candle_core::{
    CpuStorage, CustomOp1, DType, Device, Layout, Module, Result, Shape, Tensor, bail,
};
use candle_nn::{Init, VarBuilder};

use crate::activation::HiddenAct;
use crate::gpu_kernels::{self, RowKernel};

/// A dense layer.
#[derive(Debug, Clone)]
pub(crate) enum Linear {
    /// The weight is `(out, in)`, as checkpoints, optimizers and tied tables have it.
    Trainable { weight: Tensor, bias: Tensor },
    /// The weight is `(in, out)`, row by row: gemm's kernels are slow on the transposed view, most
    /// of all for the few rows of a short text.
    RowMajor { weight: Tensor, bias: Tensor },
    /// f32 or 8 bits on the CPU.
    Packed(Arc<PackedLinear>),
}

impl Linear {
    /// Takes `weight`, `(out, in)`, and `bias`, `(out)`, from `vb`.
    ///
    /// A weight that is a variable stays as it is, so that gradients and updates reach it.
    pub(crate) fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        if let Some(packed) = PackedLinear::quantized(input, out, std::slice::from_ref(&vb))? {
            return Ok(Self::Packed(Arc::new(packed)));
        }
        let parameters = Parameters::new(input, out, init_std, vb)?;
        if parameters.are_variables() {
            return Ok(Self::Trainable {
                weight: parameters.weight,
                bias: parameters.bias,
            });
        }
        if parameters.can_be_packed() {
            return Ok(Self::Packed(Arc::new(PackedLinear::new(&[parameters])?)));
        }
        Ok(Self::RowMajor {
            weight: parameters.weight.t()?.contiguous()?,
            bias: parameters.bias,
        })
    }

    /// Of a weight, `(out, in)`, that has another use too, and a bias, `(out)`. Where it is not
    /// packed it is no copy.
    pub(crate) fn of(weight: Tensor, bias: Tensor) -> Result<Self> {
        let parameters = Parameters { weight, bias };
        if parameters.can_be_packed() {
            return Ok(Self::Packed(Arc::new(PackedLinear::new(&[parameters])?)));
        }
        Ok(Self::Trainable {
            weight: parameters.weight,
            bias: parameters.bias,
        })
    }

    /// Several layers of the same input as one, their outputs side by side; `None` where their
    /// weights are variables, which stay as checkpoints have them.
    pub(crate) fn side_by_side(
        input: usize,
        out: usize,
        init_std: f64,
        vbs: &[VarBuilder<'_>],
    ) -> Result<Option<Self>> {
        if let Some(packed) = PackedLinear::quantized(input, out, vbs)? {
            return Ok(Some(Self::Packed(Arc::new(packed))));
        }
        let parts = vbs
            .iter()
            .map(|vb| Parameters::new(input, out, init_std, vb.clone()));
        let parts = parts.collect::<Result<Vec<_>>>()?;
        if parts.iter().any(Parameters::are_variables) {
            return Ok(None);
        }
        if parts.iter().all(Parameters::can_be_packed) {
            return Ok(Some(Self::Packed(Arc::new(PackedLinear::new(&parts)?))));
        }
        let weights: Vec<_> = parts.iter().map(|part| &part.weight).collect();
        let biases: Vec<_> = parts.iter().map(|part| &part.bias).collect();
        let weight = Tensor::cat(&weights, 0)?.t()?.contiguous()?;
        Ok(Some(Self::RowMajor {
            weight,
            bias: Tensor::cat(&biases, 0)?,
        }))
    }

    /// The packed weights, where there are such.
    pub(crate) fn packed(&self) -> Option<Arc<PackedLinear>> {
        match self {
            Self::Packed(packed) => Some(Arc::clone(packed)),
            _ => None,
        }
    }

    /// `(…, in)` → `(…, out)`
    pub(crate) fn forward(&self, xs: &Tensor) -> Result<Tensor> {
        let (weight, bias) = match self {
            Self::Trainable { weight, bias } => (weight.t()?, bias.clone()),
            Self::RowMajor { weight, bias } => (weight.clone(), bias.clone()),
            // Packed products have no gradient. Where one is wanted, because something before this
            // layer is trained while the layer is not, the weight is unpacked.
            Self::Packed(packed) if xs.track_op() => (packed.weight()?.t()?, packed.bias()?),
            Self::Packed(packed) => return xs.contiguous()?.apply_op1_no_bwd(packed.as_ref()),
        };
        row_product(xs, &weight)?.broadcast_add(&bias)
    }

    /// `act(x Wᵀ + b)`: `(…, in)` → `(…, out)`
    pub(crate) fn forward_activated(&self, xs: &Tensor, act: HiddenAct) -> Result<Tensor> {
        match (self, RowKernel::activation(act)) {
            (Self::RowMajor { weight, bias }, Some(kernel)) if gpu_kernels::serve(xs) => {
                kernel.apply(&row_product(xs, weight)?, bias, bias)
            }
            _ => act.forward(&self.forward(xs)?),
        }
    }
}

/// `(…, in) × (in, out)` → `(…, out)`, as one product of all rows: Candle would run a batch of
/// small ones.
fn row_product(xs: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (input, out) = weight.dims2()?;
    let rows = xs.elem_count() / input;
    let shape = output_shape(xs.dims(), input, out)?;
    xs.reshape((rows, input))?.matmul(weight)?.reshape(shape)
}

/// `(…, in)` → `(…, out)`
fn output_shape(shape: &[usize], input: usize, out: usize) -> Result<Vec<usize>> {
    match shape.split_last() {
        Some((&last, rows)) if last == input => Ok([rows, &[out]].concat()),
        _ => bail!("dense layer: expected a last dimension of {input}, found the shape {shape:?}"),
    }
}

struct Parameters {
    weight: Tensor,
    bias: Tensor,
}

impl Parameters {
    fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn {
            mean: 0.0,
            stdev: init_std,
        };
        Ok(Self {
            weight: vb.get_with_hints((out, input), "weight", init)?,
            bias: vb.get_with_hints(out, "bias", Init::Const(0.0))?,
        })
    }

    /// Whether they are variables or made of such: their values may change, and gradients pass
    /// through.
    fn are_variables(&self) -> bool {
        self.weight.track_op() || self.bias.track_op()
    }

    fn can_be_packed(&self) -> bool {
        let is_f32 = self.weight.dtype() == DType::F32 && self.bias.dtype() == DType::F32;
        is_f32 && matches!(self.weight.device(), Device::Cpu) && !self.are_variables()
    }
}

/// Weights packed for the CPU's own kernels, with their biases.
pub(crate) struct PackedLinear {
    matrix: Matrix,
    pub(crate) bias: Vec<f32>,
    /// The weight as it was, once something trained before this layer has asked for it.
    unpacked: OnceLock<Tensor>,
}

enum Matrix {
    Floats(PackedMatrix),
    Bytes(Box<QuantizedMatrix>),
}

/// The matrix by its sizes: a model's numbers would fill screens.
impl fmt::Debug for PackedLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matrix {
            Matrix::Floats(matrix) => matrix.fmt(f),
            Matrix::Bytes(matrix) => matrix.fmt(f),
        }
    }
}

/// The input of a product: as it is, or rounded for 8-bit weights.
#[derive(Clone, Copy)]
pub(crate) enum Factors<'a> {
    Floats(Rows<'a>),
    Bytes(&'a QuantizedRows),
}

impl PackedLinear {
    fn new(parts: &[Parameters]) -> Result<Self> {
        let (_, input) = parts[0].weight.dims2()?;
        let weights: Vec<_> = parts
            .iter()
            .map(|part| part.weight.storage_and_layout())
            .collect();
        let weights = weights.iter().map(|(storage, layout)| match &**storage {
            candle_core::Storage::Cpu(storage) => numbers(storage, layout),
            _ => bail!("packed weights: expected weights on the CPU"),
        });
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let biases = parts
            .iter()
            .map(|part| part.bias.to_vec1::<f32>())
            .collect::<Result<Vec<_>>>()?;
        let matrix = Matrix::Floats(PackedMatrix::from_transposed(level()?, input, &weights));
        Ok(Self {
            matrix,
            bias: biases.concat(),
            unpacked: OnceLock::new(),
        })
    }

    /// Layers of the same input, their outputs side by side; `None` where their weights are not in
    /// 8 bits.
    fn quantized(input: usize, out: usize, vbs: &[VarBuilder<'_>]) -> Result<Option<Self>> {
        if !vbs.iter().all(|vb| vb.contains_tensor("weight_scale")) {
            return Ok(None);
        }
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for vb in vbs {
            // Weight and bias of a layer are rounded as one.
            weights.push(QuantizedWeight::new(input, out, vb)?);
            biases.extend(vb.get(out, "bias")?.to_vec1::<f32>()?);
        }
        Self::from_quantized(&weights, biases).map(Some)
    }

    /// Layers of the same input from their weights.
    pub(crate) fn from_quantized(weights: &[QuantizedWeight], bias: Vec<f32>) -> Result<Self> {
        let QuantizedWeight {
            input,
            channels,
            is_rotated,
            ..
        } = &weights[0];
        let agrees = |weight: &QuantizedWeight| {
            weight.channels == *channels
                && weight.input == *input
                && weight.is_rotated == *is_rotated
        };
        if !weights.iter().all(agrees) {
            bail!("8-bit weights of the same input: expected the same outliers and rotation")
        }
        let parts = weights.iter().map(|weight| QuantizedPart {
            rounded: &weight.rounded,
            scales: &weight.scales,
            outliers: &weight.outliers,
        });
        let parts: Vec<_> = parts.collect();
        let matrix =
            QuantizedMatrix::from_transposed(level()?, *input, &parts, channels, *is_rotated);
        let matrix = Matrix::Bytes(Box::new(matrix));
        Ok(Self {
            matrix,
            bias,
            unpacked: OnceLock::new(),
        })
    }

    /// What the weights were packed for.
    pub(crate) fn level(&self) -> InstructionSet {
        match &self.matrix {
            Matrix::Floats(matrix) => matrix.instruction_set(),
            Matrix::Bytes(matrix) => matrix.instruction_set(),
        }
    }

    /// Columns that are computed together: outputs are divided at their multiples.
    pub(crate) fn panel_width(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(matrix) => matrix.panel_width(),
            Matrix::Bytes(matrix) => matrix.panel_width(),
        }
    }

    /// The width of the input.
    pub(crate) fn input(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(matrix) => matrix.depth(),
            Matrix::Bytes(matrix) => matrix.depth(),
        }
    }

    /// The width of the output.
    pub(crate) fn out(&self) -> usize {
        match &self.matrix {
            Matrix::Floats(matrix) => matrix.columns(),
            Matrix::Bytes(matrix) => matrix.columns(),
        }
    }

    /// Whether its weights are in 8 bits.
    pub(crate) fn is_quantized(&self) -> bool {
        matches!(self.matrix, Matrix::Bytes(_))
    }

    /// Makes rows ready for products, as they are or some of the inputs; `rounded` holds them where
    /// weights are in 8 bits.
    pub(crate) fn factors<'a>(
        &self,
        xs: Rows<'a>,
        inputs: Range<usize>,
        rounded: &'a mut QuantizedRows,
        threads: Threads,
    ) -> Factors<'a> {
        match &self.matrix {
            Matrix::Floats(_) => Factors::Floats(xs),
            Matrix::Bytes(matrix) => {
                rounded.quantize(xs, &matrix.view().rows(inputs), threads);
                Factors::Bytes(rounded)
            }
        }
    }

    /// `y = x W`, then what `then` says, for some of the inputs, which `xs` holds, and some of the
    /// outputs.
    pub(crate) fn product(
        &self,
        xs: Factors<'_>,
        [inputs, outputs]: [Range<usize>; 2],
        ys: RowsMut<'_>,
        epilogue: Epilogue<'_>,
        threads: Threads,
    ) {
        match (&self.matrix, xs) {
            (Matrix::Floats(matrix), Factors::Floats(xs)) => product(
                xs,
                &matrix.view().rows(inputs).columns(outputs),
                ys,
                epilogue,
                threads,
            ),
            (Matrix::Bytes(matrix), Factors::Bytes(xs)) => quantized_product(
                xs,
                &matrix.view().rows(inputs).columns(outputs),
                ys,
                epilogue,
                threads,
            ),
            _ => unreachable!("factors of another kind than the weights they were made for"),
        }
    }

    /// `y = x W + b`
    pub(crate) fn apply(
        &self,
        xs: Rows<'_>,
        rounded: &mut QuantizedRows,
        ys: RowsMut<'_>,
        threads: Threads,
    ) {
        let xs = self.factors(xs, 0..self.input(), rounded, threads);
        let then = Epilogue::BiasActivation(&self.bias, Activation::Linear);
        self.product(xs, [0..self.input(), 0..self.out()], ys, then, threads);
    }

    /// `(out, in)`
    fn weight(&self) -> Result<Tensor> {
        if let Some(weight) = self.unpacked.get() {
            return Ok(weight.clone());
        }
        let weight = match &self.matrix {
            Matrix::Floats(matrix) => matrix.to_transposed(),
            Matrix::Bytes(matrix) => matrix.to_transposed(),
        };
        let weight = Tensor::from_vec(weight, (self.out(), self.input()), &Device::Cpu)?;
        Ok(self.unpacked.get_or_init(|| weight).clone())
    }

    fn bias(&self) -> Result<Tensor> {
        Tensor::new(self.bias.as_slice(), &Device::Cpu)
    }
}

impl CustomOp1 for PackedLinear {
    fn name(&self) -> &'static str {
        "packed-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = numbers(storage, layout)?;
        let (input, out) = (self.input(), self.out());
        let shape = output_shape(layout.dims(), input, out)?;
        let rows = xs.len() / input;
        let mut ys = vec![0f32; rows * out];
        let (xs, ys_rows) = (Rows::new(xs, rows, input), RowsMut::new(&mut ys, rows, out));
        self.apply(xs, &mut QuantizedRows::default(), ys_rows, Threads::All);
        Ok((CpuStorage::F32(ys), shape.into()))
    }
}

/// A weight in 8 bits, as a [`VarBuilder`] of a checkpoint gives it.
#[derive(Debug)]
pub(crate) struct QuantizedWeight {
    input: usize,
    /// `(out, in)`
    rounded: Vec<i8>,
    /// `(out, ⌈in / SCALE_BLOCK⌉)`
    scales: Vec<f32>,
    is_rotated: bool,
    /// `(O)`
    channels: Vec<usize>,
    /// `(out, O)`
    outliers: Vec<f32>,
}

impl QuantizedWeight {
    /// Takes `weight` as bytes, `weight_scale`, `weight_rotation`, `weight_outlier_channels` and
    /// `weight_outliers` from `vb`.
    fn new(input: usize, out: usize, vb: &VarBuilder<'_>) -> Result<Self> {
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
                "8-bit weights: expected outliers in ascending order below {input}, found {channels:?}"
            )
        }
        let outliers = vb.get_unchecked_dtype("weight_outliers", DType::F32)?;
        if outliers.dims() != [out, channels.len()] {
            bail!(
                "8-bit weights: expected outliers of shape {:?}, found {:?}",
                [out, channels.len()],
                outliers.dims()
            )
        }
        let rotation = vb.get_unchecked_dtype("weight_rotation", DType::U32)?;
        Ok(Self {
            is_rotated: rotation.elem_count() > 0,
            channels: channels.iter().map(|&channel| channel as usize).collect(),
            outliers: outliers.flatten_all()?.to_vec1()?,
            ..Self::of_rows(&rounded, &scales)?
        })
    }

    /// From bytes, `(out, in)`, which are 128 above the integers, and scales; not rotated.
    pub(crate) fn of_rows(rounded: &Tensor, scales: &Tensor) -> Result<Self> {
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

fn level() -> Result<InstructionSet> {
    InstructionSet::current().map_err(candle_core::Error::wrap)
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(numbers)) => Ok(&numbers[start..end]),
        _ => bail!("expected a contiguous tensor of f32"),
    }
}

//! `y = x Wᵀ + b`, with the weight laid out for the product that uses it.

use std::sync::{Arc, OnceLock};

use albert_kernels::{Activation, Level, PackedMatrix, Rows, RowsMut, Then, Threads, product};
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Module, Result, Shape, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::activation::HiddenAct;
use crate::row_kernels::RowKernel;

/// A dense layer.
#[derive(Debug, Clone)]
pub(crate) enum Linear {
    /// The weight is `(out, in)`, as checkpoints and optimizers have it.
    Trainable { weight: Tensor, bias: Tensor },
    /// The weight is `(in, out)`, row by row: gemm's kernels are slow on the transposed view, most of
    /// all for the few rows of a short text.
    RowMajor { weight: Tensor, bias: Tensor },
    /// f32 on the CPU.
    Packed(Arc<PackedLinear>),
}

impl Linear {
    /// Takes `weight`, `(out, in)`, and `bias`, `(out)`, from `vb`.
    ///
    /// A weight that is a variable stays as it is, so that gradients and updates reach it.
    pub(crate) fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let parameters = Parameters::new(input, out, init_std, vb)?;
        if parameters.are_variables() {
            return Ok(Self::Trainable { weight: parameters.weight, bias: parameters.bias });
        }
        if parameters.can_be_packed() {
            return Ok(Self::Packed(Arc::new(PackedLinear::new(&[parameters])?)));
        }
        Ok(Self::RowMajor { weight: parameters.weight.t()?.contiguous()?, bias: parameters.bias })
    }

    /// Several layers of the same input as one, their outputs side by side; `None` where their
    /// weights are variables, which stay as checkpoints have them.
    pub(crate) fn side_by_side(
        input: usize,
        out: usize,
        init_std: f64,
        vbs: &[VarBuilder<'_>],
    ) -> Result<Option<Self>> {
        let parts = vbs.iter().map(|vb| Parameters::new(input, out, init_std, vb.clone()));
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
        Ok(Some(Self::RowMajor { weight, bias: Tensor::cat(&biases, 0)? }))
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
            (Self::RowMajor { weight, bias }, Some(kernel)) if RowKernel::serve(xs) => {
                kernel.apply(&row_product(xs, weight)?, bias, bias)
            }
            _ => act.forward(&self.forward(xs)?),
        }
    }
}

/// `(…, in) × (in, out)` → `(…, out)`, as one product of all rows: Candle would run a batch of small ones.
fn row_product(xs: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (input, out) = weight.dims2()?;
    let mut shape = xs.dims().to_vec();
    let rows = xs.elem_count() / input;
    if let Some(last) = shape.last_mut() {
        *last = out;
    }
    xs.reshape((rows, input))?.matmul(weight)?.reshape(shape)
}

struct Parameters {
    weight: Tensor,
    bias: Tensor,
}

impl Parameters {
    fn new(input: usize, out: usize, init_std: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: init_std };
        Ok(Self {
            weight: vb.get_with_hints((out, input), "weight", init)?,
            bias: vb.get_with_hints(out, "bias", Init::Const(0.0))?,
        })
    }

    /// Whether they are variables or made of such: their values may change, and gradients pass through.
    fn are_variables(&self) -> bool {
        self.weight.track_op() || self.bias.track_op()
    }

    fn can_be_packed(&self) -> bool {
        let is_f32 = self.weight.dtype() == DType::F32 && self.bias.dtype() == DType::F32;
        is_f32 && matches!(self.weight.device(), Device::Cpu) && !self.are_variables()
    }
}

/// Weights packed for the CPU's own kernels, with their biases.
#[derive(Debug)]
pub(crate) struct PackedLinear {
    pub(crate) matrix: PackedMatrix,
    pub(crate) bias: Vec<f32>,
    /// The weight as it was, once something trained before this layer has asked for it.
    unpacked: OnceLock<Tensor>,
}

impl PackedLinear {
    fn new(parts: &[Parameters]) -> Result<Self> {
        let level = Level::current().map_err(candle_core::Error::wrap)?;
        let (_, input) = parts[0].weight.dims2()?;
        let weights: Vec<_> = parts.iter().map(|part| part.weight.storage_and_layout()).collect();
        let weights = weights.iter().map(|(storage, layout)| match &**storage {
            candle_core::Storage::Cpu(storage) => numbers(storage, layout),
            _ => bail!("packed weights: expected weights on the CPU"),
        });
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let biases = parts.iter().map(|part| part.bias.to_vec1::<f32>()).collect::<Result<Vec<_>>>()?;
        let matrix = PackedMatrix::from_transposed(level, input, &weights);
        Ok(Self { matrix, bias: biases.concat(), unpacked: OnceLock::new() })
    }

    /// `(out, in)`
    fn weight(&self) -> Result<Tensor> {
        if let Some(weight) = self.unpacked.get() {
            return Ok(weight.clone());
        }
        let shape = (self.matrix.columns(), self.matrix.depth());
        let weight = Tensor::from_vec(self.matrix.to_transposed(), shape, &Device::Cpu)?;
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
        let (input, out) = (self.matrix.depth(), self.matrix.columns());
        let mut shape = layout.dims().to_vec();
        let Some(last) = shape.last_mut().filter(|last| **last == input) else {
            bail!("dense layer: expected a last dimension of {input}, found the shape {:?}", layout.dims())
        };
        *last = out;
        let rows = xs.len() / input;
        let mut ys = vec![0f32; rows * out];
        let then = Then::Activate(&self.bias, Activation::Linear);
        let (xs, ys_rows) = (Rows::new(xs, rows, input), RowsMut::new(&mut ys, rows, out));
        product(xs, &self.matrix.view(), ys_rows, then, Threads::All);
        Ok((CpuStorage::F32(ys), shape.into()))
    }
}

/// The numbers of a contiguous f32 tensor.
pub(crate) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (layout.contiguous_offsets(), storage) {
        (Some((start, end)), CpuStorage::F32(numbers)) => Ok(&numbers[start..end]),
        _ => bail!("expected a contiguous tensor of f32"),
    }
}

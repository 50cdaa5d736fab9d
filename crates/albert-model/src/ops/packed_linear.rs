//! A dense layer on the CPU with packed weights, in f32 or int8.

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use albert_kernels::{
    Activation, Epilogue, InstructionSet, PackedMatrix, QuantizedMatrix, QuantizedPart,
    QuantizedRows, Rows, RowsMut, Threads, product, quantized_product,
};
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Storage, Tensor, bail};
use candle_nn::VarBuilder;

use super::dense::{Parameters, output_shape};
use super::quantized_weight::QuantizedWeight;
use super::{f32_values, instruction_set};

/// Packed weights with their biases: `y = x W + b`.
pub(crate) struct PackedLinear {
    matrix: PackedWeight,
    pub(crate) bias: Vec<f32>,
    /// The weight in f32, created when a trained module upstream first needs it.
    unpacked: OnceLock<Tensor>,
}

enum PackedWeight {
    F32(PackedMatrix),
    Int8(Box<QuantizedMatrix>),
}

/// Shows the size of the matrix instead of its values.
impl fmt::Debug for PackedLinear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.matrix {
            PackedWeight::F32(matrix) => matrix.fmt(f),
            PackedWeight::Int8(matrix) => matrix.fmt(f),
        }
    }
}

/// The input of a product: f32, or quantized for int8 weights.
#[derive(Clone, Copy)]
pub(crate) enum LinearInput<'a> {
    F32(Rows<'a>),
    Int8(&'a QuantizedRows),
}

impl PackedLinear {
    pub(crate) fn new(parts: &[Parameters]) -> Result<Self> {
        let (_, input) = parts[0].weight.dims2()?;
        let weights: Vec<_> = parts
            .iter()
            .map(|part| part.weight.storage_and_layout())
            .collect();
        let weights = weights.iter().map(|(storage, layout)| match &**storage {
            Storage::Cpu(storage) => f32_values(storage, layout),
            _ => bail!("packed weights: expected weights on the CPU"),
        });
        let weights = weights.collect::<Result<Vec<_>>>()?;
        let biases = parts
            .iter()
            .map(|part| part.bias.to_vec1::<f32>())
            .collect::<Result<Vec<_>>>()?;
        let matrix = PackedWeight::F32(PackedMatrix::from_transposed(
            instruction_set()?,
            input,
            &weights,
        ));
        Ok(Self {
            matrix,
            bias: biases.concat(),
            unpacked: OnceLock::new(),
        })
    }

    /// Joins layers that share an input, with concatenated outputs. Returns `None` unless all
    /// weights are int8.
    pub(crate) fn quantized(
        input: usize,
        out: usize,
        vbs: &[VarBuilder<'_>],
    ) -> Result<Option<Self>> {
        if !vbs.iter().all(|vb| vb.contains_tensor("weight_scale")) {
            return Ok(None);
        }
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for vb in vbs {
            weights.push(QuantizedWeight::new(input, out, vb)?);
            biases.extend(vb.get(out, "bias")?.to_vec1::<f32>()?);
        }
        Self::from_quantized(&weights, biases).map(Some)
    }

    /// Joins int8 weights that share an input, with concatenated outputs.
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
            bail!("int8 weights of the same input: expected the same outliers and rotation")
        }
        let parts = weights.iter().map(|weight| QuantizedPart {
            rounded: &weight.rounded,
            scales: &weight.scales,
            outliers: &weight.outliers,
        });
        let parts: Vec<_> = parts.collect();
        let matrix = QuantizedMatrix::from_transposed(
            instruction_set()?,
            *input,
            &parts,
            channels,
            *is_rotated,
        );
        let matrix = PackedWeight::Int8(Box::new(matrix));
        Ok(Self {
            matrix,
            bias,
            unpacked: OnceLock::new(),
        })
    }

    /// Returns the instruction set that the weights were packed for.
    pub(crate) fn instruction_set(&self) -> InstructionSet {
        match &self.matrix {
            PackedWeight::F32(matrix) => matrix.instruction_set(),
            PackedWeight::Int8(matrix) => matrix.instruction_set(),
        }
    }

    /// Returns the number of columns in a panel; outputs can be divided at its multiples.
    pub(crate) fn panel_width(&self) -> usize {
        match &self.matrix {
            PackedWeight::F32(matrix) => matrix.panel_width(),
            PackedWeight::Int8(matrix) => matrix.panel_width(),
        }
    }

    /// Returns the width of the input.
    pub(crate) fn input(&self) -> usize {
        match &self.matrix {
            PackedWeight::F32(matrix) => matrix.depth(),
            PackedWeight::Int8(matrix) => matrix.depth(),
        }
    }

    /// Returns the width of the output.
    pub(crate) fn out(&self) -> usize {
        match &self.matrix {
            PackedWeight::F32(matrix) => matrix.columns(),
            PackedWeight::Int8(matrix) => matrix.columns(),
        }
    }

    /// Returns true if its weights are int8.
    pub(crate) fn is_int8(&self) -> bool {
        matches!(self.matrix, PackedWeight::Int8(_))
    }

    /// Prepares rows, which hold the given range of inputs, for products. `rounded` is the memory
    /// for quantized rows.
    pub(crate) fn prepare<'a>(
        &self,
        xs: Rows<'a>,
        inputs: Range<usize>,
        rounded: &'a mut QuantizedRows,
        threads: Threads,
    ) -> LinearInput<'a> {
        match &self.matrix {
            PackedWeight::F32(_) => LinearInput::F32(xs),
            PackedWeight::Int8(matrix) => {
                rounded.quantize(xs, &matrix.view().rows(inputs), threads);
                LinearInput::Int8(rounded)
            }
        }
    }

    /// Computes `y = x W` for a range of inputs, held by `xs`, and a range of outputs, then applies
    /// `epilogue`.
    pub(crate) fn product(
        &self,
        xs: LinearInput<'_>,
        [inputs, outputs]: [Range<usize>; 2],
        ys: RowsMut<'_>,
        epilogue: Epilogue<'_>,
        threads: Threads,
    ) {
        match (&self.matrix, xs) {
            (PackedWeight::F32(matrix), LinearInput::F32(xs)) => product(
                xs,
                &matrix.view().rows(inputs).columns(outputs),
                ys,
                epilogue,
                threads,
            ),
            (PackedWeight::Int8(matrix), LinearInput::Int8(xs)) => quantized_product(
                xs,
                &matrix.view().rows(inputs).columns(outputs),
                ys,
                epilogue,
                threads,
            ),
            _ => unreachable!("each layer multiplies the input that it prepared"),
        }
    }

    /// Computes `y = x W + b`.
    pub(crate) fn apply(
        &self,
        xs: Rows<'_>,
        rounded: &mut QuantizedRows,
        ys: RowsMut<'_>,
        threads: Threads,
    ) {
        let xs = self.prepare(xs, 0..self.input(), rounded, threads);
        let epilogue = Epilogue::BiasActivation(&self.bias, Activation::Linear);
        self.product(xs, [0..self.input(), 0..self.out()], ys, epilogue, threads);
    }

    /// Returns the weight in f32, `(out, in)`.
    pub(crate) fn weight(&self) -> Result<Tensor> {
        if let Some(weight) = self.unpacked.get() {
            return Ok(weight.clone());
        }
        let weight = match &self.matrix {
            PackedWeight::F32(matrix) => matrix.to_transposed(),
            PackedWeight::Int8(matrix) => matrix.to_transposed(),
        };
        let weight = Tensor::from_vec(weight, (self.out(), self.input()), &Device::Cpu)?;
        Ok(self.unpacked.get_or_init(|| weight).clone())
    }

    /// Returns the bias, `(out)`.
    pub(crate) fn bias(&self) -> Result<Tensor> {
        Tensor::new(self.bias.as_slice(), &Device::Cpu)
    }
}

impl CustomOp1 for PackedLinear {
    fn name(&self) -> &'static str {
        "packed-linear"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let xs = f32_values(storage, layout)?;
        let (input, out) = (self.input(), self.out());
        let shape = output_shape(layout.dims(), input, out)?;
        let rows = xs.len() / input;
        let mut ys = vec![0f32; rows * out];
        let (xs, ys_rows) = (Rows::new(xs, rows, input), RowsMut::new(&mut ys, rows, out));
        self.apply(xs, &mut QuantizedRows::default(), ys_rows, Threads::All);
        Ok((CpuStorage::F32(ys), shape.into()))
    }
}

//! Attention over ragged sequences of any length, directly on the joined queries, keys and values.
//!
//! `attention.cu` has the kernel, for f32, f16 and bf16 and head widths of any multiple of 8 up to
//! 128. With the feature `flash-attn`, candle-flash-attn replaces it in f16 and bf16.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "flash-attn")]
mod flash;

use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};

use crate::ops::cuda::serves_on;
use crate::ragged::Sequences;

/// The maximum head width of the kernel.
const LARGEST_HEAD: usize = 128;

/// The number of values that the kernel moves at a time: 16 bytes of f16.
const HEAD_STEP: usize = 8;

/// `y = softmax(Q Kᵀ / √D) V`, for each head of each sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    heads: usize,
    head_size: usize,
}

/// [`Attention`] over given sequences.
struct OverSequences {
    attention: Attention,
    longest: usize,
}

impl Attention {
    /// Creates the operation; `None` if Candle's operations must be used instead.
    pub(crate) fn new(
        heads: usize,
        head_size: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Option<Self>> {
        let fits = head_size <= LARGEST_HEAD && head_size.is_multiple_of(HEAD_STEP);
        let serves = fits && serves_on(device, dtype) && can_run_on(device)?;
        Ok(serves.then_some(Self { heads, head_size }))
    }

    /// # Shapes
    /// - `qkv`: `(ΣT, 3H)`, each row the queries, then the keys, then the values
    /// - returns `(ΣT, H)`
    pub(crate) fn apply(&self, qkv: &Tensor, sequences: &Sequences) -> Result<Tensor> {
        #[cfg(feature = "flash-attn")]
        if matches!(
            (qkv.device(), qkv.dtype()),
            (Device::Cuda(_), DType::F16 | DType::BF16)
        ) {
            return flash::apply(qkv, sequences, (self.heads, self.head_size));
        }
        let op = OverSequences {
            attention: *self,
            longest: sequences.longest(),
        };
        qkv.contiguous()?
            .apply_op2_no_bwd(&sequences.starts_on_device, &op)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }
}

/// Returns true if the device has the instructions; plain loops run everywhere.
fn can_run_on(device: &Device) -> Result<bool> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::can_run_on(device),
        _ => Ok(true),
    }
}

impl OverSequences {
    /// Checks the inputs and returns the number of tokens.
    fn check(&self, qkv: &Layout, starts: &Layout) -> Result<usize> {
        let Attention { heads, head_size } = self.attention;
        let (tokens, width) = qkv.shape().dims2()?;
        let sequences = starts.shape().dims1()?;
        if width != 3 * heads * head_size || sequences < 2 {
            bail!(
                "attention: expected (tokens, {}) and the starts of sequences, found {:?} and {:?}",
                3 * heads * head_size,
                qkv.dims(),
                starts.dims()
            )
        }
        Ok(tokens)
    }
}

impl CustomOp2 for OverSequences {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn cpu_fwd(
        &self,
        qkv: &CpuStorage,
        qkv_layout: &Layout,
        starts: &CpuStorage,
        starts_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let tokens = self.check(qkv_layout, starts_layout)?;
        self.compute((qkv, qkv_layout), (starts, starts_layout), tokens)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        qkv: &candle_core::CudaStorage,
        qkv_layout: &Layout,
        starts: &candle_core::CudaStorage,
        starts_layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        let tokens = self.check(qkv_layout, starts_layout)?;
        self.launch((qkv, qkv_layout), (starts, starts_layout), tokens)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::D;

    use super::*;
    use crate::ragged::Ragged;

    /// f32 sums in two orders, with results up to 1.
    const ROUNDING: f32 = 2e-6;

    #[test]
    fn sequences_attend_to_themselves_alone() -> Result<()> {
        let (heads, head_size, lengths) = (2, 8, [3, 1, 7]);
        let (h, tokens) = (heads * head_size, lengths.iter().sum::<usize>());
        let qkv = Tensor::arange(0f32, (tokens * 3 * h) as f32, &Device::Cpu)?
            .affine(0.7, 0.0)?
            .sin()?;
        let qkv = qkv.reshape((tokens, 3 * h))?;
        let sequences = Ragged::joined(&lengths, &Device::Cpu)?.sequences;
        let found = Attention { heads, head_size }.apply(&qkv, &sequences)?;
        let mut start = 0;
        for length in lengths {
            let parts = qkv
                .narrow(0, start, length)?
                .reshape((length, 3, heads, head_size))?;
            let part = |part: usize| {
                parts
                    .narrow(1, part, 1)?
                    .squeeze(1)?
                    .transpose(0, 1)?
                    .contiguous()
            };
            let scores = part(0)?
                .matmul(&part(1)?.t()?)?
                .affine(1.0 / (head_size as f64).sqrt(), 0.0)?;
            let context = candle_nn::ops::softmax(&scores, D::Minus1)?.matmul(&part(2)?)?;
            let expected = context.transpose(0, 1)?.reshape((length, h))?;
            let delta = (expected - found.narrow(0, start, length)?)?
                .abs()?
                .max_all()?
                .to_scalar::<f32>()?;
            assert!(delta <= ROUNDING, "{length} tokens: {delta:e}");
            start += length;
        }
        Ok(())
    }

    #[test]
    fn inputs_that_do_not_go_together_are_refused() -> Result<()> {
        let attention = Attention {
            heads: 2,
            head_size: 8,
        };
        for (width, lengths) in [(47, &[2][..]), (48, &[])] {
            let qkv = Tensor::zeros((2, width), DType::F32, &Device::Cpu)?;
            let sequences = Ragged::joined(lengths, &Device::Cpu)?.sequences;
            assert!(attention.apply(&qkv, &sequences).is_err());
        }
        Ok(())
    }
}

//! Attention over sequences of any length without padding, straight from the product of queries,
//! keys and values.
//!
//! `attention.cu` has the kernel, for f32, f16 and bf16 and heads of any multiple of 8 numbers up
//! to 128. With the feature `flash-attn` candle-flash-attn takes its place in f16 and bf16.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "flash-attn")]
mod flash;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, CustomOp2, DType, Device, Layout, Result, Shape, Tensor, bail};

use super::{numbers, serve_on, stored};
use crate::packing::Sequences;

/// The largest head that the kernel has room for.
const LARGEST_HEAD: usize = 128;

/// What the kernel moves at a time: 16 bytes of f16.
const HEAD_STEP: usize = 8;

/// `y = softmax(Q Kᵀ / √D) V`, for each head of each sequence.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attention {
    heads: usize,
    head_size: usize,
}

/// The same for given sequences.
struct OverSequences {
    attention: Attention,
    longest: usize,
}

impl Attention {
    /// `None` where Candle's operations have to serve.
    pub(crate) fn new(
        heads: usize,
        head_size: usize,
        device: &Device,
        dtype: DType,
    ) -> Result<Option<Self>> {
        let fits = head_size <= LARGEST_HEAD && head_size.is_multiple_of(HEAD_STEP);
        let serves = fits && serve_on(device, dtype) && can_run_on(device)?;
        Ok(serves.then_some(Self { heads, head_size }))
    }

    /// # Shapes
    /// - `qkv`: `(ΣT, 3H)`, queries, keys and values side by side
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
            longest: sequences.longest,
        };
        qkv.contiguous()?.apply_op2_no_bwd(&sequences.starts, &op)
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_size as f32).sqrt()
    }
}

/// Whether a GPU has the instructions; plain loops run everywhere.
fn can_run_on(device: &Device) -> Result<bool> {
    match device {
        #[cfg(feature = "cuda")]
        Device::Cuda(device) => cuda::can_run_on(device),
        _ => Ok(true),
    }
}

impl OverSequences {
    /// Tokens, once the inputs are seen to fit.
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

    /// One head of one sequence by the formula, into `ys`: `(T, H)` from `(T, 3H)`.
    fn head(&self, head: usize, qkv: &[f32], ys: &mut [f32]) {
        let Attention { heads, head_size } = self.attention;
        let h = heads * head_size;
        let part = |row: usize, part: usize| {
            &qkv[row * 3 * h + part * h + head * head_size..][..head_size]
        };
        let tokens = qkv.len() / (3 * h);
        let mut weights = Vec::with_capacity(self.longest);
        for query in 0..tokens {
            let dot = |key: usize| {
                part(query, 0)
                    .iter()
                    .zip(part(key, 1))
                    .map(|(q, k)| q * k)
                    .sum::<f32>()
            };
            weights.clear();
            weights.extend((0..tokens).map(|key| dot(key) * self.attention.scale()));
            let largest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            weights
                .iter_mut()
                .for_each(|weight| *weight = (*weight - largest).exp());
            let sum: f32 = weights.iter().sum();
            let ys = &mut ys[query * h + head * head_size..][..head_size];
            for (key, weight) in weights.iter().enumerate() {
                ys.iter_mut()
                    .zip(part(key, 2))
                    .for_each(|(y, value)| *y += weight / sum * value);
            }
        }
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
        let h = self.attention.heads * self.attention.head_size;
        let (Some((first, end)), CpuStorage::U32(starts)) =
            (starts_layout.contiguous_offsets(), starts)
        else {
            bail!("attention: expected the starts of sequences as contiguous u32")
        };
        let rows = numbers(qkv, qkv_layout)?;
        let mut ys = vec![0f32; tokens * h];
        for ends in starts[first..end].windows(2) {
            let (start, end) = (ends[0] as usize, ends[1] as usize);
            for head in 0..self.attention.heads {
                self.head(
                    head,
                    &rows[start * 3 * h..end * 3 * h],
                    &mut ys[start * h..end * h],
                );
            }
        }
        Ok((stored(ys, qkv.dtype())?, (tokens, h).into()))
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

    /// Two orders of summing in f32, of results up to 1.
    const ROUNDING: f32 = 2e-6;

    #[test]
    fn sequences_attend_to_themselves_alone() -> Result<()> {
        let (heads, head_size, lengths) = (2, 8, [3, 1, 7]);
        let (h, tokens) = (heads * head_size, lengths.iter().sum::<usize>());
        let qkv = Tensor::arange(0f32, (tokens * 3 * h) as f32, &Device::Cpu)?
            .affine(0.7, 0.0)?
            .sin()?;
        let qkv = qkv.reshape((tokens, 3 * h))?;
        let sequences = Sequences {
            starts: Tensor::new(&[0u32, 3, 4, 11], &Device::Cpu)?,
            longest: 7,
        };
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
        let starts = |starts: &[u32]| Tensor::new(starts, &Device::Cpu);
        for (width, starts) in [(47, starts(&[0, 2])?), (48, starts(&[0])?)] {
            let qkv = Tensor::zeros((2, width), DType::F32, &Device::Cpu)?;
            assert!(
                attention
                    .apply(&qkv, &Sequences { starts, longest: 2 })
                    .is_err()
            );
        }
        Ok(())
    }
}

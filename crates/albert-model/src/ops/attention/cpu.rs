//! Attention over ragged sequences in plain loops, for tests of the ragged path on the CPU.

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape, bail};

use super::{Attention, OverSequences};
use crate::ops::cuda::{from_f32, to_f32};

impl OverSequences {
    /// Computes attention, `(ΣT, H)`, for inputs whose shapes have been checked.
    pub(super) fn compute(
        &self,
        (qkv, qkv_layout): (&CpuStorage, &Layout),
        (starts, starts_layout): (&CpuStorage, &Layout),
        tokens: usize,
    ) -> Result<(CpuStorage, Shape)> {
        let h = self.attention.heads * self.attention.head_size;
        let (Some((first, end)), CpuStorage::U32(starts)) =
            (starts_layout.contiguous_offsets(), starts)
        else {
            bail!("attention: expected the starts of the sequences as contiguous u32")
        };
        let rows = to_f32(qkv, qkv_layout)?;
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
        Ok((from_f32(ys, qkv.dtype())?, (tokens, h).into()))
    }

    /// Computes one head of one sequence by the formula: `(T, 3H)` → `(T, H)` in `ys`.
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

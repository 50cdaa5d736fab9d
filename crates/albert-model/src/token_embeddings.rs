//! Embeddings of tokens on the CPU: looked up, added and normalized in one pass over memory.

use albert_kernels::quantized::SCALE_BLOCK;
use candle_core::{CpuStorage, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use crate::layer_norm::NormConstants;
use crate::ops::{f32_values, instruction_set};
use crate::word_embeddings::WordEmbeddings;

/// The number of tokens that a thread takes at a time.
const TOKENS_AT_ONCE: usize = 32;

/// `y = LayerNorm(word[id] + token_type[type] + position[position])` of each token, for inference.
///
/// The sums are made in this order, so the bits are those of the separate operations.
pub(crate) struct TokenEmbeddings<'a> {
    /// `(V, E)`
    pub(crate) word: &'a WordEmbeddings,
    /// `(types, E)`, f32
    pub(crate) token_type: &'a Tensor,
    /// `(positions, E)`, f32
    pub(crate) position: &'a Tensor,
    pub(crate) norm: &'a NormConstants,
}

/// The rows of the three tables that a token needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) id: usize,
    pub(crate) kind: usize,
    pub(crate) position: usize,
}

impl TokenEmbeddings<'_> {
    /// Computes the embeddings of N tokens, whose indices are within the tables: `(N, E)`.
    ///
    /// # Errors
    /// If a table is not on the CPU or not contiguous.
    pub(crate) fn forward(&self, tokens: &[Token]) -> Result<Vec<f32>> {
        let width = self.token_type.dim(1)?;
        match self.word {
            WordEmbeddings::Floats(table) => {
                let (storage, layout) = table.storage_and_layout();
                let values = f32_values(on_cpu(&storage)?, layout)?;
                self.sum(tokens, |id, row| {
                    row.copy_from_slice(&values[id * width..][..width]);
                })
            }
            WordEmbeddings::Halves(table) => {
                let (storage, layout) = table.storage_and_layout();
                let Some((start, end)) = layout.contiguous_offsets() else {
                    bail!("expected a contiguous table")
                };
                match on_cpu(&storage)? {
                    CpuStorage::F16(values) => {
                        self.sum_halves(tokens, &values[start..end], |half| half.to_f32())
                    }
                    CpuStorage::BF16(values) => {
                        self.sum_halves(tokens, &values[start..end], |half| half.to_f32())
                    }
                    _ => bail!("expected a table in 16 bits"),
                }
            }
            WordEmbeddings::Bytes { rounded, scales } => {
                let (bytes, bytes_layout) = rounded.storage_and_layout();
                let bytes = match (on_cpu(&bytes)?, bytes_layout.contiguous_offsets()) {
                    (CpuStorage::U8(bytes), Some((start, end))) => &bytes[start..end],
                    _ => bail!("expected a contiguous table of bytes"),
                };
                let (factors, factors_layout) = scales.storage_and_layout();
                let factors = f32_values(on_cpu(&factors)?, factors_layout)?;
                let blocks = width.div_ceil(SCALE_BLOCK);
                self.sum(tokens, |id, row| {
                    let bytes = bytes[id * width..][..width].chunks(SCALE_BLOCK);
                    let factors = &factors[id * blocks..][..blocks];
                    let rows = row.chunks_mut(SCALE_BLOCK);
                    for ((row, bytes), factor) in rows.zip(bytes).zip(factors) {
                        for (x, byte) in row.iter_mut().zip(bytes) {
                            *x = (f32::from(*byte) - 128.0) * factor;
                        }
                    }
                })
            }
        }
    }

    /// Computes [`forward`](Self::forward) with word embeddings in 16 bits.
    fn sum_halves<H: Sync>(
        &self,
        tokens: &[Token],
        values: &[H],
        to_f32: impl Fn(&H) -> f32 + Sync,
    ) -> Result<Vec<f32>> {
        self.sum(tokens, |id, row| {
            let halves = &values[id * row.len()..];
            for (x, half) in row.iter_mut().zip(halves) {
                *x = to_f32(half);
            }
        })
    }

    /// Adds the other two embeddings to the word embeddings, which `word` writes, and normalizes.
    fn sum(&self, tokens: &[Token], word: impl Fn(usize, &mut [f32]) + Sync) -> Result<Vec<f32>> {
        let (types, types_layout) = self.token_type.storage_and_layout();
        let (positions, positions_layout) = self.position.storage_and_layout();
        let types = f32_values(on_cpu(&types)?, types_layout)?;
        let positions = f32_values(on_cpu(&positions)?, positions_layout)?;
        let (width, instructions) = (self.token_type.dim(1)?, instruction_set()?);
        let mut sums = vec![0.0; tokens.len() * width];
        sums.par_chunks_mut(TOKENS_AT_ONCE * width)
            .zip(tokens.par_chunks(TOKENS_AT_ONCE))
            .for_each(|(sums, tokens)| {
                for (row, token) in sums.chunks_exact_mut(width).zip(tokens) {
                    word(token.id, row);
                    let kind = &types[token.kind * width..][..width];
                    let position = &positions[token.position * width..][..width];
                    for (x, (kind, position)) in row.iter_mut().zip(kind.iter().zip(position)) {
                        *x = (*x + kind) + position;
                    }
                }
                self.norm.kernel().apply(instructions, sums);
            });
        Ok(sums)
    }
}

fn on_cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("expected a table on the CPU"),
    }
}

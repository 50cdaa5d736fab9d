//! Runs candle-flash-attn's kernel instead of our own.

use candle_core::{Result, Tensor};
use candle_flash_attn::flash_attn_varlen;

use crate::ragged::Sequences;

/// Computes attention, `(ΣT, 3H)` → `(ΣT, H)`, in f16 or bf16.
pub(super) fn apply(
    qkv: &Tensor,
    sequences: &Sequences,
    (heads, head_size): (usize, usize),
) -> Result<Tensor> {
    let (tokens, _) = qkv.dims2()?;
    let parts = qkv.reshape((tokens, 3, heads, head_size))?;
    let part = |part: usize| parts.narrow(1, part, 1)?.squeeze(1); // (ΣT, N, D)
    let (starts, longest) = (&sequences.starts_on_device, sequences.longest());
    let scale = 1.0 / (head_size as f32).sqrt();
    let context = flash_attn_varlen(
        &part(0)?,
        &part(1)?,
        &part(2)?,
        starts,
        starts,
        longest,
        longest,
        scale,
        false,
    )?;
    context.reshape((tokens, heads * head_size))
}

//! Sequences that are padded to each other.

use std::ops::Range;

use candle_core::{DType, Device, Result, Tensor};

use crate::mask::additive_mask;
use crate::train::batch::TrainingBatch;

/// Sequences that share a forward and backward pass.
pub(super) struct Chunk<'a> {
    pub(super) batch: &'a TrainingBatch,
    /// Their indices in the batch, ascending.
    pub(super) sequences: Vec<usize>,
    /// T, the longest one's tokens.
    pub(super) width: usize,
    /// `(B T)`
    pub(super) ids: Tensor,
    /// `(B T)`
    pub(super) types: Tensor,
    /// `(B, 1, 1, T)` in f32; `None` if there is no padding
    pub(super) mask: Option<Tensor>,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(
        batch: &'a TrainingBatch,
        units: &[Range<usize>],
        device: &Device,
    ) -> Result<Self> {
        let mut sequences: Vec<usize> = units.iter().cloned().flatten().collect();
        sequences.sort_unstable();
        let rows = |sequence: &usize| batch.rows(*sequence);
        let width = sequences.iter().map(|sequence| rows(sequence).len()).max();
        let width = width.unwrap_or(0);
        let shape = (sequences.len(), width);
        let (mut ids, mut types, mut mask) = (Vec::new(), Vec::new(), Vec::new());
        for rows in sequences.iter().map(rows) {
            ids.extend_from_slice(batch.ids(rows.clone()));
            types.extend_from_slice(batch.types(rows.clone()));
            mask.resize(mask.len() + rows.len(), 1u8);
            let end = mask.len().next_multiple_of(width);
            ids.resize(end, 0);
            types.resize(end, 0);
            mask.resize(end, 0);
        }
        let has_padding = mask.contains(&0);
        let mask = has_padding.then(|| {
            let mask = Tensor::from_vec(mask, shape, device)?;
            additive_mask(&mask, DType::F32)
        });
        Ok(Self {
            batch,
            width,
            ids: Tensor::new(ids, device)?,
            types: Tensor::new(types, device)?,
            mask: mask.transpose()?,
            sequences,
        })
    }

    /// Returns B T.
    pub(super) fn padded_tokens(&self) -> usize {
        self.sequences.len() * self.width
    }

    /// Returns the tokens of the sequence at `index` of the chunk.
    pub(super) fn tokens(&self, index: usize) -> usize {
        self.batch.rows(self.sequences[index]).len()
    }
}

/// Divides a batch into parts of at most `tokens` tokens, padding included, of whole units: the
/// longest first, so that memory is reserved once.
pub(super) fn divide(batch: &TrainingBatch, tokens: usize) -> Vec<Vec<Range<usize>>> {
    let longest = |unit: &Range<usize>| {
        let lengths = unit.clone().map(|sequence| batch.rows(sequence).len());
        lengths.max().unwrap_or(0)
    };
    let mut units: Vec<_> = batch.units().collect();
    units.sort_by_key(|unit| std::cmp::Reverse(longest(unit)));
    let (mut parts, mut count, mut width) = (Vec::<Vec<_>>::new(), 0, 0);
    for unit in units {
        match parts.last_mut() {
            Some(part) if (count + unit.len()) * width <= tokens => {
                count += unit.len();
                part.push(unit);
            }
            _ => {
                (count, width) = (unit.len(), longest(&unit));
                parts.push(vec![unit]);
            }
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_divided_by_its_padded_length_and_choices_stay_together() {
        let mut batch = TrainingBatch::new();
        let (ids, types) = ([7; 40], [0; 40]);
        for length in [3, 40, 8, 8, 2] {
            batch.push(&ids[..length], &types[..length]);
        }
        batch.push_together([9, 1].map(|length| (&ids[..length], &types[..length])));
        let parts = divide(&batch, 40);
        let parts: Vec<Vec<usize>> = parts
            .into_iter()
            .map(|units| units.into_iter().map(|unit| unit.start).collect())
            .collect();
        assert_eq!(parts, [vec![1], vec![5, 2, 3], vec![0, 4]]);
    }
}

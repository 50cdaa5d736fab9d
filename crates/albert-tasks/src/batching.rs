//! Texts of like length together, within a budget of tokens, and answers back in input order.
//!
//! Sorting by length is worth about a factor of two on ragged sentences; the budget bounds memory
//! and keeps the activations of a batch near the caches.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use albert_model::ModelInput;

use crate::tokenizer::TokenIds;
use crate::{Error, Tokenizer};

/// A text, or two that belong together, cut to `max_length` tokens.
pub(crate) fn encode<S: AsRef<str> + Sync, P: AsRef<str> + Sync>(
    tokenizer: &Tokenizer,
    inputs: &[(S, Option<P>)],
    max_length: usize,
) -> crate::Result<Vec<TokenIds>> {
    let encode = |(text, pair): &(S, Option<P>)| {
        tokenizer.encode_ids(text.as_ref(), pair.as_ref().map(AsRef::as_ref), max_length)
    };
    inputs.par_iter().map(encode).collect()
}

/// The items in portions of neighbours whose sizes add up to about `limit`, each of one item at least.
///
/// Where an item becomes many rows, preparing all items at once would take memory without bound.
pub(crate) fn portions<T>(items: &[T], limit: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut portions = Vec::new();
    let (mut start, mut total) = (0, 0usize);
    for (index, item) in items.iter().enumerate() {
        let size = size(item);
        if index > start && total.saturating_add(size) > limit {
            portions.push(&items[start..index]);
            (start, total) = (index, 0);
        }
        total = total.saturating_add(size);
    }
    if start < items.len() {
        portions.push(&items[start..]);
    }
    portions
}

/// Each row's logits, in input order: what `forward` gives for a batch, `(B, …)`, row by row.
///
/// Logits by token, `(B, T, …)`, are those of the row's own tokens: padding is cut off.
pub(crate) fn logits(
    rows: &[TokenIds],
    batch_tokens: usize,
    device: &Device,
    forward: impl Fn(&[&TokenIds], &Device) -> Result<Tensor>,
) -> crate::Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let mut results = vec![Vec::new(); rows.len()];
    for batch in plan(&lengths, batch_tokens) {
        let of_batch: Vec<&TokenIds> = batch.iter().map(|&index| &rows[index]).collect();
        let logits = forward(&of_batch, device)?;
        let width = logits.elem_count() / batch.len();
        let by_token = if logits.rank() == 3 { Some(width / logits.dim(1)?) } else { None };
        let values = to_f32(&logits)?;
        for (row, index) in batch.into_iter().enumerate() {
            let own = by_token.map_or(width, |width| width * lengths[index]);
            let values = &values[row * width..][..own];
            if !values.iter().all(|value| value.is_finite()) {
                return Err(Error::NotFinite);
            }
            results[index] = values.to_vec();
        }
    }
    Ok(results)
}

/// The values row after row, in f32, on the CPU.
pub(crate) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// Groups the indices of `lengths` so that rows × longest row stays within `batch_tokens`.
///
/// Padding counts although the CPU's own path computes none: the states that come back are as large as with
/// it, and one long row among many short ones would ask for memory without bound. Among rows of like length
/// there is little of it.
///
/// Longest first, so that a batch too large for the memory fails at once. A row longer than the
/// budget is a batch of its own.
pub(crate) fn plan(lengths: &[usize], batch_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(lengths[index]), index));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for index in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * longest <= batch_tokens => batch.push(index),
            _ => {
                longest = lengths[index];
                batches.push(vec![index]);
            }
        }
    }
    batches
}

/// The rows as one padded input `(B, T)`.
///
/// Padding stands on the right, as ALBERT's absolute positions ask. Mask and token types are left out
/// where they would say nothing, which saves the model their work.
pub(crate) fn model_input(rows: &[&TokenIds], device: &Device) -> Result<ModelInput> {
    padded(rows, |batch, tokens| vec![batch, tokens], device)
}

/// The rows as one padded input of a single choice each, `(B, 1, T)`.
pub(crate) fn choice_input(rows: &[&TokenIds], device: &Device) -> Result<ModelInput> {
    padded(rows, |batch, tokens| vec![batch, 1, tokens], device)
}

fn padded(
    rows: &[&TokenIds],
    shape: impl Fn(usize, usize) -> Vec<usize>,
    device: &Device,
) -> Result<ModelInput> {
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let shape = shape(rows.len(), longest);
    let padded = |values: &dyn Fn(&TokenIds) -> Vec<u32>, device: &Device| {
        let mut flat = Vec::with_capacity(rows.len() * longest);
        for row in rows {
            flat.extend(values(row));
            flat.resize(flat.len() + longest - row.ids.len(), 0);
        }
        Tensor::from_vec(flat, shape.as_slice(), device)
    };
    // Padding has the id 0, whatever token that is: it is masked out, and 0 is in every table.
    let mut input = ModelInput::new(padded(&|row| row.ids.clone(), device)?);
    if rows.iter().any(|row| row.ids.len() < longest) {
        // On the CPU, where the model can read it without waiting for a GPU.
        input = input.with_attention_mask(padded(&|row| vec![1; row.ids.len()], &Device::Cpu)?);
    }
    if rows.iter().any(|row| row.type_ids.iter().any(|&id| id != 0)) {
        input = input.with_token_type_ids(padded(&|row| row.type_ids.clone(), device)?);
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_batch_within_the_budget() {
        let lengths = [5, 40, 3, 3, 17, 64, 8, 1, 40];
        let batches = plan(&lengths, 64);
        let mut seen: Vec<usize> = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&index| lengths[index]).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= 64, "{batch:?}");
        }
    }

    #[test]
    fn rows_of_like_length_go_together_longest_first() {
        assert_eq!(plan(&[3, 9, 3, 9], 18), [vec![1, 3], vec![0, 2]]);
    }

    #[test]
    fn portions_keep_the_order_within_the_limit_and_are_never_empty() {
        let of = |items: &[usize]| -> Vec<Vec<usize>> {
            portions(items, 5, |size| *size).into_iter().map(<[usize]>::to_vec).collect()
        };
        assert_eq!(
            of(&[2, 3, 1, 9, 1, usize::MAX, 4]),
            [vec![2, 3], vec![1], vec![9], vec![1], vec![usize::MAX], vec![4]]
        );
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn a_budget_of_nothing_is_one_row_a_batch() {
        assert_eq!(plan(&[2, 2], 0), [vec![0], vec![1]]);
        assert!(plan(&[], 0).is_empty());
    }
}

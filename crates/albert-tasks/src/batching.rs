//! Texts of like length together, within a budget of tokens, and answers back in input order.
//!
//! Sorting by length is worth about a factor of two on ragged sentences; the budget bounds memory
//! and keeps the activations of a batch near the caches.

use candle_core::{Device, Result, Tensor};

use albert_model::ModelInput;

use crate::tokenizer::TokenIds;

/// Groups the indices of `lengths` so that rows × longest row stays within `batch_tokens`.
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
    let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
    let shape = (rows.len(), longest);
    let padded = |values: &dyn Fn(&TokenIds) -> Vec<u32>| {
        let mut flat = Vec::with_capacity(rows.len() * longest);
        for row in rows {
            flat.extend(values(row));
            flat.resize(flat.len() + longest - row.ids.len(), 0);
        }
        Tensor::from_vec(flat, shape, device)
    };
    // Padding has the id 0, whatever token that is: it is masked out, and 0 is in every table.
    let mut input = ModelInput::new(padded(&|row| row.ids.clone())?);
    if rows.iter().any(|row| row.ids.len() < longest) {
        input = input.with_attention_mask(padded(&|row| vec![1; row.ids.len()])?);
    }
    if rows.iter().any(|row| row.type_ids.iter().any(|&id| id != 0)) {
        input = input.with_token_type_ids(padded(&|row| row.type_ids.clone())?);
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
    fn a_budget_of_nothing_is_one_row_a_batch() {
        assert_eq!(plan(&[2, 2], 0), [vec![0], vec![1]]);
        assert!(plan(&[], 0).is_empty());
    }
}

//! Turns texts into a network's input, and its output into one row of logits per text, in input
//! order.

use std::borrow::Borrow;

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use albert_model::ModelInput;

use super::runner::Runner;
use crate::tokenizer::TokenIds;
use crate::{Error, TextInput, Tokenizer};

/// Tokenizes texts or pairs, each truncated to `max_length` tokens.
pub(crate) fn encode<I: TextInput + Sync>(
    tokenizer: &Tokenizer,
    inputs: &[I],
    max_length: usize,
) -> crate::Result<Vec<TokenIds>> {
    let encode = |input: &I| tokenizer.encode_ids(input.first(), input.second(), max_length);
    inputs.par_iter().map(encode).collect()
}

/// Splits the items into chunks of neighbors whose sizes add up to at most `limit`; a larger item
/// is a chunk by itself.
///
/// An item may become many rows, so preparing all items at once would take unbounded memory.
pub(crate) fn chunks<T>(items: &[T], limit: usize, size: impl Fn(&T) -> usize) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    let (mut start, mut total) = (0, 0usize);
    for (index, item) in items.iter().enumerate() {
        let size = size(item);
        if index > start && total.saturating_add(size) > limit {
            chunks.push(&items[start..index]);
            (start, total) = (index, 0);
        }
        total = total.saturating_add(size);
    }
    if start < items.len() {
        chunks.push(&items[start..]);
    }
    chunks
}

/// Computes the logits of each row as a whole, in input order. `forward` returns those of a batch,
/// `(B, C)`, or as many values in that order.
pub(crate) fn row_logits(
    rows: &[impl Borrow<TokenIds> + Sync],
    runner: &Runner,
    forward: impl Fn(&ModelInput) -> Result<Tensor> + Sync,
) -> crate::Result<Vec<Vec<f32>>> {
    logits(rows, runner, forward, |_| 1)
}

/// Computes the logits of each row's tokens, in input order. `forward` returns those of a batch,
/// `(ΣT, C)`; a row gets its `(T, C)`.
pub(crate) fn token_logits(
    rows: &[impl Borrow<TokenIds> + Sync],
    runner: &Runner,
    forward: impl Fn(&ModelInput) -> Result<Tensor> + Sync,
) -> crate::Result<Vec<Vec<f32>>> {
    logits(rows, runner, forward, |row| row.ids.len())
}

/// Divides the logits of each batch among its rows, each of which gets as many parts as `parts`
/// returns.
fn logits(
    rows: &[impl Borrow<TokenIds> + Sync],
    runner: &Runner,
    forward: impl Fn(&ModelInput) -> Result<Tensor> + Sync,
    parts: impl Fn(&TokenIds) -> usize + Sync,
) -> crate::Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.borrow().ids.len()).collect();
    let mut results = vec![Vec::new(); rows.len()];
    let compute = |batch: &[usize]| {
        let of_batch: Vec<&TokenIds> = batch.iter().map(|&index| rows[index].borrow()).collect();
        Ok(to_f32(&forward(&model_input(
            &of_batch,
            runner.device(),
        )?)?)?)
    };
    runner.run(&lengths, compute, |batch, logits| {
        if !logits.iter().all(|value| value.is_finite()) {
            return Err(Error::NotFinite);
        }
        let parts_of = |index: &usize| parts(rows[*index].borrow());
        let width = logits.len() / batch.iter().map(parts_of).sum::<usize>().max(1);
        let mut rest = &logits[..];
        for index in batch {
            let own;
            (own, rest) = rest.split_at(parts_of(index) * width);
            results[*index] = own.to_vec();
        }
        Ok(())
    })?;
    Ok(results)
}

/// Copies a tensor to the CPU as f32 values in row-major order.
pub(crate) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor
        .to_dtype(DType::F32)?
        .to_device(&Device::Cpu)?
        .flatten_all()?
        .to_vec1()
}

/// Builds one ragged input of the rows: their ids one after another, `(ΣT)`.
///
/// Token types that are all 0 are left out, which saves the model their work.
pub(crate) fn model_input(rows: &[&TokenIds], device: &Device) -> Result<ModelInput> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let tokens = lengths.iter().sum::<usize>();
    let join = |values: fn(&TokenIds) -> &[u32]| {
        let mut joined = Vec::with_capacity(tokens);
        rows.iter()
            .for_each(|row| joined.extend_from_slice(values(row)));
        Tensor::from_vec(joined, tokens, device)
    };
    let input = ModelInput::ragged(join(|row| &row.ids)?, lengths);
    let has_types = |row: &&TokenIds| row.type_ids.iter().any(|&id| id != 0);
    if rows.iter().any(has_types) {
        return Ok(input.with_token_type_ids(join(|row| &row.type_ids)?));
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use albert_model::AlbertForTokenClassification;

    use super::*;
    use crate::engine::runner::out_of_memory;
    use crate::pipeline::{Pipeline, Purpose};
    use crate::{ModelFiles, RunOptions, SharedModel};

    #[test]
    fn a_batch_computed_in_parts_has_the_same_logits() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/pipelines/entities"
        );
        let files = ModelFiles::from_dir(folder).unwrap();
        let shared = SharedModel::new(&files, &RunOptions::default()).unwrap();
        let pipeline = Pipeline::from_model(&shared, Purpose::Texts).unwrap();
        let model: &AlbertForTokenClassification = &pipeline.model;
        let texts = [
            "the river",
            "",
            "She went to the town in the hills.",
            "a",
            "the town by the river",
            "b c",
        ];
        let rows = encode(&pipeline.tokenizer, &texts, 40).unwrap();
        // A device with memory for `memory` rows.
        let compute = |has_thread, memory: usize| {
            let forward = |input: &ModelInput| {
                if input.lengths().unwrap().len() > memory {
                    return Err(out_of_memory());
                }
                Ok(model.forward(input)?.logits)
            };
            token_logits(&rows, &Runner::with_budget(4096, has_thread), forward).unwrap()
        };
        let expected = compute(false, usize::MAX);
        let width = model.config().num_labels();
        assert!(
            expected
                .iter()
                .zip(&rows)
                .all(|(logits, row)| logits.len() == row.ids.len() * width)
        );
        for has_thread in [false, true] {
            for memory in [1, 2, 5, usize::MAX] {
                assert_eq!(compute(has_thread, memory), expected);
            }
        }
    }

    #[test]
    fn chunks_keep_the_order_within_the_limit_and_are_never_empty() {
        let of = |items: &[usize]| -> Vec<Vec<usize>> {
            chunks(items, 5, |size| *size)
                .into_iter()
                .map(<[usize]>::to_vec)
                .collect()
        };
        assert_eq!(
            of(&[2, 3, 1, 9, 1, usize::MAX, 4]),
            [
                vec![2, 3],
                vec![1],
                vec![9],
                vec![1],
                vec![usize::MAX],
                vec![4]
            ]
        );
        assert!(of(&[]).is_empty());
    }
}

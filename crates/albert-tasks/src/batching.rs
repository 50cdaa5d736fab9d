//! From texts to a network's input, and from its logits back to each text's, in input order.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use albert_model::ModelInput;

use crate::runner::Runner;
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

/// The items in portions of neighbours whose sizes add up to about `limit`, each of one item at
/// least.
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
    runner: &Runner,
    forward: impl Fn(&[&TokenIds], &Device) -> Result<Tensor> + Sync,
) -> crate::Result<Vec<Vec<f32>>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.ids.len()).collect();
    let mut results = vec![Vec::new(); rows.len()];
    let compute = |batch: &[usize]| {
        let of_batch: Vec<&TokenIds> = batch.iter().map(|&index| &rows[index]).collect();
        let logits = forward(&of_batch, runner.device())?;
        let longest = if logits.rank() == 3 {
            Some(logits.dim(1)?)
        } else {
            None
        };
        Ok((to_f32(&logits)?, longest))
    };
    runner.run(&lengths, compute, |batch, (logits, longest)| {
        let width = logits.len() / batch.len();
        for (logits, &index) in logits.chunks_exact(width).zip(batch) {
            let own = longest.map_or(width, |longest| width / longest * lengths[index]);
            let own = &logits[..own];
            if !own.iter().all(|value| value.is_finite()) {
                return Err(Error::NotFinite);
            }
            results[index] = own.to_vec();
        }
        Ok(())
    })?;
    Ok(results)
}

/// The values row after row, in f32, on the CPU.
pub(crate) fn to_f32(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor
        .to_dtype(DType::F32)?
        .to_device(&Device::Cpu)?
        .flatten_all()?
        .to_vec1()
}

/// The rows as one padded input `(B, T)`.
///
/// Padding stands on the right, as ALBERT's absolute positions ask. Mask and token types are left
/// out where they would say nothing, which saves the model their work.
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
    if rows
        .iter()
        .any(|row| row.type_ids.iter().any(|&id| id != 0))
    {
        input = input.with_token_type_ids(padded(&|row| row.type_ids.clone(), device)?);
    }
    Ok(input)
}

#[cfg(test)]
mod tests {
    use albert_model::{AlbertForTokenClassification, LoadOptions, Pretrained as _};

    use super::*;
    use crate::options::{Purpose, Setup};
    use crate::runner::out_of_memory;
    use crate::{ModelFiles, RunOptions};

    #[test]
    fn a_batch_computed_in_parts_has_the_same_logits() {
        let folder = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/pipelines/entities"
        );
        let files = ModelFiles::from_dir(folder).unwrap();
        let setup = Setup::new(&files, &RunOptions::default(), Purpose::Tokens).unwrap();
        let (model, _) =
            AlbertForTokenClassification::load(&setup.checkpoint, &LoadOptions::default()).unwrap();
        let texts = [
            "the river",
            "",
            "She went to the town in the hills.",
            "a",
            "the town by the river",
            "b c",
        ];
        let rows = encode(
            &setup.tokenizer,
            &texts.map(|text| (text, None::<&str>)),
            40,
        )
        .unwrap();
        // A device with memory for so many rows.
        let compute = |has_thread, memory: usize| {
            let forward = |rows: &[&TokenIds], device: &Device| match rows.len() <= memory {
                true => Ok(model.forward(&model_input(rows, device)?)?.logits),
                false => Err(out_of_memory()),
            };
            logits(&rows, &Runner::of(4096, has_thread), forward).unwrap()
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
    fn portions_keep_the_order_within_the_limit_and_are_never_empty() {
        let of = |items: &[usize]| -> Vec<Vec<usize>> {
            portions(items, 5, |size| *size)
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

//! The metrics of pretraining, on text.

use albert_train::evaluate;
use albert_train::examples::{Corpus, PretrainingText};
use serde_json::{Map, Value, json};

use super::{EvaluateArgs, EvaluatedTask};
use crate::progress::Talk;

/// The usual length of sequences.
const MAX_LENGTH: usize = 128;

/// Adds the metrics of a task of pretraining to a row.
pub(super) fn evaluate(
    args: &EvaluateArgs,
    task: EvaluatedTask,
    row: &mut Map<String, Value>,
    talk: Talk,
) -> anyhow::Result<()> {
    let files = args.model.files(talk)?;
    let tokenizer = args.model.tokenizer();
    let corpus = Corpus::open(&args.input)?;
    let length = args.examples.max_length.unwrap_or(MAX_LENGTH);
    let mut text = PretrainingText::new(length, args.seed);
    text.mask_probability = args.mask_probability;
    text.shuffle = false;
    let metrics = match task {
        EvaluatedTask::SentenceOrder => evaluate::sentence_order(&files, tokenizer, corpus, text)?,
        _ => evaluate::masked_lm(&files, tokenizer, corpus, text)?,
    };
    for (name, value) in metrics {
        let value = match &*name {
            "examples" => json!(value as u64),
            _ => json!(value),
        };
        row.insert(name, value);
    }
    Ok(())
}

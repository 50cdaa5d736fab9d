//! Evaluates a model on text, by its masked tokens and the order of its segments.

use albert_tasks::{ModelFiles, TokenizerOptions};

use crate::error::{Error, Result};
use crate::examples::{Corpus, PretrainingText, Sequences};
use crate::pretrain::{Pretrain, Start, Sums};
use crate::text_training::TextTraining;
use crate::trainer::Evaluation;

/// Measures how well a model predicts the masked tokens of a corpus.
///
/// The masks are those of `text`, the same each time. Metrics: `examples`, `loss`, `cross_entropy`
/// (the same, in nats a token), `perplexity`, `top_1` and `top_5`.
///
/// # Errors
/// If the model has no masked-LM head, or a file cannot be read.
pub fn masked_lm(
    files: &ModelFiles,
    tokenizer: TokenizerOptions,
    corpus: Corpus,
    text: PretrainingText,
) -> Result<Evaluation> {
    let text = PretrainingText {
        sequences: Sequences::Segments,
        ..text
    };
    let sums = sums(files, tokenizer, corpus, text)?;
    let loss = sums.masked_lm.mean_loss();
    Ok(named([
        ("examples", sums.sequences as f64),
        ("loss", loss),
        ("cross_entropy", loss),
        ("perplexity", loss.exp()),
        ("top_1", sums.masked_lm.top_1()),
        ("top_5", sums.masked_lm.top_5()),
    ]))
}

/// Measures how well a model distinguishes swapped segments of a corpus from segments in order.
///
/// Metrics: `examples`, `loss` and `accuracy`. The tokens are masked as in pretraining.
///
/// # Errors
/// If the model lacks a head of pretraining, or a file cannot be read.
pub fn sentence_order(
    files: &ModelFiles,
    tokenizer: TokenizerOptions,
    corpus: Corpus,
    text: PretrainingText,
) -> Result<Evaluation> {
    let text = PretrainingText {
        sequences: Sequences::Pairs,
        ..text
    };
    let sums = sums(files, tokenizer, corpus, text)?;
    Ok(named([
        ("examples", sums.sequences as f64),
        ("loss", sums.order.mean_loss()),
        ("accuracy", sums.order.top_1()),
    ]))
}

fn sums(
    files: &ModelFiles,
    tokenizer: TokenizerOptions,
    corpus: Corpus,
    text: PretrainingText,
) -> Result<Sums> {
    let start = Start::Model(files.clone());
    let text = TextTraining::new(corpus.clone())
        .with_tokenizer(tokenizer)
        .with_text(text)
        .with_eval(corpus);
    let mut task = Pretrain::new(start, files.clone(), text).prepare()?;
    // A head that would be drawn at random has nothing to evaluate.
    if let Some(tensor) = task.new_tensors().first() {
        return Err(Error::NoHead {
            model: files.name().into(),
            tensor: tensor.clone(),
        });
    }
    Ok(task.sums()?.expect("there is evaluation data"))
}

fn named<const N: usize>(metrics: [(&str, f64); N]) -> Evaluation {
    metrics
        .map(|(name, value)| (name.to_string(), value))
        .into()
}

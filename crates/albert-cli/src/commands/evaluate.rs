//! `evaluate`: computes the metrics of a model on data that it was not trained on.

use std::path::PathBuf;
use std::sync::Arc;

use albert_tasks::{Tokenizer, TokenizerOptions};
use albert_train::evaluate;
use albert_train::examples::{Corpus, PretrainingText};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use crate::options::training::fraction;
use crate::options::{MAX_THREADS, ModelArgs, number};
use crate::output::print_to_stdout;
use crate::progress::Talk;

/// The options of `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli evaluate --task masked-lm --input held-out.txt
  albert-cli evaluate --task sentence-order --input held-out.txt")]
pub(crate) struct EvaluateArgs {
    /// Task whose metrics are computed
    #[arg(long, value_name = "TASK", value_enum)]
    task: Task,

    /// Text with one sentence per line and a blank line between documents
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    input: Vec<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    /// Tokens in a sequence, special tokens included
    #[arg(long, value_name = "N", value_parser = number(5..=usize::MAX), default_value = "128")]
    max_length: usize,

    /// Fraction of the tokens that is masked
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.15")]
    mask_probability: f64,

    /// Seed of the masks and of the swapped segments
    #[arg(long, value_name = "N", default_value = "42")]
    seed: u64,

    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = number(1..=MAX_THREADS), env = "ALBERT_THREADS")]
    threads: Option<usize>,
}

/// A task with metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Cross-entropy, perplexity and accuracy of masked tokens
    MaskedLm,
    /// Accuracy of the order of two segments
    SentenceOrder,
}

/// Runs the command.
pub(crate) fn run(args: EvaluateArgs, talk: Talk) -> anyhow::Result<()> {
    if let Some(threads) = args.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global()
            .with_context(|| format!("cannot start {threads} threads"))?;
    }
    let files = args.model.files(talk)?;
    let options = TokenizerOptions {
        special_tokens_as_text: true,
        ..args.model.tokenizer()
    };
    let tokenizer = Arc::new(Tokenizer::load(&files, &options)?);
    let corpus = Corpus::open(&args.input)?;
    let mut text = PretrainingText::new(args.max_length, args.seed);
    text.mask_probability = args.mask_probability;
    text.shuffle = false;
    let metrics = match args.task {
        Task::MaskedLm => evaluate::masked_lm(&files, tokenizer, corpus, text)?,
        Task::SentenceOrder => evaluate::sentence_order(&files, tokenizer, corpus, text)?,
    };
    let mut row = Map::new();
    let name = args.task.to_possible_value().context("a task has a name")?;
    row.insert("task".into(), json!(name.get_name()));
    for (name, value) in metrics {
        let is_count = name == "examples";
        row.insert(
            name,
            if is_count {
                json!(value as u64)
            } else {
                json!(value)
            },
        );
    }
    let row = Value::Object(row);
    print_to_stdout(|| {
        use std::io::Write;
        writeln!(std::io::stdout(), "{row}")
    })
}

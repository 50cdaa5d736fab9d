//! `evaluate`: the metrics of a model on data that it was not trained on.

mod confusion;
mod labeled;
mod pretraining;

use std::path::PathBuf;

use albert_train::FineTuneTask;
use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};
use serde_json::{Map, json};

use super::training;
use crate::options::compute::start_threads;
use crate::options::examples::ExampleArgs;
use crate::options::training::fraction;
use crate::options::{MAX_THREADS, ModelArgs, number};
use crate::progress::Talk;

/// The options of `evaluate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli evaluate --task classification --input dev.tsv --model my-model
  albert-cli evaluate --task masked-lm --input held-out.txt")]
pub(crate) struct EvaluateArgs {
    /// Task whose metrics are computed [default: that of --preset]
    #[arg(long, value_name = "TASK", value_enum)]
    task: Option<EvaluatedTask>,

    /// Labeled examples, or text with one sentence per line for masked-lm and sentence-order
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    input: Vec<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    examples: ExampleArgs,

    /// Write the prediction for each example to a file, one JSON object per line
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EvaluatedTask {
    /// A task of fine-tuning.
    Labeled(FineTuneTask),
    MaskedLm,
    SentenceOrder,
}

impl EvaluatedTask {
    fn name(self) -> &'static str {
        match self {
            Self::Labeled(task) => task.name(),
            Self::MaskedLm => "masked-lm",
            Self::SentenceOrder => "sentence-order",
        }
    }
}

impl ValueEnum for EvaluatedTask {
    fn value_variants<'a>() -> &'a [Self] {
        use EvaluatedTask::Labeled;
        use FineTuneTask::{
            Answering, Choice, Classification, MultiLabel, Regression, Similarity, Tagging,
        };
        &[
            Labeled(Classification),
            Labeled(Regression),
            Labeled(MultiLabel),
            Labeled(Tagging),
            Labeled(Answering),
            Labeled(Choice),
            Labeled(Similarity),
            Self::MaskedLm,
            Self::SentenceOrder,
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Labeled(FineTuneTask::Classification) => {
                "Accuracy, F1 (of the second of two labels, else the mean) and Matthews correlation"
            }
            Self::Labeled(FineTuneTask::Regression) => "Pearson and Spearman correlation",
            Self::Labeled(FineTuneTask::MultiLabel) => "Micro and macro F1, average precision",
            Self::Labeled(FineTuneTask::Tagging) => "Precision, recall and F1 of entities",
            Self::Labeled(FineTuneTask::Answering) => "Exact match and F1 of answers, in percent",
            Self::Labeled(FineTuneTask::Choice) => "Accuracy of choices",
            Self::Labeled(_) => "Pearson and Spearman correlation of cosines and scores",
            Self::MaskedLm => "Cross-entropy, perplexity and accuracy of masked tokens",
            Self::SentenceOrder => "Accuracy of the order of two segments",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

/// Runs the command.
pub(crate) fn run(args: EvaluateArgs, talk: Talk) -> anyhow::Result<()> {
    start_threads(args.threads)?;
    let task = match (args.task, args.examples.preset) {
        (Some(task @ (EvaluatedTask::MaskedLm | EvaluatedTask::SentenceOrder)), _) => task,
        (Some(EvaluatedTask::Labeled(task)), _) => {
            EvaluatedTask::Labeled(args.examples.task(Some(task))?)
        }
        (None, _) => EvaluatedTask::Labeled(args.examples.task(None)?),
    };
    let mut row = Map::new();
    row.insert("task".into(), json!(task.name()));
    match task {
        EvaluatedTask::Labeled(task) => labeled::evaluate(&args, task, &mut row, talk)?,
        other => pretraining::evaluate(&args, other, &mut row, talk)?,
    }
    training::print(row)
}

//! The text and the objectives of a distillation.

use albert_train::distill::DistillWeights;
use albert_train::examples::PretrainingText;
use clap::Args;

use super::number;
use super::training::{OptimizationArgs, fraction};

/// The default sequence length.
const MAX_LENGTH: usize = 128;

/// Options of `distill` and `compress`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Distillation")]
pub(crate) struct DistillationArgs {
    /// Objectives with weights: embeddings, hidden-states, masked-lm, pretraining; such as
    /// embeddings=2,hidden-states=1 [default: those that the teacher allows, without pretraining]
    ///
    /// embeddings: the teacher's sentence embeddings and their similarities. hidden-states: its
    /// hidden states of every token, after each layer group. masked-lm: its probabilities of masked
    /// tokens. pretraining: the text's own masked tokens and sentence order.
    #[arg(long, value_name = "NAMES")]
    pub(crate) objective: Option<DistillWeights>,

    #[arg(
        long,
        help = format!("Tokens in a sequence, special tokens included [default: {MAX_LENGTH}]"),
        value_name = "N",
        value_parser = number(5..=usize::MAX)
    )]
    pub(crate) max_length: Option<usize>,

    /// Fraction of the tokens that is masked
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.15")]
    pub(crate) mask_probability: f64,

    /// Maximum number of consecutive words masked together
    #[arg(long, value_name = "N", value_parser = number(1..=64), default_value = "3")]
    pub(crate) max_ngram: usize,

    /// Also train to recognize swapped segments, with the objective pretraining
    #[arg(long, value_name = "true|false", hide_possible_values = true, default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) sentence_order: bool,
}

impl DistillationArgs {
    /// Returns the settings that turn text into examples.
    pub(crate) fn text(&self, options: &OptimizationArgs) -> PretrainingText {
        let mut text = PretrainingText::new(self.max_length(), options.seed);
        text.mask_probability = self.mask_probability;
        text.max_ngram = self.max_ngram;
        text.sentence_order = self.sentence_order;
        text.shuffle = options.shuffle;
        text
    }

    pub(crate) fn max_length(&self) -> usize {
        self.max_length.unwrap_or(MAX_LENGTH)
    }

    /// Returns the weights of the objectives that were named, or none.
    pub(crate) fn weights(&self) -> DistillWeights {
        self.objective.unwrap_or_default()
    }
}

//! The text of masked language modeling and sentence order prediction.

use albert_train::examples::{PretrainingText, Sequences};
use clap::{Args, ValueEnum};
use toml::Value;

use super::number;
use super::training::{OptimizationArgs, fraction};

/// The default sequence length: longer sequences take too much time on a CPU.
const MAX_LENGTH: usize = 128;

/// The options that turn text into examples.
#[derive(Debug, Args)]
#[command(next_help_heading = "Text")]
pub(crate) struct PretrainingArgs {
    #[arg(
        long,
        help = format!("Tokens in a sequence, special tokens included [default: {MAX_LENGTH}]"),
        value_name = "N",
        value_parser = number(5..=usize::MAX)
    )]
    max_length: Option<usize>,

    /// Fraction of the tokens that is masked
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.15")]
    pub(crate) mask_probability: f64,

    /// Maximum number of consecutive words masked together
    #[arg(long, value_name = "N", value_parser = number(1..=64), default_value = "3")]
    pub(crate) max_ngram: usize,

    /// Also train to recognize swapped segments; both: with each pair of segments in both orders
    #[arg(
        long,
        value_name = "true|false|both",
        value_enum,
        hide_possible_values = true,
        default_value = "true"
    )]
    pub(crate) sentence_order: SentenceOrder,
}

/// The training of sentence order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SentenceOrder {
    True,
    False,
    Both,
}

impl SentenceOrder {
    /// Returns true if the order is trained.
    pub(crate) fn is_trained(self) -> bool {
        self != Self::False
    }

    fn sequences(self) -> Sequences {
        match self {
            Self::True => Sequences::Pairs,
            Self::False => Sequences::Segments,
            Self::Both => Sequences::BothOrders,
        }
    }
}

impl From<SentenceOrder> for Value {
    fn from(order: SentenceOrder) -> Self {
        match order {
            SentenceOrder::True => true.into(),
            SentenceOrder::False => false.into(),
            SentenceOrder::Both => "both".into(),
        }
    }
}

impl PretrainingArgs {
    /// Returns the settings that turn text into examples.
    pub(crate) fn text(&self, options: &OptimizationArgs) -> PretrainingText {
        let mut text = PretrainingText::new(self.max_length(), options.seed);
        text.mask_probability = self.mask_probability;
        text.max_ngram = self.max_ngram;
        text.sequences = self.sentence_order.sequences();
        text.shuffle = options.shuffle;
        text
    }

    /// Returns the maximum number of tokens in a sequence.
    pub(crate) fn max_length(&self) -> usize {
        self.max_length.unwrap_or(MAX_LENGTH)
    }
}

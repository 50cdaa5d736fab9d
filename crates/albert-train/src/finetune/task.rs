//! The tasks that a model can be fine-tuned for.

use std::fmt;
use std::str::FromStr;

use albert_tasks::albert_model::Head;

/// A task with a head, a loss and metrics of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FineTuneTask {
    /// One label for a text or a pair: cross-entropy.
    Classification,
    /// A number for a text or a pair: mean squared error.
    Regression,
    /// Any number of labels for a text or a pair: binary cross-entropy of each label.
    MultiLabel,
    /// A tag for each word, such as named entities: cross-entropy of the first token of each word.
    Tagging,
    /// The span of a context that answers a question: cross-entropy of its first and last token.
    Answering,
    /// One of several continuations of a text: cross-entropy over the choices.
    Choice,
    /// Sentence embeddings, from scored pairs, pairs or triplets.
    Similarity,
}

impl FineTuneTask {
    /// Every task, in the order of the documentation.
    pub const ALL: [Self; 7] = [
        Self::Classification,
        Self::Regression,
        Self::MultiLabel,
        Self::Tagging,
        Self::Answering,
        Self::Choice,
        Self::Similarity,
    ];

    /// Returns the name in options and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression => "regression",
            Self::MultiLabel => "multi-label",
            Self::Tagging => "tagging",
            Self::Answering => "answering",
            Self::Choice => "choice",
            Self::Similarity => "similarity",
        }
    }

    /// Returns the head of the model.
    pub fn head(self) -> Head {
        match self {
            Self::Classification | Self::Regression | Self::MultiLabel => {
                Head::SequenceClassification
            }
            Self::Tagging => Head::TokenClassification,
            Self::Answering => Head::QuestionAnswering,
            Self::Choice => Head::MultipleChoice,
            Self::Similarity => Head::Encoder,
        }
    }

    /// Returns the metric that selects the best evaluation.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Classification | Self::Choice => "accuracy",
            Self::Regression | Self::Similarity => "spearman",
            Self::MultiLabel => "micro_f1",
            Self::Tagging | Self::Answering => "f1",
        }
    }

    /// Returns the usual maximum length in tokens.
    ///
    /// Source: transformers 4.46.3, `run_glue.py`, `run_qa.py`; Lan et al. 2020 for RACE.
    pub fn max_length(self) -> usize {
        match self {
            Self::Answering => 384,
            Self::Choice => 512,
            _ => 128,
        }
    }
}

impl fmt::Display for FineTuneTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FineTuneTask {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|task| task.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("expected one of {}", names.join(", "))
        })
    }
}

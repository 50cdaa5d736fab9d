//! The heads that a model can have.

use std::fmt;

use crate::config::model_type::ModelType;

/// The head of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Head {
    /// Hidden states and the pooled `[CLS]`: [`AlbertModel`](crate::AlbertModel).
    Encoder,
    /// Masked tokens and sentence order: [`AlbertForPreTraining`](crate::AlbertForPreTraining).
    PreTraining,
    /// Masked tokens: [`AlbertForMaskedLM`](crate::AlbertForMaskedLM).
    MaskedLm,
    /// Sentence order, or a BERT's next sentence, without masked tokens:
    /// [`AlbertForNextSentencePrediction`](crate::AlbertForNextSentencePrediction).
    NextSentence,
    /// One label or several for a text:
    /// [`AlbertForSequenceClassification`](crate::AlbertForSequenceClassification).
    SequenceClassification,
    /// A label for each token:
    /// [`AlbertForTokenClassification`](crate::AlbertForTokenClassification).
    TokenClassification,
    /// The span of an answer: [`AlbertForQuestionAnswering`](crate::AlbertForQuestionAnswering).
    QuestionAnswering,
    /// One of several continuations: [`AlbertForMultipleChoice`](crate::AlbertForMultipleChoice).
    MultipleChoice,
}

impl Head {
    /// All heads.
    pub const ALL: [Self; 8] = [
        Self::Encoder,
        Self::PreTraining,
        Self::MaskedLm,
        Self::NextSentence,
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::QuestionAnswering,
        Self::MultipleChoice,
    ];

    /// Returns the name of the transformers class with this head, as in `architectures` of
    /// `config.json`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Encoder => "AlbertModel",
            Self::PreTraining => "AlbertForPreTraining",
            Self::MaskedLm => "AlbertForMaskedLM",
            Self::NextSentence => "AlbertForNextSentencePrediction",
            Self::SequenceClassification => "AlbertForSequenceClassification",
            Self::TokenClassification => "AlbertForTokenClassification",
            Self::QuestionAnswering => "AlbertForQuestionAnswering",
            Self::MultipleChoice => "AlbertForMultipleChoice",
        }
    }

    /// Returns the class of transformers that has this head in a network, such as
    /// `BertForMaskedLM`.
    pub fn class(self, model_type: ModelType) -> String {
        let albert = self.architecture();
        let head = albert.trim_start_matches(ModelType::Albert.class_prefix());
        format!("{}{head}", model_type.class_prefix())
    }

    /// Returns true for the name of a transformers class of ALBERT or BERT with this head.
    pub fn is_architecture(self, class: &str) -> bool {
        ModelType::ALL.iter().any(|&it| self.class(it) == class)
    }

    /// Returns true if its tensors are named `classifier.*`, a name that three heads share.
    pub(crate) fn is_classifier(self) -> bool {
        matches!(
            self,
            Self::SequenceClassification | Self::TokenClassification | Self::MultipleChoice
        )
    }

    /// Returns true if the head reads the pooled output.
    pub(crate) fn uses_pooler(self) -> bool {
        !matches!(
            self,
            Self::MaskedLm | Self::TokenClassification | Self::QuestionAnswering
        )
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.architecture())
    }
}

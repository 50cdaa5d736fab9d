//! The two pretraining tasks of ALBERT: masked tokens and sentence order (paper §3.1, §4).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::heads::head;
use crate::heads::masked_lm::MaskedLmHead;
use crate::heads::next_sentence::SentenceOrderHead;
use crate::input::{ModelInput, TokensRead};
use crate::model::AlbertModel;
use crate::parameters::{Head, MASKED_LM};

/// An ALBERT with both the masked-LM and the sentence-order head.
///
/// ```text
/// masked tokens: as AlbertForMaskedLM;   sentence order: dropout(pooled) Wᵀ + b
/// ```
///
/// The sentence order label is 0 if the second segment followed the first in the text, and 1 if
/// they were swapped. The checkpoints albert-*-v1 and -v2 on the Hub lack this head. A BERT predicts
/// the next sentence instead: the label is 1 if the second segment is from elsewhere.
///
/// Source: Lan et al. 2020, §3.1; transformers 4.46.3, `modeling_albert.py`,
/// `AlbertForPreTraining`; `modeling_bert.py`, `BertForPreTraining`.
#[derive(Debug, Clone)]
pub struct AlbertForPreTraining {
    albert: AlbertModel,
    predictions: MaskedLmHead,
    sentence_order: SentenceOrderHead,
}

/// The output of [`AlbertForPreTraining`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PreTrainingOutput {
    /// Masked tokens, `(B, T, V)`.
    pub prediction_logits: Tensor,
    /// Sentence order, `(B, labels)`; by default, and always in a BERT, `(B, 2)`. The first label
    /// always means in order.
    pub sop_logits: Tensor,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub hidden_states: Option<Vec<Tensor>>,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub attentions: Option<Vec<Tensor>>,
}

impl AlbertForPreTraining {
    /// Creates the model on an encoder, which other models may share: takes `predictions` and
    /// `sop_classifier.classifier` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or the encoder has no pooler.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let (config, word) = (albert.config(), albert.embeddings().word());
        Ok(Self {
            predictions: MaskedLmHead::new(config, word, vb.pp(MASKED_LM))?,
            sentence_order: SentenceOrderHead::new(config, vb)?,
            albert: albert.under(Head::PreTraining)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns `prediction_logits` `(B, T, V)`, or `(ΣT, V)` for a ragged batch, and `sop_logits`
    ///   `(B, labels)`
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<PreTrainingOutput> {
        let output = self.albert.forward_t(input, train)?;
        Ok(PreTrainingOutput {
            prediction_logits: self
                .predictions
                .forward_t(&output.last_hidden_state, train)?,
            sop_logits: self
                .sentence_order
                .forward_t(AlbertModel::pooled(&output)?, train)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }

    /// Runs the sentence-order head only, for inference, without the decoder, which takes most of
    /// the time for a short text.
    ///
    /// # Shapes
    /// - returns `sop_logits` `(B, labels)`, by default in order and swapped
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn sentence_order(&self, input: &ModelInput) -> Result<Tensor> {
        let output = self
            .albert
            .forward(&input.read_by_head(TokensRead::First))?;
        self.sentence_order
            .forward_t(AlbertModel::pooled(&output)?, false)
    }
}

head!(AlbertForPreTraining, Head::PreTraining, PreTrainingOutput);

//! The order of two segments, without masked tokens: ALBERT's sentence order prediction, BERT's
//! next sentence prediction.

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use crate::config::{AlbertConfig, ModelType};
use crate::dropout::dropout;
use crate::heads::{HeadOutput, head};
use crate::input::{ModelInput, TokensRead};
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::parameters::{Head, SENTENCE_ORDER};

/// From the pooled `[CLS]` to logits over orders.
///
/// ```text
/// logits = dropout(pooled) Wᵀ + b
/// ```
///
/// A BERT has no dropout here.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertSOPHead`; `modeling_bert.py`,
/// `BertOnlyNSPHead`.
#[derive(Debug, Clone)]
pub(super) struct SentenceOrderHead {
    classifier: Linear,
    dropout_prob: f64,
}

impl SentenceOrderHead {
    /// Takes `sop_classifier.classifier` from `vb`.
    pub(super) fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (h, labels, std) = (
            config.hidden_size,
            config.order_labels(),
            config.initializer_range,
        );
        let dropout_prob = match config.model_type {
            ModelType::Albert => config
                .classifier_dropout_prob
                .unwrap_or(config.hidden_dropout_prob),
            ModelType::Bert => 0.0,
        };
        Ok(Self {
            classifier: Linear::new(h, labels, std, vb.pp(SENTENCE_ORDER))?,
            dropout_prob,
        })
    }

    /// `(B, H)` → `(B, labels)`
    pub(super) fn forward_t(&self, pooled: &Tensor, train: bool) -> Result<Tensor> {
        self.classifier
            .forward(&dropout(pooled, self.dropout_prob, train)?)
    }
}

/// An encoder that predicts the order of two segments, and no masked tokens.
///
/// Of a BERT's two logits the first means that the second segment follows the first, the other
/// that it is from elsewhere; of an ALBERT's, that the two are in order or swapped. A file of
/// [`AlbertForPreTraining`](crate::AlbertForPreTraining) serves too.
///
/// Source: Devlin et al. 2018, §3.1; Lan et al. 2020, §3.1; transformers 4.46.3, `modeling_bert.py`,
/// `BertForNextSentencePrediction`.
#[doc(alias = "NSP")]
#[doc(alias = "BertForNextSentencePrediction")]
#[derive(Debug, Clone)]
pub struct AlbertForNextSentencePrediction {
    albert: AlbertModel,
    sentence_order: SentenceOrderHead,
}

impl AlbertForNextSentencePrediction {
    /// Creates the model on an encoder, which other models may share: takes
    /// `sop_classifier.classifier` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or the encoder has no pooler.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            sentence_order: SentenceOrderHead::new(albert.config(), vb)?,
            albert: albert.under(Head::NextSentence)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns logits `(B, 2)`, or `(B, labels)` for an ALBERT whose configuration names labels
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<HeadOutput> {
        let input = input.read_by_head(TokensRead::First);
        let output = self.albert.forward_t(&input, train)?;
        Ok(HeadOutput {
            logits: self
                .sentence_order
                .forward_t(AlbertModel::pooled(&output)?, train)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }
}

head!(
    AlbertForNextSentencePrediction,
    Head::NextSentence,
    HeadOutput
);

//! Sequence classification: labels or numbers for a whole text.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::dropout::dropout;
use crate::heads::{HeadOutput, head};
use crate::input::{ModelInput, TokensRead};
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::parameters::{CLASSIFIER, Head};

/// An ALBERT that classifies texts and pairs of texts, with one label, several labels, or a number.
///
/// ```text
/// logits = dropout(pooled) Wᵀ + b
/// ```
///
/// The network is the same for all three; `problem_type` determines whether a softmax, a sigmoid or
/// no function is applied to the logits.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertForSequenceClassification`.
#[derive(Debug, Clone)]
pub struct AlbertForSequenceClassification {
    albert: AlbertModel,
    classifier: Linear,
    dropout_prob: f64,
}

impl AlbertForSequenceClassification {
    /// Creates the model on an encoder, which other models may share: takes `classifier` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or the encoder has no pooler.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let config = albert.config();
        let (h, std) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            classifier: Linear::new(h, config.num_labels(), std, vb.pp(CLASSIFIER))?,
            dropout_prob: config
                .classifier_dropout_prob
                .unwrap_or(config.hidden_dropout_prob),
            albert: albert.under(Head::SequenceClassification)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns logits `(B, labels)`
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<HeadOutput> {
        let input = input.read_by_head(TokensRead::First);
        let output = self.albert.forward_t(&input, train)?;
        let pooled = dropout(AlbertModel::pooled(&output)?, self.dropout_prob, train)?;
        Ok(HeadOutput {
            logits: self.classifier.forward(&pooled)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }
}

head!(
    AlbertForSequenceClassification,
    Head::SequenceClassification,
    HeadOutput
);

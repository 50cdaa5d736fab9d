//! Token classification: a label for each token.

use candle_core::Result;
use candle_nn::VarBuilder;

use crate::dropout::dropout;
use crate::heads::{HeadOutput, head};
use crate::input::ModelInput;
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::parameters::{CLASSIFIER, Head};

/// An ALBERT that labels tokens, for named entity recognition for example.
///
/// ```text
/// logits = dropout(h) Wᵀ + b
/// ```
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertForTokenClassification`.
#[derive(Debug, Clone)]
pub struct AlbertForTokenClassification {
    albert: AlbertModel,
    classifier: Linear,
    dropout_prob: f64,
}

impl AlbertForTokenClassification {
    /// Creates the model on an encoder, which other models may share: takes `classifier` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let config = albert.config();
        let (h, std) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            classifier: Linear::new(h, config.num_labels(), std, vb.pp(CLASSIFIER))?,
            dropout_prob: config
                .classifier_dropout_prob
                .unwrap_or(config.hidden_dropout_prob),
            albert: albert.under(Head::TokenClassification)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns logits `(B, T, labels)`, or `(ΣT, labels)` for a ragged batch
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<HeadOutput> {
        let output = self.albert.forward_t(input, train)?;
        let hidden_states = dropout(&output.last_hidden_state, self.dropout_prob, train)?;
        Ok(HeadOutput {
            logits: self.classifier.forward(&hidden_states)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }
}

head!(
    AlbertForTokenClassification,
    Head::TokenClassification,
    HeadOutput
);

//! Multiple choice: scores several continuations of a text.

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::dropout::dropout;
use crate::heads::{HeadOutput, head};
use crate::input::{ModelInput, TokensRead};
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::parameters::{CLASSIFIER, Head};

/// An ALBERT that picks one of several choices, as in RACE and SWAG.
///
/// Each choice is a separate sequence, whose pooled output is scored by one weight vector.
///
/// ```text
/// logit of a choice = dropout(pooled) · w + b
/// ```
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertForMultipleChoice`.
#[derive(Debug, Clone)]
pub struct AlbertForMultipleChoice {
    albert: AlbertModel,
    classifier: Linear,
    dropout_prob: f64,
}

impl AlbertForMultipleChoice {
    /// Creates the model on an encoder, which other models may share: takes `classifier` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape, or the encoder has no pooler.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let config = albert.config();
        let (h, std) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            classifier: Linear::new(h, 1, std, vb.pp(CLASSIFIER))?,
            dropout_prob: config
                .classifier_dropout_prob
                .unwrap_or(config.hidden_dropout_prob),
            albert: albert.under(Head::MultipleChoice)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - `input`: `(B, choices, T)`; hidden states and attentions have `B × choices` rows
    /// - returns logits `(B, choices)`; for a ragged batch, whose sequences are the choices of a
    ///   single text, `(1, choices)`
    ///
    /// # Errors
    /// If the ids are not `(B, choices, T)`, and as [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<HeadOutput> {
        if let Some(lengths) = &input.lengths {
            return self.score(input, (1, lengths.len()), train);
        }
        let Ok((batch, choices, tokens)) = input.ids.dims3() else {
            bail!(
                "token ids: expected the shape (batch, choices, tokens), found {:?}",
                input.ids.dims()
            )
        };
        let rows = |tensor: &Tensor| match tensor.rank() {
            3 => tensor.reshape((batch * choices, tokens)),
            _ => Ok(tensor.clone()),
        };
        let flat = ModelInput {
            ids: rows(&input.ids)?,
            lengths: None,
            attention_mask: input.attention_mask.as_ref().map(rows).transpose()?,
            token_type_ids: input.token_type_ids.as_ref().map(rows).transpose()?,
            position_ids: input.position_ids.as_ref().map(rows).transpose()?,
            outputs: input.outputs,
            tokens_read: TokensRead::First,
        };
        self.score(&flat, (batch, choices), train)
    }

    /// Scores one choice per row and returns logits `(batch, choices)`.
    fn score(
        &self,
        input: &ModelInput,
        (batch, choices): (usize, usize),
        train: bool,
    ) -> Result<HeadOutput> {
        let output = self.albert.forward_t(input, train)?;
        let pooled = dropout(AlbertModel::pooled(&output)?, self.dropout_prob, train)?;
        Ok(HeadOutput {
            logits: self
                .classifier
                .forward(&pooled)?
                .reshape((batch, choices))?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }
}

head!(AlbertForMultipleChoice, Head::MultipleChoice, HeadOutput);

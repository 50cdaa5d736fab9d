//! Extractive question answering: predicts the start and the end of an answer in a context.

use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;

use crate::heads::head;
use crate::input::ModelInput;
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::parameters::{Head, SPANS};

/// An ALBERT that marks the answer to a question in its context, as in SQuAD.
///
/// ```text
/// (start, end) = h Wᵀ + b
/// ```
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertForQuestionAnswering`. Google's own
/// SQuAD 2 head, with a beam over starts, is not supported.
#[derive(Debug, Clone)]
pub struct AlbertForQuestionAnswering {
    albert: AlbertModel,
    spans: Linear,
}

/// The output of [`AlbertForQuestionAnswering`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct QuestionAnsweringOutput {
    /// The logits of each token as the answer's first, `(B, T)`, or `(ΣT)` for a ragged batch.
    pub start_logits: Tensor,
    /// The logits of each token as the answer's last, in the same shape.
    pub end_logits: Tensor,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub hidden_states: Option<Vec<Tensor>>,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub attentions: Option<Vec<Tensor>>,
}

impl AlbertForQuestionAnswering {
    /// Creates the model on an encoder, which other models may share: takes `qa_outputs` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let config = albert.config();
        let (h, std) = (config.hidden_size, config.initializer_range);
        Ok(Self {
            spans: Linear::new(h, 2, std, vb.pp(SPANS))?,
            albert: albert.under(Head::QuestionAnswering)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns `start_logits` and `end_logits`, `(B, T)`, or `(ΣT)` for a ragged batch
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<QuestionAnsweringOutput> {
        let output = self.albert.forward_t(input, train)?;
        let logits = self.spans.forward(&output.last_hidden_state)?; // (B, T, 2)
        let column = |index| {
            logits
                .narrow(D::Minus1, index, 1)?
                .squeeze(D::Minus1)?
                .contiguous()
        };
        Ok(QuestionAnsweringOutput {
            start_logits: column(0)?,
            end_logits: column(1)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }
}

head!(
    AlbertForQuestionAnswering,
    Head::QuestionAnswering,
    QuestionAnsweringOutput
);

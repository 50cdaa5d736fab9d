//! The heads of ALBERT, one file each, named as in transformers.

mod masked_lm;
mod multiple_choice;
mod next_sentence;
mod pretraining;
mod question_answering;
mod sequence_classification;
mod token_classification;

pub use masked_lm::AlbertForMaskedLM;
pub use multiple_choice::AlbertForMultipleChoice;
pub use next_sentence::AlbertForNextSentencePrediction;
pub use pretraining::{AlbertForPreTraining, PreTrainingOutput};
pub use question_answering::{AlbertForQuestionAnswering, QuestionAnsweringOutput};
pub use sequence_classification::AlbertForSequenceClassification;
pub use token_classification::AlbertForTokenClassification;

use candle_core::Tensor;

/// The logits of a head, and the requested intermediate results.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeadOutput {
    /// The head's logits, before any softmax; each head documents their shape.
    pub logits: Tensor,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub hidden_states: Option<Vec<Tensor>>,
    /// As in [`AlbertOutput`](crate::AlbertOutput).
    pub attentions: Option<Vec<Tensor>>,
}

/// Implements the functions that all heads have: `new`, access to the encoder, `forward`, and
/// [`Pretrained`](crate::Pretrained).
macro_rules! head {
    ($model:ident, $head:expr, $output:ty) => {
        impl $model {
            /// Creates the model: takes `albert`, and the tensors of
            /// [`from_encoder`](Self::from_encoder), from `vb`.
            ///
            /// # Errors
            /// If a tensor is missing or has another shape.
            pub fn new(
                config: &crate::AlbertConfig,
                vb: candle_nn::VarBuilder<'_>,
            ) -> candle_core::Result<Self> {
                Self::from_encoder(crate::AlbertModel::for_head($head, config, &vb)?, vb)
            }

            /// Returns the encoder under the head.
            pub fn albert(&self) -> &crate::AlbertModel {
                &self.albert
            }

            /// Returns the configuration of the model.
            pub fn config(&self) -> &crate::AlbertConfig {
                self.albert.config()
            }

            /// Returns the device of the weights.
            pub fn device(&self) -> &candle_core::Device {
                self.albert.device()
            }

            /// Runs the model for inference: the result carries no gradient.
            ///
            /// # Errors
            /// See [`forward_t`](Self::forward_t).
            pub fn forward(&self, input: &crate::ModelInput) -> candle_core::Result<$output> {
                self.forward_t(input, false)
            }
        }

        impl crate::Pretrained for $model {
            const HEAD: crate::Head = $head;

            fn new(
                config: &crate::AlbertConfig,
                vb: candle_nn::VarBuilder<'_>,
            ) -> candle_core::Result<Self> {
                Self::new(config, vb)
            }

            fn from_encoder(
                albert: crate::AlbertModel,
                vb: candle_nn::VarBuilder<'_>,
            ) -> candle_core::Result<Self> {
                Self::from_encoder(albert, vb)
            }
        }
    };
}
pub(crate) use head;

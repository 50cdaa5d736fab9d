//! Masked language modeling: predicts masked tokens.

use candle_core::{D, DType, Device, Module, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::activation::HiddenAct;
use crate::config::AlbertConfig;
use crate::heads::{HeadOutput, head};
use crate::input::{ModelInput, TokensRead};
use crate::layer_norm::LayerNorm;
use crate::linear::Linear;
use crate::model::AlbertModel;
use crate::outputs::Outputs;
use crate::parameters::{DECODER, Head, MASKED_LM, MASKED_LM_DENSE, MASKED_LM_NORM};
use crate::word_embeddings::{WordEmbeddings, look_up};

/// The head that maps hidden states to logits over the vocabulary.
///
/// ```text
/// logits = LayerNorm(act(h W + b)) Wordᵀ + bias
/// ```
///
/// `Word` is the word embedding table, unless `tie_word_embeddings` is false.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertMLMHead`.
#[derive(Debug, Clone)]
pub(super) struct MaskedLmHead {
    dense: Linear,
    activation: HiddenAct,
    norm: LayerNorm,
    /// The projection from E to the vocabulary.
    decoder: Linear,
}

impl MaskedLmHead {
    /// Takes `dense`, `LayerNorm`, `bias` and, if it is not tied, `decoder` from `vb`.
    pub(super) fn new(
        config: &AlbertConfig,
        word_embeddings: &WordEmbeddings,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let (e, h, v, std) = (
            config.embedding_size,
            config.hidden_size,
            config.vocab_size,
            config.initializer_range,
        );
        let bias = vb.get_with_hints(v, "bias", Init::Const(0.0))?;
        let decoder = if config.tie_word_embeddings {
            word_embeddings.decoder(bias)?
        } else {
            let init = Init::Randn {
                mean: 0.0,
                stdev: std,
            };
            Linear::from_shared(vb.pp(DECODER).get_with_hints((v, e), "weight", init)?, bias)?
        };
        Ok(Self {
            dense: Linear::new(h, e, std, vb.pp(MASKED_LM_DENSE))?,
            activation: config.hidden_act,
            norm: LayerNorm::new(e, config.layer_norm_eps, vb.pp(MASKED_LM_NORM))?,
            decoder,
        })
    }

    /// Computes the logits: `(…, H)` → `(…, V)`.
    pub(super) fn forward_t(&self, hidden_states: &Tensor, train: bool) -> Result<Tensor> {
        let transformed = self
            .activation
            .forward(&self.dense.forward(hidden_states)?)?;
        self.decoder
            .forward(&self.norm.forward_t(&transformed, train)?) // (…, E) → (…, V)
    }
}

/// An ALBERT that fills in masked tokens.
///
/// Source: Lan et al. 2020, §3.2; transformers 4.46.3, `modeling_albert.py`, `AlbertForMaskedLM`.
#[derive(Debug, Clone)]
pub struct AlbertForMaskedLM {
    albert: AlbertModel,
    predictions: MaskedLmHead,
}

impl AlbertForMaskedLM {
    /// Creates the model on an encoder, which other models may share: takes `predictions` from
    /// `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn from_encoder(albert: AlbertModel, vb: VarBuilder<'_>) -> Result<Self> {
        let word = albert.embeddings().word();
        Ok(Self {
            predictions: MaskedLmHead::new(albert.config(), word, vb.pp(MASKED_LM))?,
            albert: albert.under(Head::MaskedLm)?,
        })
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable.
    ///
    /// # Shapes
    /// - returns logits `(B, T, V)`, or `(ΣT, V)` for a ragged batch
    ///
    /// # Errors
    /// See [`AlbertModel::forward`].
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<HeadOutput> {
        let output = self.albert.forward_t(input, train)?;
        Ok(HeadOutput {
            logits: self
                .predictions
                .forward_t(&output.last_hidden_state, train)?,
            hidden_states: output.hidden_states,
            attentions: output.attentions,
        })
    }

    /// Computes the logits at some positions only. The decoder is the model's widest product, and
    /// for a few masks in a long batch this saves most of it.
    ///
    /// # Shapes
    /// - `positions`: `(P)`, u32, each `b × T + t` for token `t` of row `b`; in a ragged batch, the
    ///   index of the token
    /// - returns `(P, V)`
    ///
    /// # Errors
    /// See [`AlbertModel::forward`]; also if a position is outside the batch, which on a GPU is not
    /// checked.
    pub fn forward_at(&self, input: &ModelInput, positions: &Tensor) -> Result<Tensor> {
        self.forward_at_t(input, positions, false)
    }

    /// Like [`forward_at`](Self::forward_at); with `train`, dropout is active and the result is
    /// differentiable.
    ///
    /// # Errors
    /// See [`forward_at`](Self::forward_at).
    pub fn forward_at_t(
        &self,
        input: &ModelInput,
        positions: &Tensor,
        train: bool,
    ) -> Result<Tensor> {
        if input.outputs != Outputs::empty() {
            bail!(
                "`forward_at` only returns logits: use `forward` for hidden states and \
                 attentions"
            )
        }
        let is_readable =
            matches!(positions.device(), Device::Cpu) && positions.dtype() == DType::U32;
        let input = if is_readable {
            let read = positions.flatten_all()?.to_vec1()?;
            input.read_by_head(TokensRead::At(read))
        } else {
            input.clone()
        };
        let hidden_states = self.albert.forward_t(&input, train)?.last_hidden_state;
        let h = hidden_states.dim(D::Minus1)?;
        let rows = hidden_states.reshape((hidden_states.elem_count() / h, h))?;
        let chosen = look_up(&rows, positions, "position", "the batch")?; // (P, H)
        self.predictions.forward_t(&chosen, train)
    }

    /// Runs the head only, on hidden states of [`albert`](Self::albert), for inference.
    ///
    /// # Shapes
    /// - `hidden_states`: `(…, H)`
    /// - returns logits `(…, V)`
    ///
    /// # Errors
    /// If the last dimension is not `hidden_size`.
    pub fn decode(&self, hidden_states: &Tensor) -> Result<Tensor> {
        self.predictions.forward_t(hidden_states, false)
    }
}

head!(AlbertForMaskedLM, Head::MaskedLm, HeadOutput);

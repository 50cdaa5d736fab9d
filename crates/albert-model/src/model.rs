//! The bare model: embeddings, encoder and, if the checkpoint has one, the pooler.

use candle_core::{Device, Module, Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::embeddings::AlbertEmbeddings;
use crate::encoder::{AlbertEncoder, Layout};
use crate::input::ModelInput;
use crate::outputs::Trace;
use crate::parameters::{ALBERT, EMBEDDINGS, ENCODER, Head, POOLER};
use crate::pooler::AlbertPooler;
use crate::pretrained::Pretrained;
use crate::ragged::{self, Ragged};

/// An ALBERT without a head.
///
/// A clone shares the weights.
///
/// ```text
/// h = AlbertEncoder(AlbertEmbeddings(ids, types, positions), mask);   pooled = AlbertPooler(h)
/// ```
///
/// Source: Lan et al. 2020; transformers 4.46.3, `modeling_albert.py`, `AlbertModel`.
#[derive(Debug, Clone)]
pub struct AlbertModel {
    config: AlbertConfig,
    embeddings: AlbertEmbeddings,
    encoder: AlbertEncoder,
    pooler: Option<AlbertPooler>,
}

/// The output of [`AlbertModel`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AlbertOutput {
    /// The hidden states of the last layer, `(B, T, H)`, or `(ΣT, H)` for a ragged batch. They may
    /// be zero at tokens that [`with_tokens_read`](ModelInput::with_tokens_read) leaves out, and at
    /// padding unless [`Outputs::PADDING`](crate::Outputs::PADDING) or intermediate results were
    /// requested.
    pub last_hidden_state: Tensor,
    /// The pooled `[CLS]`, `(B, H)`, if the model has a pooler.
    pub pooler_output: Option<Tensor>,
    /// If requested, the projected embeddings, then the result of each layer call: `1 + L ×
    /// inner_group_num` tensors `(B, T, H)`.
    pub hidden_states: Option<Vec<Tensor>>,
    /// If requested, the attention probabilities of each layer call: `L × inner_group_num` tensors
    /// `(B, N, T, T)`.
    pub attentions: Option<Vec<Tensor>>,
}

impl AlbertOutput {
    /// Averages the hidden states of each sequence over its tokens, as sentence-transformers does.
    ///
    /// ```text
    /// y = Σ mask h / max(Σ mask, 1)
    /// ```
    ///
    /// # Shapes
    /// - `attention_mask`: `(B, T)` of the input, 0 for padding
    /// - returns `(B, H)`
    ///
    /// # Errors
    /// If the batch is ragged, or the mask has another shape.
    pub fn mean_pooled(&self, attention_mask: &Tensor) -> Result<Tensor> {
        let states = &self.last_hidden_state;
        let (_, _, _) = states.dims3()?;
        let mask = attention_mask.to_device(states.device())?;
        // Any value but 0 marks a token, with weight 1.
        let mask = mask.ne(&mask.zeros_like()?)?.to_dtype(states.dtype())?;
        let sums = states.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?; // (B, H)
        sums.broadcast_div(&mask.sum_keepdim(1)?.clamp(1f32, f32::MAX)?)
    }
}

impl AlbertModel {
    /// Creates a model with a pooler. `vb` is at the level of the model itself, in most files
    /// `albert`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let pooler_vb = vb.pp(POOLER);
        // Load the embeddings first, so that an empty `vb` is reported as missing embeddings rather
        // than as a missing pooler, which many checkpoints lack.
        let model = Self::without_pooler(config, vb)?;
        Ok(Self {
            pooler: Some(AlbertPooler::new(config, pooler_vb)?),
            ..model
        })
    }

    /// Creates a model without a pooler, as in checkpoints of masked LM, token classification and
    /// question answering.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn without_pooler(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        if let Err(error) = config.validate() {
            bail!("{error}")
        }
        Ok(Self {
            config: config.clone(),
            embeddings: AlbertEmbeddings::new(config, vb.pp(EMBEDDINGS))?,
            encoder: AlbertEncoder::new(config, vb.pp(ENCODER))?,
            pooler: None,
        })
    }

    /// Creates a model for a head, with a pooler if the head reads it. `vb` is at the root of the
    /// names.
    pub(crate) fn for_head(head: Head, config: &AlbertConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        if head.uses_pooler() {
            Self::new(config, vb.pp(ALBERT))
        } else {
            Self::without_pooler(config, vb.pp(ALBERT))
        }
    }

    /// Takes the pooler from `vb`, at the level of the model itself, unless the model has it.
    pub(crate) fn add_pooler(&mut self, vb: VarBuilder<'_>) -> Result<()> {
        if self.pooler.is_none() {
            self.pooler = Some(AlbertPooler::new(&self.config, vb.pp(POOLER))?);
        }
        Ok(())
    }

    /// Returns the model as a head uses it: with its pooler, or without a pooler whose output the
    /// head does not read.
    pub(crate) fn under(self, head: Head) -> Result<Self> {
        if !head.uses_pooler() {
            return Ok(Self {
                pooler: None,
                ..self
            });
        }
        if self.pooler.is_none() {
            bail!("{head}: expected an encoder with a pooler, found one without")
        }
        Ok(self)
    }

    /// Returns the configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// Returns the device of the weights.
    pub fn device(&self) -> &Device {
        self.embeddings.device()
    }

    /// Returns the embeddings.
    pub fn embeddings(&self) -> &AlbertEmbeddings {
        &self.embeddings
    }

    /// Returns the encoder.
    pub fn encoder(&self) -> &AlbertEncoder {
        &self.encoder
    }

    /// Runs the model for inference: the result carries no gradient.
    ///
    /// # Shapes
    /// - `input`: ids `(B, T)`
    /// - returns `last_hidden_state` `(B, T, H)`, `pooler_output` `(B, H)`
    ///
    /// # Errors
    /// If shapes do not match, an id is outside its table, or there are more tokens than positions.
    pub fn forward(&self, input: &ModelInput) -> Result<AlbertOutput> {
        self.forward_t(input, false)
    }

    /// Runs the model; with `train`, dropout is active and the result is differentiable in every
    /// weight.
    ///
    /// # Shapes
    /// See [`forward`](Self::forward).
    ///
    /// # Errors
    /// See [`forward`](Self::forward).
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<AlbertOutput> {
        let is_plain = !train && input.outputs.is_empty();
        match &input.lengths {
            Some(lengths) => {
                ragged::check(input, lengths)?;
                if !is_plain {
                    bail!(
                        "a ragged batch is for inference without intermediate results: expected a \
                         padded one"
                    )
                }
                self.forward_ragged(input, lengths)
            }
            None => {
                let shape = check_padded(input)?;
                self.embeddings.check(input)?;
                let ragged = if is_plain && self.encoder.takes_ragged() {
                    let mask = input.attention_mask.as_ref();
                    Ragged::from_mask(mask, shape, self.pooler.is_some(), self.device())?
                } else {
                    None
                };
                match ragged {
                    Some(ragged) => self.forward_unpadded(input, &ragged),
                    None => self.forward_padded(input, train),
                }
            }
        }
    }

    /// Computes a padded batch, padding included.
    fn forward_padded(&self, input: &ModelInput, train: bool) -> Result<AlbertOutput> {
        let mut trace = Trace::new(input.outputs);
        let embeddings = self.embeddings.forward_t(input, train)?; // (B, T, E)
        let mask = ragged::mask_for_scores(input, &embeddings)?;
        let layout = Layout::Padded {
            mask: mask.as_ref(),
            trace: &mut trace,
            train,
        };
        let last_hidden_state = self.encoder.forward(&embeddings, layout)?; // (B, T, H)
        let pool = |pooler: &AlbertPooler| pooler.forward(&last_hidden_state);
        Ok(AlbertOutput {
            pooler_output: self.pooler.as_ref().map(pool).transpose()?,
            last_hidden_state,
            hidden_states: trace.hidden_states,
            attentions: trace.attentions,
        })
    }

    /// Computes a padded batch without its padding, whose hidden states are then 0.
    fn forward_unpadded(&self, input: &ModelInput, ragged: &Ragged) -> Result<AlbertOutput> {
        let read = ragged.tokens_read(input, self.pooler.is_some())?;
        let output = self.forward_joined(&ragged.unpadded_input(input)?, ragged, read)?;
        Ok(AlbertOutput {
            last_hidden_state: ragged.pad(&output.last_hidden_state)?,
            ..output
        })
    }

    /// Computes a ragged batch, on a padded copy if the encoder only takes padded batches.
    fn forward_ragged(&self, input: &ModelInput, lengths: &[usize]) -> Result<AlbertOutput> {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        if input.position_ids.is_none() && longest > self.config.max_position_embeddings {
            bail!(
                "a sequence of {longest} tokens is longer than the model's {} positions",
                self.config.max_position_embeddings
            )
        }
        if self.encoder.takes_ragged() {
            let ragged = Ragged::joined(lengths, self.device())?;
            let read = ragged.tokens_read(input, self.pooler.is_some())?;
            return self.forward_joined(&ragged.joined_input(input)?, &ragged, read);
        }
        let ragged = Ragged::padded(lengths, self.device())?;
        let output = self.forward_padded(&ragged.padded_input(input)?, false)?;
        Ok(AlbertOutput {
            last_hidden_state: ragged.unpad(&output.last_hidden_state)?,
            ..output
        })
    }

    /// Computes the tokens of all sequences, given as one: ids `(1, ΣT)` → hidden states `(ΣT, H)`,
    /// of which those of the tokens of each sequence that are read, or all.
    fn forward_joined(
        &self,
        input: &ModelInput,
        ragged: &Ragged,
        read: Option<Vec<Vec<usize>>>,
    ) -> Result<AlbertOutput> {
        let embeddings = self.embeddings.forward_t(input, false)?.squeeze(0)?; // (ΣT, E)
        let layout = Layout::Ragged {
            sequences: &ragged.sequences,
            read: read.as_deref(),
        };
        let last_hidden_state = self.encoder.forward(&embeddings, layout)?; // (ΣT, H)
        let pool = |pooler: &AlbertPooler| {
            pooler.forward_first(&ragged.sequences.first_rows(&last_hidden_state)?)
        };
        Ok(AlbertOutput {
            pooler_output: self.pooler.as_ref().map(pool).transpose()?,
            last_hidden_state,
            hidden_states: None,
            attentions: None,
        })
    }

    /// Returns the pooled output of a model created with [`new`](Self::new).
    pub(crate) fn pooled(output: &AlbertOutput) -> Result<&Tensor> {
        match &output.pooler_output {
            Some(pooled) => Ok(pooled),
            None => bail!("this model has no pooler"),
        }
    }
}

/// Checks the shapes of a padded batch's ids and mask, and returns `(B, T)`.
fn check_padded(input: &ModelInput) -> Result<(usize, usize)> {
    let ids = input.ids.dims();
    let Ok((batch, tokens)) = input.ids.dims2() else {
        bail!("token ids: expected the shape (batch, tokens), found {ids:?}")
    };
    if tokens == 0 {
        bail!("token ids: expected at least one token in a sequence, found {ids:?}")
    }
    if let Some(mask) = &input.attention_mask
        && mask.dims() != ids
    {
        let mask = mask.dims();
        bail!("attention mask: expected the shape of the token ids, {ids:?}, found {mask:?}")
    }
    Ok((batch, tokens))
}

impl Pretrained for AlbertModel {
    const HEAD: Head = Head::Encoder;

    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Self::new(config, vb)
    }

    fn from_encoder(albert: AlbertModel, _: VarBuilder<'_>) -> Result<Self> {
        Ok(albert)
    }
}

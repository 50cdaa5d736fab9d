//! The bare model: embeddings, encoder and, where there is one, the pooler.

use candle_core::{Device, Module, Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::checkpoint::{Checkpoint, LoadOptions, LoadReport};
use crate::config::AlbertConfig;
use crate::embeddings::AlbertEmbeddings;
use crate::encoder::AlbertEncoder;
use crate::error::Result as LoadResult;
use crate::input::ModelInput;
use crate::mask::additive_mask;
use crate::outputs::Trace;
use crate::packing::Packing;
use crate::parameters::Head;
use crate::pooler::AlbertPooler;
use crate::pretrained::{Pretrained, prepared};

/// An ALBERT without a head.
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

/// What [`AlbertModel`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct AlbertOutput {
    /// The hidden states of the last layer, `(B, T, H)`. At padding there may be zeros, unless
    /// [`Outputs::PADDING`](crate::Outputs::PADDING) or intermediate results were asked for.
    pub last_hidden_state: Tensor,
    /// The pooled `[CLS]`, `(B, H)`, where the model has a pooler.
    pub pooler_output: Option<Tensor>,
    /// The projected embeddings, then the result of each layer call: `1 + L × inner_group_num`
    /// tensors `(B, T, H)`, where they were asked for.
    pub hidden_states: Option<Vec<Tensor>>,
    /// The attention probabilities of each layer call: `L × inner_group_num` tensors
    /// `(B, N, T, T)`, where they were asked for.
    pub attentions: Option<Vec<Tensor>>,
}

impl AlbertModel {
    /// A model with a pooler. `vb` is at the model's own level, in most files `albert`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let of_pooler = vb.pp("pooler");
        // First: where nothing is found under `vb`, the embeddings are named, and not the pooler
        // that many lack.
        let model = Self::without_pooler(config, vb)?;
        Ok(Self {
            pooler: Some(AlbertPooler::new(config, of_pooler)?),
            ..model
        })
    }

    /// A model without a pooler, as masked-LM, token classification and question answering
    /// checkpoints have it.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn without_pooler(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        if let Err(error) = config.validate() {
            bail!("{error}")
        }
        Ok(Self {
            config: config.clone(),
            embeddings: AlbertEmbeddings::new(config, vb.pp("embeddings"))?,
            encoder: AlbertEncoder::new(config, vb.pp("encoder"))?,
            pooler: None,
        })
    }

    /// The configuration it was made from.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// Where its weights are.
    pub fn device(&self) -> &Device {
        self.embeddings.device()
    }

    /// The embeddings.
    pub fn embeddings(&self) -> &AlbertEmbeddings {
        &self.embeddings
    }

    /// The encoder.
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
    /// If shapes do not fit, an id is outside its table or there are more tokens than positions.
    pub fn forward(&self, input: &ModelInput) -> Result<AlbertOutput> {
        self.forward_t(input, false)
    }

    /// Runs the model; with `train`, with dropout and differentiable in every weight.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward).
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<AlbertOutput> {
        let Ok((batch, tokens)) = input.ids.dims2() else {
            bail!(
                "token ids: expected the shape (batch, tokens), found {:?}",
                input.ids.dims()
            )
        };
        if tokens == 0 {
            bail!(
                "token ids: expected at least one token in a sequence, found {:?}",
                input.ids.dims()
            )
        }
        self.embeddings.check(input)?;
        let mask = input.attention_mask.as_ref();
        if let Some(mask) = mask
            && mask.dims() != input.ids.dims()
        {
            let (ids, mask) = (input.ids.dims(), mask.dims());
            bail!("attention mask: expected the shape of the token ids, {ids:?}, found {mask:?}")
        }
        let mut trace = Trace::new(input.outputs);
        let packing = match input.outputs.is_empty() && !train {
            true => Packing::new(mask, (batch, tokens), self.pooler.is_some())?,
            false => None,
        };
        let without_padding = match &packing {
            Some(packing) => self.forward_without_padding(input, packing)?,
            None => None,
        };
        let last_hidden_state = match without_padding {
            Some(hidden_states) => hidden_states,
            None => {
                let embeddings = self.embeddings.forward_t(input, train)?; // (B, T, E)
                let additive = |mask: &Tensor| {
                    additive_mask(&mask.to_device(embeddings.device())?, embeddings.dtype())
                };
                let mask = mask.map(additive).transpose()?;
                self.encoder
                    .forward_traced(&embeddings, mask.as_ref(), &mut trace, train)?
            }
        }; // (B, T, H)
        let pooler_output = match &self.pooler {
            Some(pooler) => Some(pooler.forward(&last_hidden_state)?),
            None => None,
        };
        Ok(AlbertOutput {
            last_hidden_state,
            pooler_output,
            hidden_states: trace.hidden_states,
            attentions: trace.attentions,
        })
    }

    /// The hidden states by a path that computes no padding, `(B, T, H)` and 0 there; `None` where
    /// none serves.
    fn forward_without_padding(
        &self,
        input: &ModelInput,
        packing: &Packing,
    ) -> Result<Option<Tensor>> {
        if self.encoder.takes_packed() {
            let packed = packing.on(self.device())?;
            let embeddings = self
                .embeddings
                .forward_t(&packed.input(input)?, false)?
                .squeeze(0)?; // (ΣT, E)
            let hidden_states = self
                .encoder
                .forward_packed(&embeddings, &packed.sequences)?;
            return hidden_states
                .map(|hidden_states| packed.unpack(&hidden_states))
                .transpose();
        }
        let embeddings = || self.embeddings.forward_t(input, false);
        self.encoder
            .fused()
            .map(|fused| fused.forward(&embeddings()?, packing))
            .transpose()
    }

    /// The pooled output of a model made with [`new`](Self::new).
    pub(crate) fn pooled(output: &AlbertOutput) -> Result<&Tensor> {
        match &output.pooler_output {
            Some(pooled) => Ok(pooled),
            None => bail!("this model has no pooler"),
        }
    }
}

impl Pretrained for AlbertModel {
    const HEAD: Head = Head::Encoder;

    fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        Self::new(config, vb)
    }

    /// The pooler comes along where the checkpoint has one; else it is reported as missing and
    /// the pooled output is `None`.
    fn load(checkpoint: &Checkpoint, options: &LoadOptions) -> LoadResult<(Self, LoadReport)> {
        let report = checkpoint.check(Head::Encoder)?;
        let vb = prepared(checkpoint, options)?
            .var_builder(options)?
            .pp("albert");
        let config = checkpoint.config();
        let model = if checkpoint.has_pooler() {
            Self::new(config, vb)?
        } else {
            Self::without_pooler(config, vb)?
        };
        Ok((model, report))
    }
}

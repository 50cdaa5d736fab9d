//! Factorized embeddings: tables of width E, which the encoder projects to H (paper §3.1).

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::input::ModelInput;
use crate::layer_norm::LayerNorm;
use crate::parameters::EMBEDDING_NORM;
use crate::word_embeddings::{WordEmbeddings, look_up};

/// Word, position and token type embeddings.
///
/// ```text
/// y = dropout(LayerNorm(word[ids] + position[positions] + token_type[types]))
/// ```
///
/// Source: Lan et al. 2020, §3.1; transformers 4.46.3, `modeling_albert.py`, `AlbertEmbeddings`.
#[derive(Debug, Clone)]
pub struct AlbertEmbeddings {
    word: WordEmbeddings,
    position: Tensor,
    token_type: Tensor,
    norm: LayerNorm,
    dropout_prob: f64,
}

impl AlbertEmbeddings {
    /// Takes `word_embeddings`, `position_embeddings`, `token_type_embeddings` and `LayerNorm`
    /// from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn {
            mean: 0.0,
            stdev: config.initializer_range,
        };
        let table = |name: &str, rows: usize| {
            vb.pp(name)
                .get_with_hints((rows, config.embedding_size), "weight", init)
        };
        Ok(Self {
            word: WordEmbeddings::new(config, vb.pp("word_embeddings"))?,
            position: table("position_embeddings", config.max_position_embeddings)?,
            token_type: table("token_type_embeddings", config.type_vocab_size)?,
            norm: LayerNorm::new(
                config.embedding_size,
                config.layer_norm_eps,
                vb.pp(EMBEDDING_NORM),
            )?,
            dropout_prob: config.hidden_dropout_prob,
        })
    }

    /// Returns the word embedding table, `(V, E)`, which is also the tied decoder of the masked-LM
    /// head. If it is stored in 8 bits, this is a copy in f32.
    ///
    /// # Errors
    /// If there is no memory for the copy.
    pub fn word_embeddings(&self) -> Result<Tensor> {
        self.word.table()
    }

    /// Returns the word embeddings as they are stored.
    pub(crate) fn word(&self) -> &WordEmbeddings {
        &self.word
    }

    /// Returns the device of the tables.
    pub(crate) fn device(&self) -> &Device {
        self.position.device()
    }

    /// Looks up the embeddings of tokens. By default token types are 0 and positions count from 0.
    ///
    /// # Shapes
    /// - `input.ids`: `(B, T)`
    /// - returns `(B, T, E)`
    ///
    /// # Errors
    /// If the shapes differ, if there are more tokens than positions, or if an id is outside its
    /// table. On a GPU ids are not checked, because that would wait for the device.
    pub fn forward_t(&self, input: &ModelInput, train: bool) -> Result<Tensor> {
        self.check(input)?;
        let (_, tokens) = input.ids.dims2()?;
        let mut sum = self.word.look_up(&input.ids)?; // (B, T, E)

        sum = match &input.token_type_ids {
            Some(types) => {
                (sum + look_up(
                    &self.token_type,
                    types,
                    "token type id",
                    "`type_vocab_size`",
                )?)?
            }
            None => sum.broadcast_add(&self.token_type.get(0)?)?,
        };

        sum = match &input.position_ids {
            Some(positions) => {
                let embedded = look_up(
                    &self.position,
                    positions,
                    "position id",
                    "`max_position_embeddings`",
                )?;
                sum.broadcast_add(&embedded)?
            }
            None => sum.broadcast_add(&self.position.narrow(0, 0, tokens)?)?,
        };
        dropout(&self.norm.forward_t(&sum, train)?, self.dropout_prob, train)
    }

    /// Checks that the shapes match and that there are positions for all tokens.
    pub(crate) fn check(&self, input: &ModelInput) -> Result<()> {
        let (_, tokens) = input.ids.dims2()?;
        if let Some(types) = &input.token_type_ids {
            same_shape(types, &input.ids, "token type ids")?;
        }
        let max_tokens = self.position.dim(0)?;
        match &input.position_ids {
            Some(positions) if positions.dims() == [tokens] => Ok(()),
            Some(positions) => same_shape(positions, &input.ids, "position ids"),
            None if tokens > max_tokens => {
                bail!(
                    "a sequence of {tokens} tokens is longer than the model's {max_tokens} positions"
                )
            }
            None => Ok(()),
        }
    }
}

fn same_shape(tensor: &Tensor, ids: &Tensor, what: &str) -> Result<()> {
    if tensor.dims() != ids.dims() {
        bail!(
            "{what}: expected the shape of the token ids, {:?}, found {:?}",
            ids.dims(),
            tensor.dims()
        )
    }
    Ok(())
}

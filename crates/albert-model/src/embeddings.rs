//! Factorized embeddings: tables of width E, which the encoder projects to H (paper §3.1).

use candle_core::{Device, Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::config::AlbertConfig;
use crate::dropout::dropout;
use crate::input::ModelInput;
use crate::layer_norm::{LayerNorm, NormConstants, is_constant};
use crate::parameters::EMBEDDING_NORM;
use crate::token_embeddings::{Token, TokenEmbeddings};
use crate::word_embeddings::{TOKEN_ID, WordEmbeddings, indices, look_up};

/// The names of the other ids in messages, and of the tables whose rows they count.
const TOKEN_TYPE_ID: (&str, &str) = ("token type id", "`type_vocab_size`");
const POSITION_ID: (&str, &str) = ("position id", "`max_position_embeddings`");

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
    /// The norm's constants, if the tables are on the CPU and no variables.
    constants: Option<NormConstants>,
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
        let word = WordEmbeddings::new(config, vb.pp("word_embeddings"))?;
        let position = table("position_embeddings", config.max_position_embeddings)?;
        let token_type = table("token_type_embeddings", config.type_vocab_size)?;
        let norm = LayerNorm::new(
            config.embedding_size,
            config.layer_norm_eps,
            vb.pp(EMBEDDING_NORM),
        )?;
        let are_constant = word.is_constant() && is_constant(&position) && is_constant(&token_type);
        let constants = if are_constant {
            norm.constants()?
        } else {
            None
        };
        Ok(Self {
            word,
            position,
            token_type,
            norm,
            constants,
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
        match &self.constants {
            Some(norm) if !train && matches!(input.ids.device(), Device::Cpu) => {
                self.forward_fused(input, norm)
            }
            _ => self.forward_eager(input, train),
        }
    }

    /// Looks up the embeddings by Candle's operations: `(B, T)` → `(B, T, E)`.
    fn forward_eager(&self, input: &ModelInput, train: bool) -> Result<Tensor> {
        let (_, tokens) = input.ids.dims2()?;
        let mut sum = self.word.look_up(&input.ids)?; // (B, T, E)

        sum = match &input.token_type_ids {
            Some(types) => {
                (sum + look_up(&self.token_type, types, TOKEN_TYPE_ID.0, TOKEN_TYPE_ID.1)?)?
            }
            None => sum.broadcast_add(&self.token_type.get(0)?)?,
        };

        sum = match &input.position_ids {
            Some(positions) => {
                let embedded = look_up(&self.position, positions, POSITION_ID.0, POSITION_ID.1)?;
                sum.broadcast_add(&embedded)?
            }
            None => sum.broadcast_add(&self.position.narrow(0, 0, tokens)?)?,
        };
        dropout(&self.norm.forward_t(&sum, train)?, self.dropout_prob, train)
    }

    /// Looks up the embeddings on the CPU, in one pass over memory: `(B, T)` → `(B, T, E)`.
    fn forward_fused(&self, input: &ModelInput, norm: &NormConstants) -> Result<Tensor> {
        let (batch, tokens) = input.ids.dims2()?;
        let rows = |ids: &Tensor, table: usize, (what, of)| indices(ids, table, what, of);
        let (vocabulary, width) = self.word.dims()?;
        let ids = rows(&input.ids, vocabulary, TOKEN_ID)?;
        let types = match &input.token_type_ids {
            Some(types) => rows(types, self.token_type.dim(0)?, TOKEN_TYPE_ID)?,
            None => vec![0; ids.len()],
        };
        let positions = match &input.position_ids {
            Some(positions) => rows(positions, self.position.dim(0)?, POSITION_ID)?,
            None => (0..tokens).collect(),
        };
        // Positions of one row hold for every row.
        let indices = ids
            .into_iter()
            .zip(types)
            .zip(positions.into_iter().cycle());
        let all: Vec<_> = indices
            .map(|((id, kind), position)| Token { id, kind, position })
            .collect();
        let embeddings = TokenEmbeddings {
            word: &self.word,
            token_type: &self.token_type,
            position: &self.position,
            norm,
        };
        let values = embeddings.forward(&all)?;
        Tensor::from_vec(values, (batch, tokens, width), &Device::Cpu)
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use candle_core::DType;

    use super::*;

    const VOCABULARY: usize = 50;
    /// No multiple of a vector, and more than a block of scales.
    const WIDTH: usize = 301;
    const POSITIONS: usize = 9;

    /// Tables of random values, whose word embeddings are stored in each way.
    fn tables() -> Result<Vec<AlbertEmbeddings>> {
        let config = AlbertConfig {
            vocab_size: VOCABULARY,
            embedding_size: WIDTH,
            max_position_embeddings: POSITIONS,
            type_vocab_size: 2,
            ..AlbertConfig::default()
        };
        let cpu = &Device::Cpu;
        let random = |shape: &[usize]| Tensor::randn(0f32, 1.0, shape, cpu);
        let none = Tensor::zeros(0, DType::U32, cpu)?;
        let word = random(&[VOCABULARY, WIDTH])?;
        let bytes = ((&word * 40.0)? + 128.0)?
            .clamp(0.0, 255.0)?
            .to_dtype(DType::U8)?;
        let stored: [&[(&str, Tensor)]; 4] = [
            &[("weight", word.clone())],
            &[("weight", word.clone()), ("weight_f16", none.clone())],
            &[("weight", word.clone()), ("weight_bf16", none.clone())],
            &[
                ("weight", bytes),
                ("weight_scale", random(&[VOCABULARY, 2])?.abs()?),
                ("weight_rotation", none.clone()),
                ("weight_outlier_channels", none.clone()),
            ],
        ];
        let others = [
            ("position_embeddings.weight", random(&[POSITIONS, WIDTH])?),
            ("token_type_embeddings.weight", random(&[2, WIDTH])?),
            ("LayerNorm.weight", random(&[WIDTH])?),
            ("LayerNorm.bias", random(&[WIDTH])?),
        ];
        let table = |stored: &[(&str, Tensor)]| {
            let word = |(name, tensor): &(&str, Tensor)| {
                (format!("word_embeddings.{name}"), tensor.clone())
            };
            let others = others.iter().cloned();
            let tensors: HashMap<_, _> = stored
                .iter()
                .map(word)
                .chain(others.map(|(name, tensor)| (name.to_string(), tensor)))
                .collect();
            AlbertEmbeddings::new(&config, VarBuilder::from_tensors(tensors, DType::F32, cpu))
        };
        stored.into_iter().map(table).collect()
    }

    fn inputs() -> Result<Vec<ModelInput>> {
        let cpu = &Device::Cpu;
        let ids = Tensor::new(&[[2u32, 49, 7, 0, 3], [2, 8, 8, 3, 0]], cpu)?;
        let types = Tensor::new(&[[0u8, 0, 1, 1, 1], [0, 1, 0, 1, 0]], cpu)?;
        let positions = Tensor::new(&[[0i64, 8, 2, 2, 1], [4, 3, 2, 1, 0]], cpu)?;
        let plain = ModelInput::new(ids);
        Ok(vec![
            plain.clone(),
            plain.clone().with_token_type_ids(types.clone()),
            plain.clone().with_position_ids(positions.get(0)?),
            plain
                .with_token_type_ids(types)
                .with_position_ids(positions),
        ])
    }

    #[test]
    fn one_pass_has_the_bits_of_separate_operations() -> Result<()> {
        for embeddings in tables()? {
            let norm = embeddings.constants.as_ref().expect("constants");
            for input in inputs()? {
                let fused = embeddings.forward_fused(&input, norm)?;
                let eager = embeddings.forward_eager(&input, false)?;
                assert_eq!(fused.dims(), [2, 5, WIDTH]);
                assert_eq!(fused.to_vec3::<f32>()?, eager.to_vec3::<f32>()?);
            }
        }
        Ok(())
    }

    #[test]
    fn an_index_outside_its_table_is_the_error_of_separate_operations() -> Result<()> {
        let embeddings = &tables()?[0];
        let norm = embeddings.constants.as_ref().expect("constants");
        let cpu = &Device::Cpu;
        let ids = |id: i64| Tensor::new(&[[2i64, id]], cpu);
        let wrong = [
            ModelInput::new(ids(50)?),
            ModelInput::new(ids(-1)?),
            ModelInput::new(ids(3)?).with_token_type_ids(ids(2)?),
            ModelInput::new(ids(3)?).with_position_ids(ids(9)?),
            ModelInput::new(Tensor::new(&[[1f32, 2.0]], cpu)?),
        ];
        for input in wrong {
            // Without the backtrace that Candle appends.
            let message = |result: Result<Tensor>| {
                let error = result.expect_err("an error").to_string();
                error.lines().next().map(str::to_string)
            };
            let fused = message(embeddings.forward_fused(&input, norm));
            assert_eq!(fused, message(embeddings.forward_eager(&input, false)));
        }
        Ok(())
    }
}

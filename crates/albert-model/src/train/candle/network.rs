//! The network by Candle's operations, all of them differentiable.

use std::ops::Range;

use albert_kernels::InstructionSet;
use albert_kernels::training::DropoutKey;
use candle_core::{D, DType, Device, Module, Tensor};

use crate::config::AlbertConfig;
use crate::layer_norm::LayerNorm;
use crate::train::candle::chunk::Chunk;
use crate::train::candle::head::TensorHead;
use crate::train::candle::variables::Variables;
use crate::train::candle::{Part, Records};
use crate::train::error::Result;
use crate::train::network::{Dense, Layer, Network, Norm};
use crate::train::objective::Objective;
use crate::train::options::Dropout;
use crate::train::slot::Purpose;

/// The network of a step.
pub(super) struct TensorNetwork<'a> {
    pub(super) config: &'a AlbertConfig,
    pub(super) network: &'a Network,
    pub(super) variables: &'a Variables<'a>,
    pub(super) dtype: DType,
    pub(super) dropout: Dropout,
    /// Of the step.
    pub(super) key: DropoutKey,
    pub(super) instructions: InstructionSet,
    pub(super) device: &'a Device,
}

/// A stretch of values that one key drops out.
pub(super) struct Masked {
    pub(super) key: DropoutKey,
    /// The counter of the first value.
    pub(super) first: usize,
    /// The place of the values in the tensor.
    pub(super) at: Range<usize>,
}

impl TensorNetwork<'_> {
    /// Returns the vectors that each objective compares, of the chunk's sequences.
    pub(super) fn vectors(&self, chunk: &Chunk<'_>, objectives: &[&dyn Objective]) -> Result<Part> {
        let states = self.states(chunk)?;
        let mut vectors = Vec::new();
        for (index, objective) in objectives.iter().enumerate() {
            let head = self.head(chunk, &states, index);
            vectors.push(match objective.vectors() {
                Some(of_vectors) => {
                    let pooled = of_vectors.pool_tensors(&head)?;
                    pooled.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?
                }
                None => Vec::new(),
            });
        }
        let losses = Vec::new();
        Ok(Part { losses, vectors })
    }

    /// Returns the losses of all objectives, and their sum with its graph.
    pub(super) fn losses(
        &self,
        chunk: &Chunk<'_>,
        objectives: &[&dyn Objective],
        vector_gradients: &[Option<Tensor>],
        recorded: Option<&Records>,
    ) -> Result<(Part, Option<Tensor>)> {
        let states = self.states(chunk)?;
        let (mut losses, mut sum) = (Vec::new(), None::<Tensor>);
        for (index, objective) in objectives.iter().enumerate() {
            let mut head = self.head(chunk, &states, index);
            head.vector_gradients = vector_gradients[index].as_ref();
            head.recorded = recorded;
            let loss = objective.tensor_loss(&head)?;
            let mut counted = loss.counts;
            if let Some(value) = loss.value {
                if objective.vectors().is_none() {
                    counted.loss = value.to_dtype(DType::F64)?.to_scalar()?;
                }
                let value = value.to_dtype(DType::F64)?;
                sum = Some(match sum {
                    Some(sum) => (sum + value)?,
                    None => value,
                });
            }
            losses.push(counted);
        }
        let vectors = Vec::new();
        Ok((Part { losses, vectors }, sum))
    }

    fn head<'a>(
        &'a self,
        chunk: &'a Chunk<'a>,
        states: &'a [Tensor],
        objective: usize,
    ) -> TensorHead<'a> {
        TensorHead {
            step: self,
            chunk,
            states,
            objective,
            vector_gradients: None,
            recorded: None,
        }
    }

    /// Returns the projected embeddings, then the states after each repetition, each `(B T, H)`.
    fn states(&self, chunk: &Chunk<'_>) -> Result<Vec<Tensor>> {
        let (e, network) = (self.config.embedding_size, self.network);
        let table = |range: &Range<usize>| {
            let shape = [range.len() / e, e];
            self.variables.get(range, &shape, self.dtype)
        };
        let words = table(&network.words)?.index_select(&chunk.ids, 0)?; // (B T, E)
        let types = table(&network.types)?.index_select(&chunk.types, 0)?;
        let positions = table(&network.positions)?.narrow(0, 0, chunk.width)?; // (T, E)
        let shape = (chunk.sequences.len(), chunk.width, e);
        let sum = (words + types)?
            .reshape(shape)?
            .broadcast_add(&positions)?
            .reshape((chunk.padded_tokens(), e))?;
        let normed = self.norm(&network.embedding_norm, &sum)?;
        let embeddings = self.drop_out_rows(chunk, &normed, Purpose::Embeddings)?;
        let mut hidden = match &network.projection {
            Some(projection) => self.dense(projection, &embeddings)?, // (B T, H)
            None => embeddings,
        };
        let mut states = vec![hidden.clone()];
        let in_group = network.schedule.len() / network.repetitions;
        for (index, layer) in network.schedule.iter().enumerate() {
            hidden = self.layer(chunk, &network.layers[*layer], index, &hidden)?;
            if (index + 1).is_multiple_of(in_group) {
                states.push(hidden.clone());
            }
        }
        Ok(states)
    }

    fn layer(&self, chunk: &Chunk<'_>, layer: &Layer, index: usize, xs: &Tensor) -> Result<Tensor> {
        let context = self.attention(chunk, layer, index, xs)?;
        let output = self.dense(&layer.attention_output, &context)?;
        let output =
            self.drop_out_rows(chunk, &output, Purpose::AttentionOutput { layer: index })?;
        let attended = self.norm(&layer.attention_norm, &(xs + output)?)?;
        let inner = self.activate(&self.dense(&layer.inner, &attended)?)?; // (B T, I)
        let output = self.dense(&layer.output, &inner)?;
        let output = self.drop_out_rows(chunk, &output, Purpose::FeedForward { layer: index })?;
        self.norm(&layer.norm, &(attended + output)?)
    }

    /// `dropout(softmax(Q Kᵀ / √D + M)) V`, `(B T, H)`
    fn attention(
        &self,
        chunk: &Chunk<'_>,
        layer: &Layer,
        index: usize,
        xs: &Tensor,
    ) -> Result<Tensor> {
        let (b, t) = (chunk.sequences.len(), chunk.width);
        let (n, d) = (self.config.num_attention_heads, self.config.head_size());
        let query = self.dense(&layer.query, xs)?.reshape((b, t, n, d))?;
        let query = query.transpose(1, 2)?.contiguous()?; // (B, N, T, D)
        let both = self.dense(&layer.key_value, xs)?.reshape((b, t, 2, n, d))?;
        let both = both.permute((2, 0, 3, 1, 4))?.contiguous()?;
        let (key, value) = (both.get(0)?, both.get(1)?);
        let query = (query / (d as f64).sqrt())?;
        let scores = self.wide(&query.matmul(&key.t()?)?)?; // (B, N, T, T)
        let scores = match &chunk.mask {
            Some(mask) => scores.broadcast_add(&mask.to_dtype(scores.dtype())?)?,
            None => scores,
        };
        let weights = candle_nn::ops::softmax(&scores, D::Minus1)?.to_dtype(self.dtype)?;
        let weights = self.drop_out_probabilities(chunk, &weights, index)?;
        let context = weights.matmul(&value)?.transpose(1, 2)?; // (B, T, N, D)
        Ok(context.reshape((b * t, n * d))?)
    }

    /// `y = x Wᵀ + b`, `(n, in)` → `(n, out)`
    pub(super) fn dense(&self, dense: &Dense, xs: &Tensor) -> Result<Tensor> {
        let weight = [dense.out, dense.input];
        let weight = self.variables.get(&dense.weight, &weight, self.dtype)?;
        let bias = self.variables.get(&dense.bias, &[dense.out], self.dtype)?;
        Ok(xs.matmul(&weight.t()?)?.broadcast_add(&bias)?)
    }

    /// Computes layer norm over the last dimension, in f32 at least.
    pub(super) fn norm(&self, norm: &Norm, xs: &Tensor) -> Result<Tensor> {
        let width = [norm.gamma.len()];
        let dtype = self.wide_dtype();
        let gamma = self.variables.get(&norm.gamma, &width, dtype)?;
        let beta = self.variables.get(&norm.beta, &width, dtype)?;
        let norm = LayerNorm::from_tensors(gamma, beta, self.config.layer_norm_eps);
        Ok(norm.forward_t(xs, true)?)
    }

    pub(super) fn activate(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(self.config.hidden_act.forward(xs)?)
    }

    fn wide_dtype(&self) -> DType {
        match self.dtype {
            DType::BF16 => DType::F32,
            dtype => dtype,
        }
    }

    /// Returns values in f32 at least.
    pub(super) fn wide(&self, xs: &Tensor) -> Result<Tensor> {
        Ok(xs.to_dtype(self.wide_dtype())?)
    }

    /// Drops out values with the masks of the CPU's pass.
    pub(super) fn drop_out(
        &self,
        probability: f32,
        xs: &Tensor,
        masked: impl Iterator<Item = Masked>,
    ) -> Result<Tensor> {
        if probability == 0.0 {
            return Ok(xs.clone());
        }
        let mut factors = vec![1.0; xs.elem_count()];
        for Masked { key, first, at } in masked {
            key.drop_out(
                self.instructions,
                probability,
                first as u32,
                &mut factors[at],
            );
        }
        let factors = Tensor::from_vec(factors, xs.shape(), self.device)?;
        Ok((xs * factors.to_dtype(self.dtype)?)?)
    }

    /// Drops out the rows of all tokens, `(B T, width)`.
    fn drop_out_rows(&self, chunk: &Chunk<'_>, xs: &Tensor, purpose: Purpose) -> Result<Tensor> {
        let width = xs.dim(1)?;
        let masked = chunk.sequences.iter().enumerate().map(|(index, sequence)| {
            let start = index * chunk.width * width;
            Masked {
                key: purpose.key(self.key, *sequence),
                first: 0,
                at: start..start + chunk.tokens(index) * width,
            }
        });
        let probability = match purpose {
            Purpose::FeedForward { .. } => self.dropout.feed_forward,
            _ => self.dropout.hidden,
        };
        self.drop_out(probability, xs, masked)
    }

    /// Drops out attention probabilities, `(B, N, T, T)`.
    fn drop_out_probabilities(
        &self,
        chunk: &Chunk<'_>,
        weights: &Tensor,
        layer: usize,
    ) -> Result<Tensor> {
        let (b, n, t, _) = weights.dims4()?;
        let rows = (0..b * n).flat_map(|row| (0..t).map(move |place| (row / n, row % n, place)));
        let rows = rows.filter(|(index, _, place)| *place < chunk.tokens(*index));
        let masked = rows.map(|(index, head, place)| {
            let tokens = chunk.tokens(index);
            let start = ((index * n + head) * t + place) * t;
            let purpose = Purpose::Probabilities { layer };
            Masked {
                key: purpose
                    .key(self.key, chunk.sequences[index])
                    .with(head as u64),
                first: place * tokens,
                at: start..start + tokens,
            }
        });
        self.drop_out(self.dropout.attention, weights, masked)
    }
}

//! All parameters of a model in one buffer.
//!
//! Optimizers, snapshots and sums of gradients use it as one slice; the training pass uses its
//! ranges by their roles; other code looks up tensors by Hugging Face's names.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::checkpoint::Checkpoint;
use crate::config::AlbertConfig;
use crate::parameters::{EMBEDDINGS, ENCODER, Head, POOLER, in_model, parameters};
use crate::train::error::{Result, TrainError};
use crate::train::network::Network;
use crate::train::random::Normal;

/// The kind of a parameter, by which optimizers group parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterKind {
    /// A table of embeddings.
    Embedding,
    /// The weight of a dense layer.
    Matrix,
    /// The bias of a dense layer.
    Bias,
    /// γ or β of a layer norm.
    Norm,
}

impl ParameterKind {
    /// Returns true if weight decay and LAMB's trust ratio apply: to everything except biases and
    /// norms.
    ///
    /// Source: google-research/albert, `optimization.py`, `exclude_from_weight_decay`.
    pub fn decays(self) -> bool {
        matches!(self, Self::Embedding | Self::Matrix)
    }
}

/// The part of the model that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelPart {
    /// Embedding tables and their norm; a tied decoder is the word table.
    Embeddings,
    /// The projection from E to H and the layers.
    Encoder,
    /// The dense layer over `[CLS]`.
    Pooler,
    /// Everything after the encoder and the pooler.
    Head,
}

/// One tensor of the flat buffer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FlatTensor {
    /// Hugging Face's name.
    pub name: String,
    /// Its shape, row by row.
    pub shape: Vec<usize>,
    /// Its place in the buffer.
    pub range: Range<usize>,
    /// Its use.
    pub kind: ParameterKind,
    /// The part of the model that it belongs to.
    pub part: ModelPart,
}

/// The order of all parameters of a model, without gaps.
#[derive(Debug, Clone)]
pub struct FlatLayout {
    config: AlbertConfig,
    head: Head,
    tensors: Vec<FlatTensor>,
    by_name: HashMap<String, usize>,
    len: usize,
    network: Network,
}

impl FlatLayout {
    /// Creates the layout of a model with this head.
    ///
    /// # Errors
    /// If the configuration is not valid.
    pub fn new(config: &AlbertConfig, head: Head) -> Result<Self> {
        config.validate()?;
        let mut tensors = Vec::new();
        let (mut by_name, mut len) = (HashMap::new(), 0);
        for (name, shape) in ordered(parameters(config, head).collect()) {
            let size = shape.iter().product::<usize>();
            by_name.insert(name.clone(), tensors.len());
            tensors.push(FlatTensor {
                kind: kind(&name, shape.len()),
                part: part(&name),
                range: len..len + size,
                name,
                shape,
            });
            len += size;
        }
        let network = Network::new(config, |name| {
            by_name.get(name).map(|index| &tensors[*index])
        });
        Ok(Self {
            config: config.clone(),
            head,
            tensors,
            by_name,
            len,
            network,
        })
    }

    /// The model's configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// The model's head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no parameters, which never happens for a model.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All tensors in the order of the buffer.
    pub fn tensors(&self) -> &[FlatTensor] {
        &self.tensors
    }

    /// A tensor by Hugging Face's name.
    pub fn tensor(&self, name: &str) -> Option<&FlatTensor> {
        self.by_name.get(name).map(|index| &self.tensors[*index])
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }
}

/// Puts keys and values next to each other, so that one product computes both.
fn ordered(mut tensors: Vec<(String, Vec<usize>)>) -> Vec<(String, Vec<usize>)> {
    let order = |name: &str| match name.rsplit_once("attention.") {
        Some((_, "key.weight")) => 1,
        Some((_, "value.weight")) => 2,
        Some((_, "key.bias")) => 3,
        Some((_, "value.bias")) => 4,
        _ => 0,
    };
    let mut start = 0;
    while start < tensors.len() {
        let run = tensors[start..]
            .iter()
            .take_while(|(name, _)| order(name) > 0);
        let count = run.count();
        tensors[start..start + count].sort_by_key(|(name, _)| order(name));
        start += count.max(1);
    }
    tensors
}

fn kind(name: &str, dimensions: usize) -> ParameterKind {
    if name.contains("LayerNorm") || name.contains("layer_norm") {
        ParameterKind::Norm
    } else if dimensions < 2 {
        ParameterKind::Bias
    } else if name.contains(".embeddings.") || name.ends_with("decoder.weight") {
        ParameterKind::Embedding
    } else {
        ParameterKind::Matrix
    }
}

fn part(name: &str) -> ModelPart {
    let parts = [
        (EMBEDDINGS, ModelPart::Embeddings),
        (ENCODER, ModelPart::Encoder),
        (POOLER, ModelPart::Pooler),
    ];
    let is_in = |module: &str| {
        let rest = name.strip_prefix(&in_model(module));
        rest.is_some_and(|rest| rest.starts_with('.'))
    };
    let found = parts.into_iter().find(|(module, _)| is_in(module));
    found.map_or(ModelPart::Head, |(_, part)| part)
}

/// The values of all parameters.
#[derive(Debug, Clone)]
pub struct FlatParameters {
    layout: Arc<FlatLayout>,
    values: Vec<f32>,
}

impl FlatParameters {
    /// Draws matrices from a normal distribution with the configuration's `initializer_range` as
    /// standard deviation; norms are the identity, biases 0. A tensor's values only depend on the
    /// seed and its name.
    pub fn random(layout: Arc<FlatLayout>, seed: u64) -> Self {
        let mut parameters = Self {
            values: vec![0.0; layout.len],
            layout,
        };
        for tensor in parameters.layout.clone().tensors() {
            parameters.initialize(tensor, seed);
        }
        parameters
    }

    /// Takes the weights of a checkpoint. Tensors of the pooler and the head that it lacks are
    /// drawn as in [`random`](Self::random), and their names are returned.
    ///
    /// # Errors
    /// If the checkpoint lacks another tensor, or one has another shape or type.
    pub fn from_checkpoint(
        checkpoint: &Checkpoint,
        layout: Arc<FlatLayout>,
        seed: u64,
    ) -> Result<(Self, Vec<String>)> {
        Self::from_parts(checkpoint, layout, seed, |_| true)
    }

    /// Takes the parts of a checkpoint for which `is_taken` holds.
    fn from_parts(
        checkpoint: &Checkpoint,
        layout: Arc<FlatLayout>,
        seed: u64,
        is_taken: impl Fn(ModelPart) -> bool,
    ) -> Result<(Self, Vec<String>)> {
        let mut parameters = Self {
            values: vec![0.0; layout.len],
            layout,
        };
        let mut drawn = Vec::new();
        for tensor in parameters.layout.clone().tensors() {
            let stored = if is_taken(tensor.part) {
                checkpoint.tensor(&tensor.name, &tensor.shape)?
            } else {
                None
            };
            match stored {
                Some(stored) => {
                    let values = stored.flatten_all()?.to_vec1::<f32>()?;
                    parameters.values[tensor.range.clone()].copy_from_slice(&values);
                }
                None if matches!(tensor.part, ModelPart::Pooler | ModelPart::Head) => {
                    parameters.initialize(tensor, seed);
                    drawn.push(tensor.name.clone());
                }
                None => {
                    return Err(TrainError::MissingTensor {
                        tensor: tensor.name.clone(),
                    });
                }
            }
        }
        Ok((parameters, drawn))
    }

    /// Takes embeddings, layers and pooler of a checkpoint, and draws the whole head, for labels
    /// other than those of the checkpoint. Returns the names of all drawn tensors.
    ///
    /// # Errors
    /// See [`from_checkpoint`](Self::from_checkpoint).
    pub fn from_encoder(
        checkpoint: &Checkpoint,
        layout: Arc<FlatLayout>,
        seed: u64,
    ) -> Result<(Self, Vec<String>)> {
        Self::from_parts(checkpoint, layout, seed, |part| part != ModelPart::Head)
    }

    fn initialize(&mut self, tensor: &FlatTensor, seed: u64) {
        let values = &mut self.values[tensor.range.clone()];
        match tensor.kind {
            ParameterKind::Norm if tensor.name.ends_with(".weight") => values.fill(1.0),
            ParameterKind::Norm | ParameterKind::Bias => values.fill(0.0),
            ParameterKind::Embedding | ParameterKind::Matrix => {
                let deviation = self.layout.config.initializer_range;
                Normal::new(seed, &tensor.name).fill(deviation, values);
            }
        }
    }

    /// Returns the model as a checkpoint in memory, which [`save`](Checkpoint::save) can write.
    ///
    /// # Errors
    /// If the tensors cannot be serialized.
    pub fn to_checkpoint(&self) -> Result<Checkpoint> {
        let mut config = self.layout.config.clone();
        config.architectures = vec![self.layout.head.architecture().into()];
        let tensors = self.layout.tensors.iter().map(|tensor| {
            let values = &self.values[tensor.range.clone()];
            let stored = Tensor::from_slice(values, &tensor.shape[..], &Device::Cpu)?;
            Ok((tensor.name.clone(), stored))
        });
        let tensors = tensors.collect::<candle_core::Result<BTreeMap<_, _>>>()?;
        let bytes = safetensors::serialize(&tensors, None).map_err(candle_core::Error::from)?;
        let name = "the trained model";
        Ok(Checkpoint::from_bytes(&config.to_json(), bytes, name)?)
    }

    /// The order of the values.
    pub fn layout(&self) -> &Arc<FlatLayout> {
        &self.layout
    }

    /// All values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// All values, to be changed by an optimizer.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// The values of one tensor.
    pub fn tensor(&self, name: &str) -> Option<&[f32]> {
        let tensor = self.layout.tensor(name)?;
        Some(&self.values[tensor.range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> AlbertConfig {
        AlbertConfig {
            vocab_size: 50,
            hidden_size: 12,
            num_attention_heads: 3,
            num_hidden_layers: 4,
            num_hidden_groups: 2,
            inner_group_num: 2,
            intermediate_size: 20,
            embedding_size: 8,
            ..AlbertConfig::default()
        }
    }

    #[test]
    fn the_buffer_has_no_gaps_and_as_many_values_as_the_model_has_parameters() {
        for head in Head::ALL {
            let layout = FlatLayout::new(&config(), head).unwrap();
            assert_eq!(layout.len(), config().parameter_count(head), "{head}");
            let mut end = 0;
            for tensor in layout.tensors() {
                assert_eq!(tensor.range.start, end);
                assert_eq!(tensor.range.len(), tensor.shape.iter().product::<usize>());
                end = tensor.range.end;
            }
            assert_eq!(end, layout.len());
        }
    }

    #[test]
    fn values_follow_keys_and_biases_and_norms_do_not_decay() {
        let layout = FlatLayout::new(&config(), Head::PreTraining).unwrap();
        let range = |end: &str| {
            let prefix = "albert.encoder.albert_layer_groups.1.albert_layers.1.attention";
            layout
                .tensor(&format!("{prefix}.{end}"))
                .unwrap()
                .range
                .clone()
        };
        assert_eq!(range("key.weight").end, range("value.weight").start);
        assert_eq!(range("key.bias").end, range("value.bias").start);
        for tensor in layout.tensors() {
            let is_excluded = tensor.name.ends_with("bias")
                || tensor.name.contains("LayerNorm")
                || tensor.name.contains("layer_norm");
            assert_eq!(tensor.kind.decays(), !is_excluded, "{}", tensor.name);
        }
    }

    #[test]
    fn random_weights_have_the_deviation_of_the_configuration() {
        let layout = Arc::new(FlatLayout::new(&config(), Head::MaskedLm).unwrap());
        let parameters = FlatParameters::random(Arc::clone(&layout), 7);
        let words = parameters
            .tensor("albert.embeddings.word_embeddings.weight")
            .unwrap();
        let mean = words.iter().sum::<f32>() / words.len() as f32;
        let variance = words.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / words.len() as f32;
        assert!(
            (variance.sqrt() - 0.02).abs() < 0.003,
            "{}",
            variance.sqrt()
        );
        assert_eq!(
            parameters.tensor("predictions.LayerNorm.weight").unwrap(),
            [1.0; 8]
        );
        assert_eq!(
            FlatParameters::random(Arc::clone(&layout), 7).values(),
            parameters.values()
        );
        assert_ne!(
            FlatParameters::random(layout, 8).values(),
            parameters.values()
        );
    }

    #[test]
    fn a_checkpoint_gives_the_values_back_and_names_what_it_lacks() {
        let layout = Arc::new(FlatLayout::new(&config(), Head::MaskedLm).unwrap());
        let parameters = FlatParameters::random(Arc::clone(&layout), 7);
        let checkpoint = parameters.to_checkpoint().unwrap();
        let (again, drawn) = FlatParameters::from_checkpoint(&checkpoint, layout, 1).unwrap();
        assert!(drawn.is_empty(), "{drawn:?}");
        assert_eq!(again.values(), parameters.values());

        let classifier =
            Arc::new(FlatLayout::new(&config(), Head::SequenceClassification).unwrap());
        let (_, drawn) = FlatParameters::from_checkpoint(&checkpoint, classifier, 1).unwrap();
        let expected = [
            "albert.pooler.weight",
            "albert.pooler.bias",
            "classifier.weight",
            "classifier.bias",
        ];
        assert_eq!(drawn, expected);
    }
}

//! The place of every parameter in the buffer.

use std::collections::HashMap;

use super::{FlatTensor, ModelPart, ParameterKind};
use crate::config::AlbertConfig;
use crate::parameters::{EMBEDDINGS, ENCODER, Head, POOLER, in_model, parameters};
use crate::train::error::Result;
use crate::train::network::Network;

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

    /// Returns the model's configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// Returns the model's head.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Returns the number of parameters.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no parameters, which never happens for a model.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns all tensors in the order of the buffer.
    pub fn tensors(&self) -> &[FlatTensor] {
        &self.tensors
    }

    /// Returns a tensor by Hugging Face's name.
    pub fn tensor(&self, name: &str) -> Option<&FlatTensor> {
        self.by_name.get(name).map(|index| &self.tensors[*index])
    }

    pub(in crate::train) fn network(&self) -> &Network {
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

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;

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
}

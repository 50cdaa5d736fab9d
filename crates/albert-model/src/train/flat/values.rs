//! The values of all parameters: drawn, or taken from a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{Device, Tensor};

use super::{FlatLayout, FlatTensor, ModelPart, ParameterKind};
use crate::checkpoint::Checkpoint;
use crate::train::error::{Result, TrainError};
use crate::train::random::Normal;

/// The values of all parameters.
#[derive(Debug, Clone)]
pub struct FlatParameters {
    layout: Arc<FlatLayout>,
    values: Vec<f32>,
}

impl FlatParameters {
    /// Draws matrices from a normal distribution with the configuration's `initializer_range` as
    /// standard deviation; norms start as the identity, and biases at 0. A tensor's values only
    /// depend on the seed and its name.
    pub fn random(layout: Arc<FlatLayout>, seed: u64) -> Self {
        let mut parameters = Self {
            values: vec![0.0; layout.len()],
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
            values: vec![0.0; layout.len()],
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
                let deviation = self.layout.config().initializer_range;
                Normal::new(seed, &tensor.name).fill(deviation, values);
            }
        }
    }

    /// Returns the model as a checkpoint in memory, which [`save`](Checkpoint::save) can write.
    ///
    /// # Errors
    /// If the tensors cannot be serialized.
    pub fn to_checkpoint(&self) -> Result<Checkpoint> {
        let mut config = self.layout.config().clone();
        config.architectures = vec![self.layout.head().architecture().into()];
        let tensors = self.layout.tensors().iter().map(|tensor| {
            let values = &self.values[tensor.range.clone()];
            let stored = Tensor::from_slice(values, &tensor.shape[..], &Device::Cpu)?;
            Ok((tensor.name.clone(), stored))
        });
        let tensors = tensors.collect::<candle_core::Result<BTreeMap<_, _>>>()?;
        let bytes = safetensors::serialize(&tensors, None).map_err(candle_core::Error::from)?;
        let name = "the trained model";
        Ok(Checkpoint::from_bytes(&config.to_json(), bytes, name)?)
    }

    /// Returns the order of the values.
    pub fn layout(&self) -> &Arc<FlatLayout> {
        &self.layout
    }

    /// Returns all values.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Returns all values, for an optimizer to change.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Returns the values of one tensor.
    pub fn tensor(&self, name: &str) -> Option<&[f32]> {
        let tensor = self.layout.tensor(name)?;
        Some(&self.values[tensor.range.clone()])
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::config;
    use super::*;
    use crate::Head;

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

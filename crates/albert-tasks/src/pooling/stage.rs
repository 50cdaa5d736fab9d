//! The modules after the pooling in a sentence-transformers folder: dense layers and norms.
//!
//! A stage processes one vector at a time, on the CPU in f32: its cost is negligible compared with
//! the network, and the vector of a text has the same bits in any batch.

use std::fmt;

use albert_model::candle_nn::Linear;
use albert_model::{HiddenAct, Tensors};
use candle_core::{Device, Module, Tensor};
use serde::{Serialize, Serializer};

use super::{Width, normalize};
use crate::json::JsonObject;
use crate::{Error, ModelFiles, Result};

/// PyTorch's default, which the module does not change.
const LAYER_NORM_EPS: f32 = 1e-5;

/// PyTorch's activation classes that only need default arguments.
const ACTIVATIONS: [(&str, HiddenAct); 10] = [
    ("Tanh", HiddenAct::Tanh),
    ("Identity", HiddenAct::Linear),
    ("ReLU", HiddenAct::Relu),
    ("GELU", HiddenAct::Gelu),
    ("Sigmoid", HiddenAct::Sigmoid),
    ("SiLU", HiddenAct::Silu),
    ("LeakyReLU", HiddenAct::LeakyRelu),
    ("ReLU6", HiddenAct::Relu6),
    ("Hardswish", HiddenAct::Hardswish),
    ("Mish", HiddenAct::Mish),
];

/// A module after the pooling, as described in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// `y = f(W x + b)`, with a residual connection `y = f(W x + b) + x`, or `+ R x` where the
    /// widths differ.
    Dense {
        /// The module's folder.
        path: String,
        /// The width of `x`.
        in_features: usize,
        /// The width of `y`.
        out_features: usize,
        /// True if there is a `b`.
        bias: bool,
        /// f
        activation: HiddenAct,
        /// True if `x` is added.
        residual: bool,
    },
    /// `y = γ (x − mean x) / √(var x + 1e-5) + β`
    LayerNorm {
        /// The module's folder.
        path: String,
        /// The width of `x` and of `y`.
        dimension: usize,
    },
    /// `y = x / |x|`; zero stays zero.
    Normalize,
}

impl Stage {
    pub(super) fn dense(files: &ModelFiles, path: &str) -> Result<Self> {
        let config = required_config(files, path)?;
        refuse_other_features(&config)?;
        Ok(Self::Dense {
            path: path.to_string(),
            in_features: required_width(&config, "in_features")?,
            out_features: required_width(&config, "out_features")?,
            bias: config.bool("bias")?.unwrap_or(true),
            activation: activation(&config)?,
            residual: config.bool("use_residual")?.unwrap_or(false),
        })
    }

    pub(super) fn layer_norm(files: &ModelFiles, path: &str) -> Result<Self> {
        let config = required_config(files, path)?;
        Ok(Self::LayerNorm {
            path: path.to_string(),
            dimension: required_width(&config, "dimension")?,
        })
    }

    pub(super) fn normalize(files: &ModelFiles, path: &str) -> Result<Self> {
        if let Some(config) = JsonObject::read(files, &config_file(path))? {
            refuse_other_features(&config)?;
        }
        Ok(Self::Normalize)
    }

    /// Checks the input width and returns the output width.
    pub(super) fn width_behind(&self, width: usize) -> Result<usize> {
        let (path, key, expected, out) = match self {
            Self::Dense {
                path,
                in_features,
                out_features,
                ..
            } => (path, "in_features", *in_features, *out_features),
            Self::LayerNorm { path, dimension } => (path, "dimension", *dimension, *dimension),
            Self::Normalize => return Ok(width),
        };
        let stated = Width {
            file: config_file(path),
            key,
            value: expected,
        };
        stated.check(width, "the output width of the previous module")?;
        Ok(out)
    }

    /// Returns the stage with its weights.
    pub(super) fn load(&self, files: &ModelFiles) -> Result<LoadedStage> {
        match self {
            Self::Dense {
                path,
                in_features,
                out_features,
                bias,
                activation,
                residual,
            } => {
                let matrix = || vec![*out_features, *in_features];
                let projects = *residual && in_features != out_features;
                let mut expected = vec![("linear.weight", matrix())];
                expected.extend(bias.then(|| ("linear.bias", vec![*out_features])));
                expected.extend(projects.then(|| ("residual.weight", matrix())));
                let mut tensors = weights(files, path)?.load(&expected)?.into_iter();
                let mut next = || tensors.next().expect("a tensor for each name");
                Ok(LoadedStage::Dense {
                    linear: Linear::new(next(), bias.then(&mut next)),
                    activation: *activation,
                    adds_input: *residual,
                    projection: projects.then(|| Linear::new(next(), None)),
                })
            }
            Self::LayerNorm { path, dimension } => {
                let width = vec![*dimension];
                let tensors = weights(files, path)?
                    .load(&[("norm.weight", width.clone()), ("norm.bias", width)])?;
                Ok(LoadedStage::LayerNorm {
                    gamma: tensors[0].to_vec1()?,
                    beta: tensors[1].to_vec1()?,
                })
            }
            Self::Normalize => Ok(LoadedStage::Normalize),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense {
                path,
                in_features,
                out_features,
                activation,
                residual,
                ..
            } => {
                write!(f, "Dense {in_features} to {out_features}, {activation}")?;
                if *residual {
                    f.write_str(", residual")?;
                }
                write!(f, ", by {}", config_file(path))
            }
            Self::LayerNorm { path, dimension } => {
                write!(f, "LayerNorm {dimension}, by {}", config_file(path))
            }
            Self::Normalize => f.write_str("Normalize"),
        }
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A stage that computes.
#[derive(Debug, Clone)]
pub(crate) enum LoadedStage {
    Dense {
        linear: Linear,
        activation: HiddenAct,
        adds_input: bool,
        /// The projection of the residual, if input and output differ in width.
        projection: Option<Linear>,
    },
    LayerNorm {
        gamma: Vec<f32>,
        beta: Vec<f32>,
    },
    Normalize,
}

impl LoadedStage {
    /// `(in)` → `(out)`
    pub(crate) fn forward(&self, mut vector: Vec<f32>) -> Result<Vec<f32>> {
        match self {
            Self::Dense {
                linear,
                activation,
                adds_input,
                projection,
            } => {
                let width = vector.len();
                let xs = Tensor::from_vec(vector, (1, width), &Device::Cpu)?;
                let mut ys = activation.forward(&linear.forward(&xs)?)?;
                if *adds_input {
                    let input = projection
                        .as_ref()
                        .map_or(Ok(xs.clone()), |projection| projection.forward(&xs));
                    ys = (ys + input?)?;
                }
                return Ok(ys.squeeze(0)?.to_vec1()?);
            }
            Self::LayerNorm { gamma, beta } => layer_norm(&mut vector, gamma, beta),
            Self::Normalize => normalize(&mut vector),
        }
        Ok(vector)
    }
}

fn layer_norm(vector: &mut [f32], gamma: &[f32], beta: &[f32]) {
    let count = vector.len() as f32;
    let mean = vector.iter().sum::<f32>() / count;
    let variance = vector
        .iter()
        .map(|value| (value - mean) * (value - mean))
        .sum::<f32>()
        / count;
    let scale = 1.0 / (variance + LAYER_NORM_EPS).sqrt();
    for ((value, gamma), beta) in vector.iter_mut().zip(gamma).zip(beta) {
        *value = gamma * (*value - mean) * scale + beta;
    }
}

/// Returns the configuration of a module in the folder `path`.
pub(super) fn config_file(path: &str) -> String {
    match path.trim_end_matches('/') {
        "" => "config.json".to_string(),
        path => format!("{path}/config.json"),
    }
}

/// Reads a module's `config.json`, which is required.
pub(super) fn required_config(files: &ModelFiles, path: &str) -> Result<JsonObject> {
    let file = config_file(path);
    JsonObject::read(files, &file)?.ok_or_else(|| Error::Field {
        file: super::modules::MODULES.to_string(),
        field: "path".to_string(),
        expected: format!("a folder with the module's `config.json`, as `{file}`"),
        found: "no such file".to_string(),
    })
}

fn required_width(config: &JsonObject, key: &str) -> Result<usize> {
    match config.usize(key)? {
        Some(width) if width > 0 => Ok(width),
        found => Err(config.unexpected(key, "a width of at least 1", &found.into())),
    }
}

/// Refuses a module that processes token vectors, as in late-interaction models.
fn refuse_other_features(config: &JsonObject) -> Result<()> {
    for key in ["module_input_name", "module_output_name"] {
        if let Some(found) = config
            .str(key)?
            .filter(|name| *name != "sentence_embedding")
        {
            return Err(config.unexpected(
                key,
                "`sentence_embedding`, the pooled vector",
                &found.into(),
            ));
        }
    }
    Ok(())
}

fn activation(config: &JsonObject) -> Result<HiddenAct> {
    let key = "activation_function";
    // The module's own default.
    let Some(name) = config.str(key)? else {
        return Ok(HiddenAct::Tanh);
    };
    let class = name
        .strip_prefix("torch.")
        .and_then(|name| name.rsplit('.').next());
    match ACTIVATIONS.iter().find(|(known, _)| Some(*known) == class) {
        Some((_, activation)) => Ok(*activation),
        None => {
            let known = ACTIVATIONS.map(|(known, _)| known).join(", ");
            Err(config.unexpected(key, &format!("one of torch.nn's {known}"), &name.into()))
        }
    }
}

/// Opens the weights of a module, in the first available of the two formats.
fn weights(files: &ModelFiles, path: &str) -> Result<Tensors> {
    let names = ["model.safetensors", "pytorch_model.bin"]
        .map(|file| format!("{}/{file}", path.trim_end_matches('/')));
    for name in &names {
        if let Some(tensors) = files.tensors(name)? {
            return Ok(tensors);
        }
    }
    Err(Error::Field {
        file: super::modules::MODULES.to_string(),
        field: "path".to_string(),
        expected: format!(
            "a folder with the module's weights, as `{}` or `{}`",
            names[0], names[1]
        ),
        found: "neither file".to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_layer_adds_its_input_as_it_is_or_projected() {
        let matrix = |values: &[f32]| {
            Tensor::from_slice(values, (values.len() / 2, 2), &Device::Cpu).unwrap()
        };
        let dense =
            |weight: &[f32], adds_input: bool, projection: Option<&[f32]>| LoadedStage::Dense {
                linear: Linear::new(matrix(weight), None),
                activation: HiddenAct::Relu,
                adds_input,
                projection: projection.map(|weight| Linear::new(matrix(weight), None)),
            };
        let forward = |layer: LoadedStage| layer.forward(vec![1.0, -2.0]).unwrap();
        assert_eq!(
            forward(dense(&[3.0, 1.0, 1.0, 1.0], false, None)),
            [1.0, 0.0]
        );
        assert_eq!(
            forward(dense(&[3.0, 1.0, 1.0, 1.0], true, None)),
            [2.0, -2.0]
        );
        assert_eq!(forward(dense(&[3.0, 1.0], true, Some(&[10.0, 1.0]))), [9.0]);
    }

    #[test]
    fn a_layer_norm_centres_and_scales() {
        let layer = LoadedStage::LayerNorm {
            gamma: vec![1.0, 2.0],
            beta: vec![0.0, 1.0],
        };
        let vector = layer.forward(vec![7.0, 3.0]).unwrap();
        let scale = 2.0 / (4.0 + LAYER_NORM_EPS).sqrt();
        assert_eq!(vector, [scale, -2.0 * scale + 1.0]);
    }
}

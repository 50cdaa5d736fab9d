//! The function that turns a classifier's logits into scores.

use std::fmt;
use std::str::FromStr;

use albert_model::{AlbertConfig, ProblemType};
use serde_json::Value;

use crate::probability::{sigmoid, softmax};
use crate::{Error, Result, names};

/// Turns logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreFunction {
    /// Probabilities that sum to 1: one label applies.
    Softmax,
    /// An independent probability for each label: any number of them may apply.
    Sigmoid,
    /// The logits without a function.
    None,
}

impl ScoreFunction {
    /// Every function with its name.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Softmax, "softmax"),
        (Self::Sigmoid, "sigmoid"),
        (Self::None, "none"),
    ];

    /// Returns the function for a model's `config.json`: the activation that a cross-encoder names;
    /// else none for regression, the sigmoid for a single label or multi-label classification, and
    /// softmax otherwise.
    ///
    /// Source: transformers 4.46.3, `pipelines/text_classification.py`, `postprocess`;
    /// sentence-transformers 5.7, `cross_encoder/CrossEncoder.py`, `get_default_activation_fn`.
    pub fn from_config(config: &AlbertConfig) -> Self {
        let activation = cross_encoder_activation(config);
        if let Some(function) = activation.and_then(|(_, found)| activation_function(found)) {
            return function;
        }
        match config.problem_type {
            Some(ProblemType::Regression) => Self::None,
            Some(ProblemType::MultiLabelClassification) => Self::Sigmoid,
            _ if config.num_labels() == 1 => Self::Sigmoid,
            _ => Self::Softmax,
        }
    }

    pub(super) fn apply(self, logits: &mut [f32]) {
        match self {
            Self::Softmax => softmax(logits),
            Self::Sigmoid => logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit)),
            Self::None => {}
        }
    }
}

/// Returns the activation that sentence-transformers stores with a cross-encoder, under its new or
/// its old key, and that key.
pub(super) fn cross_encoder_activation(config: &AlbertConfig) -> Option<(&'static str, &Value)> {
    const OLD: &str = "sbert_ce_default_activation_function";
    let new = config
        .other
        .get("sentence_transformers")
        .and_then(|settings| settings.get("activation_fn"))
        .map(|found| ("sentence_transformers.activation_fn", found));
    new.or_else(|| config.other.get(OLD).map(|found| (OLD, found)))
        .filter(|(_, found)| !found.is_null())
}

/// Returns the function for an activation, given as the path of a PyTorch class.
pub(super) fn activation_function(found: &Value) -> Option<ScoreFunction> {
    match found.as_str()?.rsplit('.').next()? {
        "Identity" => Some(ScoreFunction::None),
        "Sigmoid" => Some(ScoreFunction::Sigmoid),
        "Softmax" => Some(ScoreFunction::Softmax),
        _ => None,
    }
}

impl fmt::Display for ScoreFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for ScoreFunction {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("function", &Self::ALL, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(problem_type: Option<ProblemType>, labels: usize) -> AlbertConfig {
        let id2label = (0..labels).map(|id| (id, id.to_string())).collect();
        AlbertConfig {
            problem_type,
            id2label,
            ..AlbertConfig::base_v2()
        }
    }

    #[test]
    fn the_problem_type_decides_then_the_number_of_labels() {
        let of = |problem_type, labels| ScoreFunction::from_config(&config(problem_type, labels));
        assert_eq!(of(None, 3), ScoreFunction::Softmax);
        assert_eq!(of(None, 1), ScoreFunction::Sigmoid);
        assert_eq!(
            of(Some(ProblemType::SingleLabelClassification), 2),
            ScoreFunction::Softmax
        );
        assert_eq!(
            of(Some(ProblemType::MultiLabelClassification), 3),
            ScoreFunction::Sigmoid
        );
        assert_eq!(of(Some(ProblemType::Regression), 1), ScoreFunction::None);
    }

    #[test]
    fn the_activation_of_a_cross_encoder_comes_first() {
        let of = |key: &str, value: serde_json::Value| {
            let mut config = config(None, 1);
            config.other.insert(key.to_string(), value);
            ScoreFunction::from_config(&config)
        };
        let class = |name: &str| format!("torch.nn.modules.{name}");
        let old = "sbert_ce_default_activation_function";
        assert_eq!(
            of(old, class("linear.Identity").into()),
            ScoreFunction::None
        );
        let sigmoid = of(old, class("activation.Sigmoid").into());
        assert_eq!(sigmoid, ScoreFunction::Sigmoid);
        let new = serde_json::json!({"activation_fn": class("linear.Identity")});
        assert_eq!(of("sentence_transformers", new), ScoreFunction::None);
    }

    #[test]
    fn names_go_both_ways() {
        for (function, name) in ScoreFunction::ALL {
            assert_eq!(name.parse::<ScoreFunction>().unwrap(), function);
            assert_eq!(function.to_string(), name);
        }
        assert!("relu".parse::<ScoreFunction>().is_err());
    }
}

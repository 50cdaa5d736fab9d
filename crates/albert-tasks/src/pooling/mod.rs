//! From the vectors of a text's tokens to one vector of the text.
//!
//! The modes and their arithmetic are those of sentence-transformers' `Pooling` module. A text is
//! pooled by itself, over its own tokens only, so neither padding nor the rest of a batch can enter.

mod modules;

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::{Error, Result, names};

/// Below this a norm or a sum of weights counts as zero: the floor of `torch.nn.functional.normalize`.
const NORM_FLOOR: f32 = 1e-12;

/// How the vectors of tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolingMode {
    /// The first token's vector.
    Cls,
    /// The largest value of each dimension.
    Max,
    /// The mean.
    Mean,
    /// The sum over the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean with weights 1, 2, 3, … by position.
    WeightedMean,
    /// The last token's vector, that is `[SEP]`.
    Last,
    /// The model's pooler: `tanh(W h + b)` of the first token's vector.
    Pooler,
}

impl PoolingMode {
    /// Every mode with its name on the command line.
    pub const ALL: [(PoolingMode, &'static str); 7] = [
        (PoolingMode::Mean, "mean"),
        (PoolingMode::Cls, "cls"),
        (PoolingMode::Max, "max"),
        (PoolingMode::Pooler, "pooler"),
        (PoolingMode::MeanSqrtLen, "mean-sqrt-len"),
        (PoolingMode::WeightedMean, "weighted-mean"),
        (PoolingMode::Last, "last"),
    ];

    /// The text's vector from the vectors of its tokens.
    ///
    /// # Shapes
    /// - `hidden_states`: `(T, H)`, row after row
    /// - `skipped`: tokens at the start that are not pooled; fewer than T. Weights still count them.
    /// - returns `(H)`
    pub(crate) fn pool(self, hidden_states: &[f32], hidden_size: usize, skipped: usize) -> Vec<f32> {
        let tokens = || hidden_states.chunks_exact(hidden_size).skip(skipped);
        let sum = |weight: &dyn Fn(usize) -> f32| {
            let mut sum = vec![0f32; hidden_size];
            for (position, token) in tokens().enumerate() {
                let weight = weight(position);
                sum.iter_mut().zip(token).for_each(|(sum, value)| *sum += weight * value);
            }
            sum
        };
        let over = |sum: Vec<f32>, divisor: f32| sum.into_iter().map(|value| value / divisor).collect();
        let count = tokens().len();
        match self {
            // The pooler has made one vector of the first token already.
            PoolingMode::Cls | PoolingMode::Pooler => tokens().next().unwrap_or_default().to_vec(),
            PoolingMode::Last => tokens().last().unwrap_or_default().to_vec(),
            PoolingMode::Max => {
                let mut max = vec![f32::NEG_INFINITY; hidden_size];
                for token in tokens() {
                    max.iter_mut().zip(token).for_each(|(max, value)| *max = max.max(*value));
                }
                max
            }
            PoolingMode::Mean => over(sum(&|_| 1.0), count as f32),
            PoolingMode::MeanSqrtLen => over(sum(&|_| 1.0), (count as f32).sqrt()),
            PoolingMode::WeightedMean => {
                let weight = |position: usize| (skipped + position + 1) as f32;
                over(sum(&weight), (0..count).map(weight).sum())
            }
        }
    }
}

impl fmt::Display for PoolingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for PoolingMode {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("pooling", &Self::ALL, name)
    }
}

impl Serialize for PoolingMode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What a model does with its tokens' vectors, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pooling {
    /// The modes; several are concatenated in this order.
    pub modes: Vec<PoolingMode>,
    /// Whether the result is scaled to length 1.
    pub normalize: bool,
    /// Whether the tokens of a prompt are pooled with the text's.
    pub include_prompt: bool,
    /// The prompt put before every text by default.
    pub prompt: Option<String>,
    /// Whether the model says so itself, in `modules.json`.
    pub from_modules: bool,
    /// Where the choice comes from.
    pub why: String,
    /// The width of the token vectors that it was made for.
    #[serde(skip)]
    pub(crate) width: Option<Width>,
}

/// A width that a file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Width {
    file: String,
    key: &'static str,
    value: usize,
}

/// Scales a vector to length 1; zero stays zero.
pub(crate) fn normalize(vector: &mut [f32]) {
    let norm = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(NORM_FLOOR);
    vector.iter_mut().for_each(|value| *value /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three tokens, two dimensions.
    const TOKENS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];

    #[test]
    fn each_mode_is_its_formula() {
        let pool = |mode: PoolingMode| mode.pool(&TOKENS, 2, 0);
        assert_eq!(pool(PoolingMode::Cls), [1.0, -2.0]);
        assert_eq!(pool(PoolingMode::Last), [5.0, -6.0]);
        assert_eq!(pool(PoolingMode::Max), [5.0, 4.0]);
        assert_eq!(pool(PoolingMode::Mean), [3.0, -4.0 / 3.0]);
        assert_eq!(pool(PoolingMode::MeanSqrtLen), [9.0 / 3f32.sqrt(), -4.0 / 3f32.sqrt()]);
        assert_eq!(pool(PoolingMode::WeightedMean), [22.0 / 6.0, -12.0 / 6.0]);
    }

    #[test]
    fn a_skipped_prompt_keeps_its_weights() {
        assert_eq!(PoolingMode::Cls.pool(&TOKENS, 2, 1), [3.0, 4.0]);
        assert_eq!(PoolingMode::Mean.pool(&TOKENS, 2, 1), [4.0, -1.0]);
        assert_eq!(PoolingMode::WeightedMean.pool(&TOKENS, 2, 1), [21.0 / 5.0, -10.0 / 5.0]);
    }

    #[test]
    fn names_go_both_ways() {
        for (mode, name) in PoolingMode::ALL {
            assert_eq!(name.parse::<PoolingMode>().unwrap(), mode);
            assert_eq!(mode.to_string(), name);
        }
        let error = "average".parse::<PoolingMode>().unwrap_err().to_string();
        assert_eq!(
            error,
            "unknown pooling `average`: expected one of mean, cls, max, pooler, mean-sqrt-len, weighted-mean, last"
        );
    }

    #[test]
    fn normalizing_zero_gives_zero() {
        let mut vectors = [[3.0, 4.0], [0.0, 0.0]];
        vectors.iter_mut().for_each(|vector| normalize(vector));
        assert_eq!(vectors, [[0.6, 0.8], [0.0, 0.0]]);
    }
}

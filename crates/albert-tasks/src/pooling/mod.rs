//! Turns the vectors of a text's tokens into one vector of the text.
//!
//! The modes and their arithmetic are those of sentence-transformers' `Pooling` module
//! (`reduction`, then `pool`), optionally followed by its other modules (`stage`); `modules` reads
//! both from a model's folder.

mod mode;
mod modules;
mod pool;
mod reduction;
mod stage;

use serde::Serialize;

use crate::{Error, ModelFiles, Result};
pub use mode::PoolingMode;
pub(crate) use pool::{Occurrence, Pass, Pool};
pub(crate) use reduction::{Reduction, add_to, finite};
pub(crate) use stage::LoadedStage;
pub use stage::Stage;

/// A smaller norm counts as zero, as in `torch.nn.functional.normalize`.
const NORM_FLOOR: f32 = 1e-12;

/// The pooling of a model's token vectors, and its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Pooling {
    /// The modes; several are concatenated in this order.
    pub modes: Vec<PoolingMode>,
    /// The stages applied to the pooled vector before normalization.
    pub stages: Vec<Stage>,
    /// True to scale the result to length 1.
    pub normalize: bool,
    /// True to pool the tokens of a prompt together with those of the text.
    pub include_prompt: bool,
    /// The prompt put before every text by default.
    pub prompt: Option<String>,
    /// The number of values of the result to keep by default; `None` keeps all.
    pub truncate_dim: Option<usize>,
    /// True if the model defines it in `modules.json`.
    pub from_modules: bool,
    /// The origin of the choice.
    pub why: String,
    /// The width of the token vectors for which it was defined.
    #[serde(skip)]
    pub(crate) width: Option<Width>,
}

impl Pooling {
    /// Checks the width of the token vectors and that the stages fit together; returns the width of
    /// the result.
    pub(crate) fn check_width(&self, hidden_size: usize) -> Result<usize> {
        if let Some(width) = &self.width {
            width.check(hidden_size, "the `hidden_size` of `config.json`")?;
        }
        self.stages
            .iter()
            .try_fold(self.modes.len() * hidden_size, |width, stage| {
                stage.width_behind(width)
            })
    }

    /// Returns the stages with their weights.
    pub(crate) fn load_stages(&self, files: &ModelFiles) -> Result<Vec<LoadedStage>> {
        self.stages.iter().map(|stage| stage.load(files)).collect()
    }
}

/// A width that a file states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Width {
    file: String,
    key: &'static str,
    value: usize,
}

impl Width {
    /// Checks that the width equals `actual`, which is described by `whose`.
    fn check(&self, actual: usize, whose: &str) -> Result<()> {
        if self.value == actual {
            return Ok(());
        }
        Err(Error::Field {
            file: self.file.clone(),
            field: self.key.to_string(),
            expected: format!("{actual}, {whose}"),
            found: self.value.to_string(),
        })
    }
}

/// Scales a vector to length 1; zero stays zero.
pub(crate) fn normalize(vector: &mut [f32]) {
    let norm = vector
        .iter()
        .map(|value| value * value)
        .sum::<f32>()
        .sqrt()
        .max(NORM_FLOOR);
    vector.iter_mut().for_each(|value| *value /= norm);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalizing_zero_gives_zero() {
        let mut vectors = [[3.0, 4.0], [0.0, 0.0]];
        vectors.iter_mut().for_each(|vector| normalize(vector));
        assert_eq!(vectors, [[0.6, 0.8], [0.0, 0.0]]);
    }
}

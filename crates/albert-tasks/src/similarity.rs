//! How alike two texts are.

use albert_model::AlbertConfig;
use serde::Serialize;

use crate::{Embedder, ModelFiles, Result, RunOptions};

/// How alike the texts of a pair are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Similar {
    /// The cosine of the angle between their embeddings, in [−1, 1].
    pub cosine: f32,
    /// Tokens that entered the model, special tokens included, of both texts.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether one of the texts was cut to fit.
    #[serde(skip)]
    pub truncated: bool,
}

/// Compares texts by their embeddings.
///
/// ```
/// use albert_tasks::{ModelFiles, RunOptions, Similarity};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let similarity = Similarity::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let answers = similarity.compare(&[
///     ("A man is playing a guitar.", "Someone plays an instrument."),
///     ("A man is playing a guitar.", "The stock market fell sharply."),
/// ])?;
/// assert!(answers[0].cosine > answers[1].cosine);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Similarity {
    embedder: Embedder,
}

impl Similarity {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// As [`Embedder::load`].
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        Ok(Self::new(Embedder::load(files, options)?))
    }

    /// Compares by the embeddings of `embedder`.
    pub fn new(embedder: Embedder) -> Self {
        Self { embedder }
    }

    /// What makes the embeddings.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.embedder.config()
    }

    /// How alike the texts of each pair are, in input order.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn compare<S: AsRef<str>, P: AsRef<str>>(&self, pairs: &[(S, P)]) -> Result<Vec<Similar>> {
        let texts: Vec<&str> = pairs
            .iter()
            .flat_map(|(first, second)| [first.as_ref(), second.as_ref()])
            .collect();
        let embeddings = self.embedder.embed(&texts)?;
        let compare = |pair: &[crate::Embedding]| Similar {
            cosine: cosine(&pair[0].vector, &pair[1].vector),
            tokens: pair[0].tokens + pair[1].tokens,
            truncated: pair[0].truncated || pair[1].truncated,
        };
        Ok(embeddings.chunks_exact(2).map(compare).collect())
    }
}

/// `a · b / (|a| |b|)`, in f64, within [−1, 1]; 0 where a vector has no length.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 {
        (dot(a, b) / lengths).clamp(-1.0, 1.0) as f32
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cosine_depends_on_the_angle_alone() {
        assert_eq!(cosine(&[3.0, 0.0], &[0.5, 0.0]), 1.0);
        assert_eq!(cosine(&[3.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[1.0, 1.0], &[-1e-20, -1e-20]), -1.0);
        assert_eq!(cosine(&[1e30, 0.0], &[1e30, 0.0]), 1.0);
    }

    #[test]
    fn a_vector_without_length_is_like_nothing() {
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}

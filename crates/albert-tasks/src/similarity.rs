//! Semantic similarity of two texts: the cosine of their embeddings.

use albert_model::AlbertConfig;
use serde::Serialize;

use crate::{EmbedOptions, Embedder, ModelFiles, Result, RunOptions};

/// The similarity of two texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SimilarityScore {
    /// The cosine of the angle between their embeddings, in [−1, 1].
    pub cosine: f32,
    /// Tokens that entered the network, special tokens included, of both texts.
    pub tokens: usize,
    /// True if one of the texts was truncated.
    pub truncated: bool,
}

/// Compares texts by their embeddings.
///
/// ```
/// use albert_tasks::SimilarityScorer;
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let scorer = SimilarityScorer::from_pretrained("albert-mini-en")?;
/// let answers = scorer.compare(&[
///     ("A man is playing a guitar.", "Someone plays an instrument."),
///     ("A man is playing a guitar.", "The stock market fell sharply."),
/// ])?;
/// assert!(answers[0].cosine > answers[1].cosine);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "semantic textual similarity")]
#[doc(alias = "STS")]
#[derive(Debug)]
pub struct SimilarityScorer {
    embedder: Embedder,
}

impl SimilarityScorer {
    /// Loads the model that `id` names: a folder, the built-in model or a model on the Hub.
    ///
    /// # Errors
    /// See [`Embedder::from_pretrained`].
    pub fn from_pretrained(id: &str) -> Result<Self> {
        Ok(Self::new(Embedder::from_pretrained(id)?))
    }

    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// See [`Embedder::load`].
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        Ok(Self::new(Embedder::load(files, options)?))
    }

    /// Creates a scorer from the embeddings of `embedder`.
    pub fn new(embedder: Embedder) -> Self {
        Self { embedder }
    }

    /// Returns the embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.embedder.config()
    }

    /// Compares the texts of each pair, in order.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn compare<S: AsRef<str>, P: AsRef<str>>(
        &self,
        pairs: &[(S, P)],
    ) -> Result<Vec<SimilarityScore>> {
        self.compare_with(pairs, &EmbedOptions::default())
    }

    /// Compares the texts of each pair with options for this call.
    ///
    /// # Errors
    /// See [`Embedder::embed_with`].
    pub fn compare_with<S: AsRef<str>, P: AsRef<str>>(
        &self,
        pairs: &[(S, P)],
        options: &EmbedOptions,
    ) -> Result<Vec<SimilarityScore>> {
        let texts: Vec<&str> = pairs
            .iter()
            .flat_map(|(first, second)| [first.as_ref(), second.as_ref()])
            .collect();
        let embeddings = self.embedder.embed_with(&texts, options)?;
        let compare = |pair: &[crate::Embedding]| SimilarityScore {
            cosine: cosine(&pair[0].vector, &pair[1].vector),
            tokens: pair[0].tokens + pair[1].tokens,
            truncated: pair[0].truncated || pair[1].truncated,
        };
        Ok(embeddings.chunks_exact(2).map(compare).collect())
    }
}

/// Returns the cosine of the angle between two vectors, `a · b / (|a| |b|)`, computed in f64. It is
/// in [−1, 1], and 0 if a vector is zero.
///
/// ```
/// assert_eq!(albert_tasks::cosine(&[3.0, 0.0], &[0.5, 0.0]), 1.0);
/// ```
#[doc(alias = "cos_sim")]
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
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
    fn a_zero_vector_has_the_cosine_zero() {
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }
}

//! Near-duplicates: the pairs of texts whose embeddings are most similar.
//!
//! Every pair is compared, in blocks, so the time grows with the square of the number of texts.
//! Memory holds one embedding for each text. Source: sentence-transformers,
//! `util.paraphrase_mining`, which looks at the 100 nearest texts of each text.

use std::cmp::Ordering;

use candle_core::{Device, Tensor};
use serde::Serialize;

use crate::similarity::cosine;
use crate::{EmbedOptions, Embedder, Error, ModelFiles, Result, RunOptions, TextInput};

/// Texts whose embeddings are compared with each other in one matrix product.
const BLOCK: usize = 1024;

/// The maximum difference between a cosine from the f32 matrix product and [`cosine`]: sums of
/// products of 768 values of unit vectors.
const ROUNDING: f32 = 1e-5;

/// Options for [`NeighborFinder::find`].
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct NeighborOptions {
    /// The minimum cosine of a pair, in [−1, 1].
    pub threshold: f32,
    /// The maximum number of pairs to keep, most similar first; sentence-transformers keeps
    /// 500,000.
    pub max_pairs: usize,
}

impl Default for NeighborOptions {
    fn default() -> Self {
        Self {
            threshold: 0.9,
            max_pairs: 500_000,
        }
    }
}

impl NeighborOptions {
    /// Finds pairs with a cosine of `threshold` or more.
    pub fn with_threshold(mut self, threshold: f32) -> Self {
        self.threshold = threshold;
        self
    }

    /// Keeps the `max_pairs` most similar pairs.
    pub fn with_max_pairs(mut self, max_pairs: usize) -> Self {
        self.max_pairs = max_pairs;
        self
    }
}

/// Two texts that are similar.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Neighbor {
    /// The index of the earlier text, from 0.
    pub first: usize,
    /// The index of the later text.
    pub second: usize,
    /// The cosine of the angle between their embeddings, in [−1, 1].
    pub cosine: f32,
}

/// Finds the pairs of texts that are most similar: near-duplicates and paraphrases.
///
/// ```
/// use albert_tasks::{NeighborFinder, NeighborOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let finder = NeighborFinder::from_pretrained("albert-mini-en")?;
/// let texts = ["A man is playing a guitar.", "The market fell.", "A man plays the guitar."];
/// let pairs = finder.find(&texts, &NeighborOptions::default().with_threshold(0.8))?;
/// assert_eq!((pairs[0].first, pairs[0].second), (0, 2));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "paraphrase mining")]
#[doc(alias = "near-duplicates")]
#[doc(alias = "deduplication")]
#[derive(Debug)]
pub struct NeighborFinder {
    embedder: Embedder,
}

impl NeighborFinder {
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

    /// Creates a finder from the embeddings of `embedder`.
    pub fn new(embedder: Embedder) -> Self {
        Self { embedder }
    }

    /// Returns the embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// Returns the pairs of texts that are similar, most similar first.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn find<I: TextInput + Sync>(
        &self,
        texts: &[I],
        options: &NeighborOptions,
    ) -> Result<Vec<Neighbor>> {
        let mut search = self.start();
        for embedding in self.embedder.embed_with(texts, &EmbedOptions::default())? {
            search.add_vector(&embedding.vector)?;
        }
        search.pairs(options)
    }

    /// Starts a search through texts that are added incrementally.
    pub fn start(&self) -> NeighborSearch {
        NeighborSearch::new(self.embedder.dim())
    }
}

/// The embeddings of the texts to compare.
#[derive(Debug)]
pub struct NeighborSearch {
    dim: usize,
    /// The unmodified embeddings one after another; zeros for a text without one.
    vectors: Vec<f32>,
}

impl NeighborSearch {
    /// Creates a search through embeddings with `dim` values.
    pub fn new(dim: usize) -> Self {
        Self {
            dim,
            vectors: Vec::new(),
        }
    }

    /// Returns the number of texts added so far.
    pub fn seen(&self) -> usize {
        self.vectors.len() / self.dim.max(1)
    }

    /// Adds the embedding of the next text. An embedding with values that are not finite, as saved
    /// for a bad line, is not similar to any other.
    ///
    /// # Errors
    /// If it has another width.
    pub fn add_vector(&mut self, vector: &[f32]) -> Result<()> {
        if vector.len() != self.dim {
            return Err(Error::VectorWidth {
                expected: self.dim,
                found: vector.len(),
            });
        }
        if vector.iter().any(|value| !value.is_finite()) {
            self.skip();
        } else {
            self.vectors.extend_from_slice(vector);
        }
        Ok(())
    }

    /// Counts a text without an embedding, which is not similar to any other.
    pub fn skip(&mut self) {
        self.vectors.resize(self.vectors.len() + self.dim, 0.0);
    }

    /// Returns the similar pairs, most similar first; among equal ones the earlier comes first.
    ///
    /// # Errors
    /// If the computation fails.
    pub fn pairs(&self, options: &NeighborOptions) -> Result<Vec<Neighbor>> {
        let mut kept = Kept::new(options.max_pairs);
        let count = self.seen();
        let blocks = || (0..count).step_by(BLOCK);
        for rows in blocks() {
            let left = self.block(rows)?;
            for columns in blocks().filter(|&columns| columns >= rows) {
                let right = self.block(columns)?.t()?;
                let cosines = left.matmul(&right)?.to_vec2::<f32>()?;
                for (first, cosines) in (rows..).zip(cosines) {
                    for (second, rough) in (columns..).zip(cosines) {
                        if second <= first || rough < options.threshold - ROUNDING {
                            continue;
                        }
                        let cosine = cosine(self.vector(first), self.vector(second));
                        if cosine >= options.threshold && self.has(first) && self.has(second) {
                            kept.push(Neighbor {
                                first,
                                second,
                                cosine,
                            });
                        }
                    }
                }
            }
        }
        Ok(kept.finish())
    }

    fn vector(&self, index: usize) -> &[f32] {
        &self.vectors[index * self.dim..(index + 1) * self.dim]
    }

    /// Returns true if a text has an embedding.
    fn has(&self, index: usize) -> bool {
        self.vector(index).iter().any(|value| *value != 0.0)
    }

    /// Returns the vectors from `start` on, scaled to length 1: `(block, D)`.
    fn block(&self, start: usize) -> Result<Tensor> {
        let end = self.seen().min(start + BLOCK);
        let mut scaled = Vec::with_capacity((end - start) * self.dim);
        for index in start..end {
            let vector = self.vector(index);
            let squares = vector.iter().map(|value| f64::from(*value).powi(2));
            let norm = squares.sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
            let scale = |value: &f32| (f64::from(*value) / norm) as f32;
            scaled.extend(vector.iter().map(scale));
        }
        Ok(Tensor::from_vec(
            scaled,
            (end - start, self.dim),
            &Device::Cpu,
        )?)
    }
}

/// The best pairs so far.
struct Kept {
    max: usize,
    pairs: Vec<Neighbor>,
}

impl Kept {
    fn new(max: usize) -> Self {
        Self {
            max,
            pairs: Vec::new(),
        }
    }

    fn push(&mut self, pair: Neighbor) {
        self.pairs.push(pair);
        if self.pairs.len() >= self.max.saturating_mul(2).max(BLOCK) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.pairs.sort_by(order);
        self.pairs.truncate(self.max);
    }

    fn finish(mut self) -> Vec<Neighbor> {
        self.cut();
        self.pairs
    }
}

fn order(a: &Neighbor, b: &Neighbor) -> Ordering {
    let by_cosine = b.cosine.total_cmp(&a.cosine);
    by_cosine.then_with(|| (a.first, a.second).cmp(&(b.first, b.second)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unit vectors at these angles.
    fn search(angles: &[f32]) -> NeighborSearch {
        let mut search = NeighborSearch::new(2);
        for angle in angles {
            search.add_vector(&[angle.cos(), angle.sin()]).unwrap();
        }
        search
    }

    fn pairs(search: &NeighborSearch, options: NeighborOptions) -> Vec<(usize, usize)> {
        let found = search.pairs(&options).unwrap();
        assert!(found.is_sorted_by(|a, b| a.cosine >= b.cosine));
        found.iter().map(|pair| (pair.first, pair.second)).collect()
    }

    #[test]
    fn pairs_above_the_threshold_come_most_similar_first() {
        let search = search(&[0.0, 0.3, 3.0, 0.1]);
        let options = NeighborOptions::default();
        assert_eq!(pairs(&search, options), [(0, 3), (1, 3), (0, 1)]);
        assert_eq!(
            pairs(&search, options.with_threshold(0.97)),
            [(0, 3), (1, 3)]
        );
        assert_eq!(pairs(&search, options.with_max_pairs(1)), [(0, 3)]);
        assert_eq!(pairs(&search, options.with_threshold(-1.0)).len(), 6);
    }

    #[test]
    fn a_text_without_an_embedding_is_like_no_other() {
        let mut search = search(&[0.0]);
        search.skip();
        search.add_vector(&[f32::NAN, 1.0]).unwrap();
        search.add_vector(&[2.0, 0.0]).unwrap();
        let all = NeighborOptions::default().with_threshold(-1.0);
        assert_eq!(pairs(&search, all), [(0, 3)]);
        assert!(search.add_vector(&[1.0]).is_err());
    }

    #[test]
    fn blocks_find_what_comparing_each_pair_finds() {
        let count = 2 * BLOCK + 3;
        let angles: Vec<f32> = (0..count).map(|at| (at * 7919 % count) as f32).collect();
        let search = search(&angles);
        let options = NeighborOptions::default().with_threshold(0.999_999);
        let mut expected: Vec<(usize, usize)> = Vec::new();
        for first in 0..count {
            for second in first + 1..count {
                if cosine(search.vector(first), search.vector(second)) >= options.threshold {
                    expected.push((first, second));
                }
            }
        }
        let mut found = pairs(&search, options);
        found.sort_unstable();
        assert!(!found.is_empty());
        assert_eq!(found, expected);
    }
}

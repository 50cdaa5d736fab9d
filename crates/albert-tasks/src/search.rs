//! The texts that are most like a query, out of any number of them.
//!
//! A search keeps its best hits and nothing else, so that a corpus of any size takes constant
//! memory. It compares with every text; there is no index.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use albert_model::AlbertConfig;
use serde::Serialize;

use crate::similarity::cosine;
use crate::{Embedder, Error, ModelFiles, Result, RunOptions};

/// A text that is like the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Its number in the corpus, from 0.
    pub index: usize,
    /// The text, where it is known.
    pub text: Option<String>,
    /// The cosine of the angle between its embedding and the query's, in [−1, 1].
    pub cosine: f32,
}

/// Searches texts by meaning.
///
/// ```
/// use albert_tasks::{ModelFiles, RunOptions, Searcher};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let searcher = Searcher::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let corpus = ["The stock market fell sharply.", "Someone plays an instrument.", "It is raining."];
/// let hits = searcher.search("A man is playing a guitar.", &corpus, 1)?;
/// assert_eq!(hits[0].index, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Searcher {
    embedder: Embedder,
}

impl Searcher {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// As [`Embedder::load`].
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        Ok(Self::new(Embedder::load(files, options)?))
    }

    /// Searches by the embeddings of `embedder`.
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

    /// The `top_k` texts of `corpus` that are most like `query`, the most alike first.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn search<S: AsRef<str>>(
        &self,
        query: &str,
        corpus: &[S],
        top_k: usize,
    ) -> Result<Vec<Hit>> {
        let mut search = self.start(query, top_k)?;
        search.add_texts(corpus)?;
        Ok(search.hits())
    }

    /// Begins a search through a corpus that is handed over piece by piece.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn start(&self, query: &str, top_k: usize) -> Result<Search<'_>> {
        let query = self
            .embedder
            .embed(&[query])?
            .pop()
            .map(|embedding| embedding.vector);
        Ok(Search {
            embedder: &self.embedder,
            query: query.unwrap_or_default(),
            top_k,
            best: BinaryHeap::new(),
            seen: 0,
        })
    }
}

/// A search on its way through a corpus.
#[derive(Debug)]
pub struct Search<'a> {
    embedder: &'a Embedder,
    query: Vec<f32>,
    top_k: usize,
    /// The best hits so far, the worst of them on top.
    best: BinaryHeap<Worst>,
    seen: usize,
}

impl Search<'_> {
    /// How many texts have gone by.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// The next texts of the corpus; gives the number of tokens that entered the model, and how
    /// many texts were cut to fit.
    ///
    /// # Errors
    /// As [`Embedder::embed`].
    pub fn add_texts<S: AsRef<str>>(&mut self, texts: &[S]) -> Result<(usize, usize)> {
        let embeddings = self.embedder.embed(texts)?;
        for (text, embedding) in texts.iter().zip(&embeddings) {
            self.add_vector(&embedding.vector, Some(text.as_ref()))?;
        }
        let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
        Ok((
            tokens,
            embeddings
                .iter()
                .filter(|embedding| embedding.truncated)
                .count(),
        ))
    }

    /// The embedding of the next text, made before by the same model with the same options.
    ///
    /// One that is not a number, as saved embeddings have it for a bad line, is passed over.
    ///
    /// # Errors
    /// If it has another width than the query's.
    pub fn add_vector(&mut self, vector: &[f32], text: Option<&str>) -> Result<()> {
        if vector.len() != self.query.len() {
            return Err(Error::VectorWidth {
                expected: self.query.len(),
                found: vector.len(),
            });
        }
        let index = self.seen;
        self.seen += 1;
        if self.top_k == 0 || vector.iter().any(|value| !value.is_finite()) {
            return Ok(());
        }
        let cosine = cosine(&self.query, vector);
        if self.best.len() == self.top_k {
            match self.best.peek() {
                // Of equals the earlier one stays.
                Some(worst) if cosine <= worst.0.cosine => return Ok(()),
                _ => self.best.pop(),
            };
        }
        self.best.push(Worst(Hit {
            index,
            text: text.map(String::from),
            cosine,
        }));
        Ok(())
    }

    /// Counts a text of the corpus that has no embedding.
    pub fn skip(&mut self) {
        self.seen += 1;
    }

    /// The best hits, the best of them first; of equals the earlier one.
    pub fn hits(self) -> Vec<Hit> {
        self.best
            .into_sorted_vec()
            .into_iter()
            .map(|worst| worst.0)
            .collect()
    }
}

/// A hit that is the greater the worse it is.
#[derive(Debug)]
struct Worst(Hit);

impl Ord for Worst {
    fn cmp(&self, other: &Self) -> Ordering {
        other
            .0
            .cosine
            .total_cmp(&self.0.cosine)
            .then(self.0.index.cmp(&other.0.index))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}

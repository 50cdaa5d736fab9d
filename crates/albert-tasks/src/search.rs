//! Semantic search: the texts of a corpus that are most similar to a query.
//!
//! A search keeps only its best hits, so a corpus of any size takes constant memory. The query is
//! compared with every text; there is no index.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use albert_model::AlbertConfig;
use serde::Serialize;

use crate::similarity::cosine;
use crate::{EmbedOptions, Embedder, Error, ModelFiles, Result, RunOptions, TextInput};

/// A text that is similar to the query.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// The index of the text in the corpus, from 0.
    pub index: usize,
    /// The text, if it is known.
    pub text: Option<String>,
    /// The cosine of the angle between its embedding and the query's, in [−1, 1].
    pub cosine: f32,
}

/// Semantic search: finds texts by meaning.
///
/// ```
/// use albert_tasks::Searcher;
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let searcher = Searcher::from_pretrained("albert-mini-en")?;
/// let corpus = ["The stock market fell sharply.", "Someone plays an instrument.", "It is raining."];
/// let hits = searcher.search("A man is playing a guitar.", &corpus, 1)?;
/// assert_eq!(hits[0].index, 1);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "semantic search")]
#[doc(alias = "retrieval")]
#[derive(Debug)]
pub struct Searcher {
    embedder: Embedder,
    query: EmbedOptions,
    document: EmbedOptions,
}

impl Searcher {
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

    /// Creates a searcher with the embeddings of `embedder`. Queries and documents get the model's
    /// prompts for them, if it has any.
    pub fn new(embedder: Embedder) -> Self {
        Self {
            query: embedder.query_options(),
            document: embedder.document_options(),
            embedder,
        }
    }

    /// Embeds queries with `options`.
    ///
    /// # Errors
    /// If the options do not fit the model ([`Embedder::check`]).
    pub fn with_query_options(mut self, options: EmbedOptions) -> Result<Self> {
        self.embedder.check(&options)?;
        self.query = options;
        Ok(self)
    }

    /// Embeds the documents of a corpus with `options`.
    ///
    /// # Errors
    /// If the options do not fit the model ([`Embedder::check`]).
    pub fn with_document_options(mut self, options: EmbedOptions) -> Result<Self> {
        self.embedder.check(&options)?;
        self.document = options;
        Ok(self)
    }

    /// Returns the embedder.
    pub fn embedder(&self) -> &Embedder {
        &self.embedder
    }

    /// Returns the options for embedding queries.
    pub fn query_options(&self) -> &EmbedOptions {
        &self.query
    }

    /// Returns the options for embedding documents.
    pub fn document_options(&self) -> &EmbedOptions {
        &self.document
    }

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.embedder.config()
    }

    /// Returns the `top_k` texts of `corpus` that are most similar to `query`, most similar first.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn search<S: AsRef<str> + TextInput + Sync>(
        &self,
        query: &str,
        corpus: &[S],
        top_k: usize,
    ) -> Result<Vec<Hit>> {
        let mut search = self.start(query, top_k)?;
        search.add_texts(corpus)?;
        Ok(search.hits())
    }

    /// Starts a search through a corpus that is added incrementally.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn start(&self, query: &str, top_k: usize) -> Result<Search<'_>> {
        let query = self.embedder.embed_with(&[query], &self.query)?.pop();
        Ok(Search {
            searcher: self,
            query: query.map(|query| query.vector).unwrap_or_default(),
            top_k,
            best: BinaryHeap::new(),
            seen: 0,
        })
    }
}

/// A search in progress.
#[derive(Debug)]
pub struct Search<'a> {
    searcher: &'a Searcher,
    query: Vec<f32>,
    top_k: usize,
    /// The best hits so far, the worst of them on top.
    best: BinaryHeap<Worst>,
    seen: usize,
}

impl Search<'_> {
    /// Returns the number of texts added so far.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Returns the maximum number of hits.
    pub fn top_k(&self) -> usize {
        self.top_k
    }

    /// Returns the indices of the best hits so far, in no particular order.
    pub fn indices(&self) -> impl Iterator<Item = usize> {
        self.best.iter().map(|worst| worst.0.index)
    }

    /// Adds the next texts of the corpus. Returns the tokens that entered the network, and the
    /// number of texts that were truncated.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn add_texts<S: AsRef<str> + TextInput + Sync>(
        &mut self,
        texts: &[S],
    ) -> Result<(usize, usize)> {
        let embeddings = self
            .searcher
            .embedder
            .embed_with(texts, &self.searcher.document)?;
        for (text, embedding) in texts.iter().zip(&embeddings) {
            self.add_vector(&embedding.vector, Some(text.as_ref()))?;
        }
        let tokens = embeddings.iter().map(|embedding| embedding.tokens).sum();
        let truncated = embeddings.iter().filter(|it| it.truncated).count();
        Ok((tokens, truncated))
    }

    /// Adds the embedding of the next text, which the same model computed earlier with the same
    /// options.
    ///
    /// One that is not finite, as saved embeddings have it for a bad line, is skipped.
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
                // Among equal hits the earlier stays.
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

    /// Counts a text of the corpus without an embedding.
    pub fn skip(&mut self) {
        self.seen += 1;
    }

    /// Returns the best hits, best first; among equal ones the earlier comes first.
    pub fn hits(self) -> Vec<Hit> {
        self.best
            .into_sorted_vec()
            .into_iter()
            .map(|worst| worst.0)
            .collect()
    }
}

/// A hit in reverse order: a worse hit is greater.
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

//! The work of a request: texts that are independent of each other, each with a result.

use std::sync::{Arc, Mutex, PoisonError};

use albert_tasks::{Embedder, Embedding, PreparedText, Result};

/// The texts of a request, of which any part can be computed at a time.
pub(crate) trait Work: Send + Sync {
    /// Computes the texts of these indices and keeps their results.
    fn compute(&self, texts: &[usize]) -> Result<()>;

    /// Returns the texts if they are embeddings, which are computed together with other requests'.
    fn embeddings(&self) -> Option<&Embeddings> {
        None
    }
}

/// The results of a request's texts, filled in any order.
#[derive(Debug)]
pub(crate) struct Results<T>(Mutex<Vec<Option<T>>>);

impl<T> Results<T> {
    fn new(texts: usize) -> Self {
        Self(Mutex::new((0..texts).map(|_| None).collect()))
    }

    fn set(&self, texts: &[usize], values: impl IntoIterator<Item = T>) {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (&text, value) in texts.iter().zip(values) {
            results[text] = Some(value);
        }
    }

    /// Takes the results, in the texts' order.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut results = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *results)
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Texts to embed, tokenized.
#[derive(Debug)]
pub(crate) struct Embeddings {
    pub(crate) embedder: Arc<Embedder>,
    pub(crate) texts: Vec<PreparedText>,
    pub(crate) results: Results<Embedding>,
}

impl Embeddings {
    pub(crate) fn new(embedder: Arc<Embedder>, texts: Vec<PreparedText>) -> Self {
        let results = Results::new(texts.len());
        Self {
            embedder,
            texts,
            results,
        }
    }

    /// Returns the lengths of the texts in tokens.
    pub(crate) fn lengths(&self) -> Vec<usize> {
        self.texts.iter().map(PreparedText::tokens).collect()
    }

    /// Embeds texts of several requests for one embedder in one pass.
    pub(crate) fn compute_together(parts: &[(&Self, &[usize])]) -> Result<()> {
        let Some((first, _)) = parts.first() else {
            return Ok(());
        };
        let texts: Vec<&PreparedText> = parts
            .iter()
            .flat_map(|(work, texts)| texts.iter().map(|&text| &work.texts[text]))
            .collect();
        let mut embeddings = first.embedder.embed_prepared(&texts)?.into_iter();
        for (work, texts) in parts {
            work.results
                .set(texts, embeddings.by_ref().take(texts.len()));
        }
        Ok(())
    }
}

impl Work for Embeddings {
    fn compute(&self, texts: &[usize]) -> Result<()> {
        Self::compute_together(&[(self, texts)])
    }

    fn embeddings(&self) -> Option<&Embeddings> {
        Some(self)
    }
}

/// Computes the texts of these indices and returns one result for each.
type Compute<T> = Box<dyn Fn(&[usize]) -> Result<Vec<T>> + Send + Sync>;

/// Texts of any other task.
pub(crate) struct Batch<T> {
    compute: Compute<T>,
    pub(crate) results: Results<T>,
}

impl<T> Batch<T> {
    /// Returns work of `texts` texts, of which `compute` returns one result for each index.
    pub(crate) fn new(
        texts: usize,
        compute: impl Fn(&[usize]) -> Result<Vec<T>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            compute: Box::new(compute),
            results: Results::new(texts),
        }
    }
}

impl<T: Send> Work for Batch<T> {
    fn compute(&self, texts: &[usize]) -> Result<()> {
        self.results.set(texts, (self.compute)(texts)?);
        Ok(())
    }
}

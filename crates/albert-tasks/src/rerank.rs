//! Reranking: the relevance of texts to a query, by a cross-encoder that reads each text together
//! with the query.
//!
//! Source: sentence-transformers 2.7, `CrossEncoder.rank`.

use albert_model::AlbertConfig;
use serde::Serialize;

use crate::probability::sigmoid;
use crate::task::impl_loading;
use crate::{Classifier, Error, Result, ScoreFunction, SharedModel, TextInput, Tokenizer};

/// Options for [`Reranker::rank`] and [`Reranker::score`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RerankOptions {
    /// Keeps this many of the best texts; `None` keeps all.
    pub top_k: Option<usize>,
    /// Returns the sigmoid of a score, in [0, 1], instead of the raw score.
    pub probability: bool,
}

impl RerankOptions {
    /// Keeps the `top_k` best texts.
    pub fn with_top_k(mut self, top_k: impl Into<Option<usize>>) -> Self {
        self.top_k = top_k.into();
        self
    }

    /// Returns the sigmoid of scores, or raw scores.
    pub fn with_probability(mut self, probability: bool) -> Self {
        self.probability = probability;
        self
    }
}

/// The relevance of one text to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Relevance {
    /// The score: the model's logit, or its sigmoid.
    pub score: f32,
    /// Tokens that entered the network, special tokens included.
    pub tokens: usize,
    /// True if the query or the text was truncated: the end of the longer one is removed.
    pub truncated: bool,
}

/// A text with its relevance to a query.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RankedText {
    /// The index of the text, from 0.
    pub index: usize,
    /// Its score: the model's logit, or its sigmoid.
    pub score: f32,
}

/// Ranks texts by their relevance to a query, with a cross-encoder: a sequence classification model
/// of one label.
///
/// ```
/// use albert_tasks::{ModelFiles, RerankOptions, Reranker, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/single");
/// let reranker = Reranker::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let texts = ["The river runs through the town.", "It was a fine day."];
/// let ranked = reranker.rank("Where does the river run?", &texts, &RerankOptions::default())?;
/// assert!(ranked[0].score >= ranked[1].score);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "cross-encoder")]
#[doc(alias = "CrossEncoder")]
#[derive(Debug)]
pub struct Reranker {
    classifier: Classifier,
}

impl_loading!(Reranker);

impl Reranker {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sequence classification head of one label.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let classifier = Classifier::from_model(model)?;
        match classifier.config().num_labels() {
            1 => Ok(Self { classifier }),
            labels => Err(Error::NotCrossEncoder { labels }),
        }
    }

    /// Returns the maximum length of a query with a text in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.classifier.max_length()
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.classifier.tokenizer()
    }

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.classifier.config()
    }

    /// Ranks texts by their relevance to `query`, most relevant first; of equal ones the earlier
    /// first.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn rank<S: AsRef<str> + Sync>(
        &self,
        query: &str,
        texts: &[S],
        options: &RerankOptions,
    ) -> Result<Vec<RankedText>> {
        let scores = self.score(query, texts, options)?.into_iter().enumerate();
        let mut ranked: Vec<RankedText> = scores
            .map(|(index, relevance)| RankedText {
                index,
                score: relevance.score,
            })
            .collect();
        ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranked.truncate(options.top_k.unwrap_or(ranked.len()));
        Ok(ranked)
    }

    /// Scores the relevance of each text to `query`, in order. [`RerankOptions::top_k`] does not
    /// apply.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn score<S: AsRef<str> + Sync>(
        &self,
        query: &str,
        texts: &[S],
        options: &RerankOptions,
    ) -> Result<Vec<Relevance>> {
        let pairs: Vec<(&str, &str)> = texts.iter().map(|text| (query, text.as_ref())).collect();
        self.score_pairs(&pairs, options)
    }

    fn score_pairs<I: TextInput + Sync>(
        &self,
        pairs: &[I],
        options: &RerankOptions,
    ) -> Result<Vec<Relevance>> {
        let scores = self.classifier.scores(pairs, ScoreFunction::None, None)?;
        let relevance = |(scores, read): (Vec<f32>, crate::windowed::Windowed)| Relevance {
            score: if options.probability {
                sigmoid(scores[0])
            } else {
                scores[0]
            },
            tokens: read.tokens(),
            truncated: read.truncated(),
        };
        Ok(scores.into_iter().map(relevance).collect())
    }
}

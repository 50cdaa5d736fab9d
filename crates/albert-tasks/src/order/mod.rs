//! Sentence order prediction: predicts which of two texts comes first, and sorts the sentences of a
//! text.
//!
//! ALBERT is pretrained on this task: given two segments, it predicts whether they are in the order
//! of the document or swapped (Lan et al. 2020, §3.1). It needs a checkpoint with the sentence
//! order head: Google's own checkpoints have it, albert-*-v1 and -v2 on the Hub do not. A BERT's
//! next sentence head serves too: it predicts whether the second text follows the first or is from
//! elsewhere.

mod sentences;
mod sort;

use albert_model::AlbertForNextSentencePrediction;
use serde::Serialize;

use crate::engine::batching;
use crate::engine::runner::CHUNK_BYTES;
use crate::input::SecondText;
use crate::pipeline::{Pipeline, Purpose};
use crate::probability::softmax;
use crate::task::{impl_access, impl_loading};
use crate::tokenizer::TokenIds;
use crate::{Error, Result, SharedModel, TextInput, input};
pub use sentences::split_sentences;

/// The maximum number of sentences to sort: every ordered pair of them is a row.
const MAX_SENTENCES: usize = 100;

/// The labels of the sentence-order head: in order, swapped.
const ORDERS: usize = 2;

/// The order of two texts.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SentenceOrder {
    /// The probability that the second text follows the first, rather than the two being swapped or,
    /// for a BERT, the second being from elsewhere.
    pub in_order: f32,
    /// Tokens that entered the network, special tokens included.
    pub tokens: usize,
    /// True if the texts were truncated.
    pub truncated: bool,
}

/// A text's sentences in the best order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SortedSentences {
    /// The position of each sentence in the text, from 0.
    pub order: Vec<usize>,
    /// The sentences, in that order.
    pub sentences: Vec<String>,
    /// Tokens that entered the network, special tokens included, over all pairs.
    pub tokens: usize,
}

/// Predicts the order of texts with the sentence order head.
///
/// ```
/// use albert_tasks::{ModelFiles, Orderer, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let orderer = Orderer::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let answers = orderer.order(&[("It began to rain.", "So we went home.")])?;
/// assert!((0.0..=1.0).contains(&answers[0].in_order));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "sentence order prediction")]
#[doc(alias = "SOP")]
#[derive(Debug)]
pub struct Orderer {
    pipeline: Pipeline<AlbertForNextSentencePrediction>,
}

impl_loading!(Orderer);
impl_access!(Orderer);

impl Orderer {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sentence order head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Pairs)?;
        let labels = model.checkpoint().config().order_labels();
        if labels != ORDERS {
            return Err(Error::Field {
                file: "config.json".to_string(),
                field: "id2label".to_string(),
                expected: format!("{ORDERS} labels for sentence order, in order and swapped"),
                found: labels.to_string(),
            });
        }
        Ok(Self { pipeline })
    }

    /// Returns the maximum length of a pair in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Returns the probability that each pair is in order; results are in input order.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn order<S, P>(&self, pairs: &[(S, P)]) -> Result<Vec<SentenceOrder>>
    where
        S: AsRef<str> + Sync,
        P: SecondText + Sync,
    {
        self.pipeline
            .runner
            .in_chunks(pairs, CHUNK_BYTES, input::bytes, |pairs| {
                self.order_chunk(pairs)
            })
    }

    fn order_chunk<I: TextInput + Sync>(&self, pairs: &[I]) -> Result<Vec<SentenceOrder>> {
        let Pipeline {
            model,
            tokenizer,
            max_length,
            runner,
        } = &self.pipeline;
        let rows = batching::encode(tokenizer, pairs, *max_length)?;
        let forward = |input: &_| Ok(model.forward(input)?.logits); // (B, 2)
        let logits = batching::row_logits(&rows, runner, forward)?;
        let finish = |(row, mut logits): (&TokenIds, Vec<f32>)| {
            softmax(&mut logits);
            SentenceOrder {
                in_order: logits[0],
                tokens: row.ids.len(),
                truncated: row.truncated,
            }
        };
        Ok(rows.iter().zip(logits).map(finish).collect())
    }

    /// Sorts the sentences of each text ([`split_sentences`]) into the order that the model finds
    /// most probable.
    ///
    /// Every ordered pair of sentences is scored. The best order has the largest sum, over all
    /// sentences a and b where a comes anywhere before b, of
    ///
    /// ```text
    /// ln P(in order | a, b) + ln P(swapped | b, a)
    /// ```
    ///
    /// The result is exact for up to 16 sentences. For more, a local search moves one sentence at a
    /// time until no move improves the sum, which may miss the best order. Among equally good
    /// orders, the one that keeps earlier sentences first wins.
    ///
    /// # Errors
    /// If a text has more than 100 sentences, or the computation fails.
    pub fn sort<S: AsRef<str>>(&self, texts: &[S]) -> Result<Vec<SortedSentences>> {
        self.sort_each(texts).into_iter().collect()
    }

    /// Sorts like [`sort`](Self::sort), with a separate error for each text that cannot be sorted.
    pub fn sort_each<S: AsRef<str>>(&self, texts: &[S]) -> Vec<Result<SortedSentences>> {
        texts
            .iter()
            .map(|text| self.sort_sentences(&split_sentences(text.as_ref())))
            .collect()
    }

    fn sort_sentences(&self, sentences: &[&str]) -> Result<SortedSentences> {
        let count = sentences.len();
        if count > MAX_SENTENCES {
            return Err(Error::TooManySentences {
                found: count,
                limit: MAX_SENTENCES,
            });
        }
        let places = || {
            (0..count)
                .flat_map(|a| (0..count).map(move |b| (a, b)))
                .filter(|(a, b)| a != b)
        };
        let pairs: Vec<(&str, &str)> = places()
            .map(|(a, b)| (sentences[a], sentences[b]))
            .collect();
        let answers = self.order(&pairs)?;
        let mut in_order = vec![vec![0.5; count]; count];
        for ((a, b), answer) in places().zip(&answers) {
            in_order[a][b] = f64::from(answer.in_order);
        }
        let order = sort::best_order(&sort::weights(&in_order));
        Ok(SortedSentences {
            sentences: order
                .iter()
                .map(|&index| sentences[index].to_string())
                .collect(),
            order,
            tokens: answers.iter().map(|answer| answer.tokens).sum(),
        })
    }
}

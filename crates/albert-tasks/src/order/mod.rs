//! Which of two texts comes first, and in which order the sentences of a text belong.
//!
//! ALBERT is pretrained on this: of two segments it is to tell whether they stand as they stood in
//! the document or swapped (Lan et al. 2020, §3.1). Only files with that head will do: the
//! checkpoints on the Hub named albert-*-v1 and -v2 lack it, Google's own have it.

mod sentences;
mod sort;

use albert_model::{AlbertConfig, AlbertForPreTraining, Pretrained as _};
use serde::Serialize;

use crate::batching;
use crate::options::{Purpose, Setup};
use crate::probability::softmax;
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};
pub use sentences::split_sentences;

/// More sentences than this are not sorted: every ordered pair of them is a pass through the model.
const MAX_SENTENCES: usize = 100;

/// How likely two texts stand in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InOrder {
    /// The probability that the second text follows the first, as opposed to the two being swapped.
    pub in_order: f32,
    /// Tokens that entered the model, special tokens included.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the texts were cut to fit.
    #[serde(skip)]
    pub truncated: bool,
}

/// A text's sentences in the best order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sorted {
    /// Where each of the sentences stood in the text, from 0.
    pub order: Vec<usize>,
    /// The sentences, in that order.
    pub sentences: Vec<String>,
    /// Tokens that entered the model, special tokens included, over all pairs.
    #[serde(skip)]
    pub tokens: usize,
}

/// Tells the order of texts with the sentence order head.
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
#[derive(Debug)]
pub struct Orderer {
    model: AlbertForPreTraining,
    tokenizer: Tokenizer,
    max_length: usize,
    runner: Runner,
}

impl Orderer {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sentence order head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForPreTraining::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        tokenizer.room(max_length, true)?;
        Ok(Self {
            model,
            tokenizer,
            max_length,
            runner,
        })
    }

    /// The longest pair in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// How likely each pair stands in order, in input order.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn order<S: AsRef<str>, P: AsRef<str>>(&self, pairs: &[(S, P)]) -> Result<Vec<InOrder>> {
        let inputs: Vec<(&str, Option<&str>)> = pairs
            .iter()
            .map(|(first, second)| (first.as_ref(), Some(second.as_ref())))
            .collect();
        let size =
            |(first, second): &(&str, Option<&str>)| first.len() + second.map_or(0, str::len);
        self.runner
            .in_portions(&inputs, TEXT_AT_ONCE, size, |inputs| {
                self.order_portion(inputs)
            })
    }

    fn order_portion(&self, inputs: &[(&str, Option<&str>)]) -> Result<Vec<InOrder>> {
        let rows = batching::encode(&self.tokenizer, inputs, self.max_length)?;
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            self.model
                .sentence_order(&batching::model_input(rows, device)?) // (B, 2)
        })?;
        let finish = |(row, mut logits): (&crate::tokenizer::TokenIds, Vec<f32>)| {
            softmax(&mut logits);
            InOrder {
                in_order: logits[0],
                tokens: row.ids.len(),
                truncated: row.truncated,
            }
        };
        Ok(rows.iter().zip(logits).map(finish).collect())
    }

    /// The sentences of each text ([`split_sentences`]) in the order that suits the model best.
    ///
    /// Every ordered pair of sentences is asked for. The best order is the one with the largest
    /// sum, over all sentences a and b of which a stands somewhere before b,
    ///
    /// ```text
    /// ln P(in order | a, b) + ln P(swapped | b, a)
    /// ```
    ///
    /// It is exact up to 16 sentences. Beyond, sentences are moved one by one from a first guess
    /// until no move is for the better, which need not find the best order of all. Of equally good
    /// orders the one that keeps earlier sentences first is given.
    ///
    /// A text that cannot be sorted has its own error: one of more than 100 sentences is refused.
    pub fn sort<S: AsRef<str>>(&self, texts: &[S]) -> Vec<Result<Sorted>> {
        texts
            .iter()
            .map(|text| self.sort_sentences(&split_sentences(text.as_ref())))
            .collect()
    }

    fn sort_sentences(&self, sentences: &[&str]) -> Result<Sorted> {
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
        Ok(Sorted {
            sentences: order
                .iter()
                .map(|&index| sentences[index].to_string())
                .collect(),
            order,
            tokens: answers.iter().map(|answer| answer.tokens).sum(),
        })
    }
}

//! Text scores: the pseudo-log-likelihood of a text under the model.

use rayon::prelude::*;
use serde::Serialize;

use super::MaskFiller;
use crate::engine::runner::CHUNK_BYTES;
use crate::probability::log_softmax;
use crate::tokenizer::TokenIds;
use crate::{Result, Tokenizer};

/// The score of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextScore {
    /// The sum of the natural logarithms of the probability of each token, given all the others; 0
    /// for a text without tokens. The special tokens around the text are neither masked nor
    /// counted.
    pub log_likelihood: f64,
    /// Tokens that entered the network, special tokens included.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
}

/// Batches of masked rows that are prepared together.
const CHUNK_BATCHES: usize = 16;

impl MaskFiller {
    /// Computes the pseudo-log-likelihood of each text, in order: one token after another is
    /// masked, and the logarithms of the probabilities of the masked tokens are added up. A text of
    /// n tokens takes n rows.
    ///
    /// ```text
    /// PLL(x) = Σ over the text's tokens t of ln P(xₜ | x without xₜ)
    /// ```
    ///
    /// Source: Salazar et al. 2020, *Masked Language Model Scoring*, eq. 1.
    ///
    /// ```
    /// use albert_tasks::{MaskFiller, ModelFiles, RunOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    /// let scores = filler.score(&["He read the book.", "He read book the."])?;
    /// assert!(scores[0].log_likelihood > scores[1].log_likelihood);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn score<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<TextScore>> {
        let size = |text: &S| text.as_ref().len();
        self.pipeline
            .runner
            .in_chunks(texts, CHUNK_BYTES, size, |texts| self.score_chunk(texts))
    }

    fn score_chunk<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<TextScore>> {
        let max_length = self.max_length();
        let encode = |text: &S| encode(self.tokenizer(), text.as_ref(), max_length);
        let encoded: Vec<(TokenIds, Vec<usize>)> =
            texts.par_iter().map(encode).collect::<Result<_>>()?;
        let mut scores: Vec<TextScore> = encoded
            .iter()
            .map(|(tokens, _)| TextScore {
                log_likelihood: 0.0,
                tokens: tokens.ids.len(),
                truncated: tokens.truncated,
            })
            .collect();
        let masks: Vec<(usize, usize)> = encoded
            .iter()
            .enumerate()
            .flat_map(|(text, (_, positions))| {
                positions.iter().map(move |&position| (text, position))
            })
            .collect();
        for masks in masks.chunks(self.rows_in_chunk(&encoded)) {
            let masked: Vec<TokenIds> = masks
                .iter()
                .map(|&(text, position)| {
                    let mut tokens = encoded[text].0.clone();
                    tokens.ids[position] = self.mask_id;
                    tokens
                })
                .collect();
            let rows: Vec<(&TokenIds, &[usize])> = masked
                .iter()
                .zip(masks)
                .map(|(tokens, mask)| (tokens, std::slice::from_ref(&mask.1)))
                .collect();
            let id = |index: usize| encoded[masks[index].0].0.ids[masks[index].1] as usize;
            let found = self.at_each_position(&rows, |row, logits| log_softmax(logits, id(row)))?;
            for (mask, log_probability) in masks.iter().zip(found) {
                scores[mask.0].log_likelihood += log_probability;
            }
        }
        Ok(scores)
    }

    fn rows_in_chunk(&self, encoded: &[(TokenIds, Vec<usize>)]) -> usize {
        let longest = encoded
            .iter()
            .map(|(tokens, _)| tokens.ids.len())
            .max()
            .unwrap_or(1);
        self.pipeline
            .runner
            .rows(longest)
            .saturating_mul(CHUNK_BATCHES)
    }
}

/// Returns a text's tokens, and the positions of those that are not special.
fn encode(tokenizer: &Tokenizer, text: &str, max_length: usize) -> Result<(TokenIds, Vec<usize>)> {
    let encoding = tokenizer.encode(text, None, Some(max_length))?;
    let special = encoding.special_tokens_mask.iter().enumerate();
    let positions = special
        .filter(|(_, special)| **special == 0)
        .map(|(position, _)| position)
        .collect();
    let tokens = TokenIds {
        ids: encoding.ids,
        type_ids: encoding.type_ids,
        truncated: encoding.truncated,
    };
    Ok((tokens, positions))
}

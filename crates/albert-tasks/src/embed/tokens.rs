//! One vector per token: the hidden states, joined over the windows of a text.

use albert_model::{AlbertOutput, TokensRead};
use serde::Serialize;

use super::{EmbedOptions, Embedder, PreparedText};
use crate::engine::batching::to_f32;
use crate::engine::runner::CHUNK_BYTES;
use crate::pooling::{Pass, add_to, finite, normalize};
use crate::{Result, TextInput, input};

/// The vectors of one text's tokens.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenEmbeddings {
    /// The tokens' pieces, special tokens included.
    pub pieces: Vec<String>,
    /// Tokens that entered the network, over all windows.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
    /// One vector for each piece.
    pub vectors: Vec<Vec<f32>>,
}

impl Embedder {
    /// Returns the vectors of each text's tokens, in order.
    ///
    /// They are the hidden states of the network: not pooled, without the modules after the
    /// pooling, and only normalized with [`Embedder::with_normalize`]`(true)`. A token in several
    /// windows has the weighted mean of its vectors.
    ///
    /// # Errors
    /// See [`Embedder::embed`].
    pub fn embed_tokens<I: TextInput + Sync>(&self, inputs: &[I]) -> Result<Vec<TokenEmbeddings>> {
        self.embed_tokens_with(inputs, &EmbedOptions::default())
    }

    /// Returns the vectors of each text's tokens with options for this call.
    ///
    /// # Errors
    /// See [`Embedder::embed_with`].
    pub fn embed_tokens_with<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<TokenEmbeddings>> {
        self.check(options)?;
        self.pipeline
            .runner
            .in_chunks(inputs, CHUNK_BYTES, input::bytes, |inputs| {
                self.embed_tokens_chunk(inputs, &options.or(&self.defaults))
            })
    }

    fn embed_tokens_chunk<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &EmbedOptions,
    ) -> Result<Vec<TokenEmbeddings>> {
        let texts = self.prepare(inputs, options)?;
        let prepared: Vec<&PreparedText> = texts.iter().collect();
        let hidden_size = self.config().hidden_size;
        let mut vectors: Vec<Vec<Vec<f32>>> = texts
            .iter()
            .map(|text| vec![vec![0f32; hidden_size]; text.text.ids().len()])
            .collect();
        let reduce = |output: &AlbertOutput, passes: &[Pass]| {
            let states = to_f32(&output.last_hidden_state)?;
            finite(&states)?;
            let mut rest = &states[..];
            let own = |pass: &Pass| {
                let own;
                (own, rest) = rest.split_at(pass.occurrences.len() * hidden_size);
                Ok(own.to_vec())
            };
            passes.iter().map(own).collect()
        };
        let read = |_: &[Pass]| TokensRead::All;
        self.compute(&prepared, read, reduce, |text, pass, states: Vec<f32>| {
            let states = states.chunks_exact(hidden_size);
            for (occurrence, state) in pass.occurrences.iter().zip(states) {
                let vector = &mut vectors[text][occurrence.position];
                add_to(vector, occurrence.weight, state);
            }
        })?;
        let dim = self.truncate_dim(options);
        let finish = |(text, mut vectors): (&PreparedText, Vec<Vec<f32>>)| {
            for vector in &mut vectors {
                vector.truncate(dim.unwrap_or(vector.len()));
                if options.normalize == Some(true) {
                    normalize(vector);
                }
            }
            let piece = |&id: &u32| self.tokenizer().id_to_token(id).unwrap_or_default();
            TokenEmbeddings {
                pieces: text.text.ids().iter().map(piece).collect(),
                tokens: text.tokens(),
                truncated: text.is_truncated(),
                vectors,
            }
        };
        Ok(texts.iter().zip(vectors).map(finish).collect())
    }
}

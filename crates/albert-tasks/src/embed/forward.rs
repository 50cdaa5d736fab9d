//! The passes of many texts through the network, in batches of similar length.

use std::borrow::Cow;

use albert_model::{AlbertOutput, TokensRead};

use super::{Embedder, PreparedText};
use crate::Result;
use crate::engine::batching;
use crate::pooling::Pass;
use crate::tokenizer::TokenIds;

impl Embedder {
    /// Runs every pass of every text through the network; the passes of a text are in order.
    /// `read` returns the tokens that `reduce` reads.
    pub(super) fn compute<P: Send>(
        &self,
        texts: &[&PreparedText],
        read: impl Fn(&[Pass]) -> TokensRead + Sync,
        reduce: impl Fn(&AlbertOutput, &[Pass]) -> Result<Vec<P>> + Sync,
        mut add: impl FnMut(usize, &Pass, P) + Send,
    ) -> Result<()> {
        let passes: Vec<(usize, usize)> = texts
            .iter()
            .enumerate()
            .flat_map(|(index, text)| (0..text.text.passes()).map(move |pass| (index, pass)))
            .collect();
        let lengths: Vec<usize> = passes
            .iter()
            .map(|&(text, pass)| texts[text].text.pass_len(pass))
            .collect();
        let forward = |batch: &[usize]| {
            let of_batch = || {
                batch
                    .iter()
                    .map(|&row| (texts[passes[row].0], passes[row].1))
            };
            let tokens: Vec<Cow<'_, TokenIds>> = of_batch()
                .map(|(text, pass)| text.text.pass(pass))
                .collect();
            let rows: Vec<&TokenIds> = tokens.iter().map(AsRef::as_ref).collect();
            let model = &self.pipeline.model;
            let places = of_batch().map(|(text, pass)| text.text.places(pass, text.skipped));
            let places: Vec<Pass> = places.collect();
            let input = batching::model_input(&rows, model.device())?;
            let output = model.forward(&input.with_tokens_read(read(&places)))?;
            let kept = reduce(&output, &places)?;
            Ok((places, kept))
        };
        // The longest passes come first, and passes of equal length in order: all windows of a text
        // but the last have the same length.
        self.pipeline
            .runner
            .run(&lengths, forward, |batch, (places, kept)| {
                let rows = batch.iter().zip(places.iter().zip(kept));
                rows.for_each(|(&index, (pass, kept))| add(passes[index].0, pass, kept));
                Ok(())
            })
    }
}

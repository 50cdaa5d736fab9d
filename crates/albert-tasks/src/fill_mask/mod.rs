//! Masked language modeling: the most probable tokens at a `[MASK]`.
//!
//! One pass computes the distribution of every mask over the vocabulary, with the other masks in
//! place; the decoder only runs at the masks. [`FillOptions::joint`] fills the masks one after
//! another instead (`filling`), and targets of several tokens take further passes (`ranking`).

mod filled;
mod filling;
mod options;
mod ranking;
mod score;
mod text;

use std::convert::Infallible;

use albert_model::AlbertForMaskedLM;
use rayon::prelude::*;

use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::task::{impl_access, impl_loading};
use crate::{Error, Event, Result, SharedModel, Tokenizer};
pub use filled::{Candidate, FilledMask, FilledText, Filling};
use filling::{Beam, Hypothesis};
pub use options::FillOptions;
use ranking::Query;
pub use score::TextScore;
use text::MaskedText;

/// Masked language modeling: fills masks, and scores texts.
///
/// ```
/// use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let filled = filler.fill(&["She opened the [MASK] and walked in."], &FillOptions::default())?;
/// assert_eq!(filled[0].masks[0].candidates.len(), 5);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "fill-mask")]
#[doc(alias = "MLM")]
#[doc(alias = "masked language model")]
#[doc(alias = "AlbertForMaskedLM")]
#[derive(Debug)]
pub struct MaskFiller {
    pipeline: Pipeline<AlbertForMaskedLM>,
    mask_id: u32,
}

impl_loading!(MaskFiller);
impl_access!(MaskFiller);

impl MaskFiller {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, the vocabulary
    /// has no mask token, or the model has no masked language model head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Texts)?;
        let tokenizer: &Tokenizer = &pipeline.tokenizer;
        let mask_token = tokenizer.mask_token().to_string();
        let Some(mask_id) = tokenizer.mask_token_id() else {
            return Err(Error::MissingToken {
                token: mask_token,
                file: tokenizer.file().to_string(),
            });
        };
        if !tokenizer
            .ids_without_special_tokens(&mask_token)?
            .contains(&mask_id)
        {
            return Err(Error::MaskNotAdded(mask_token));
        }
        Ok(Self { pipeline, mask_id })
    }

    /// Returns the token that marks a place to fill, such as `[MASK]`.
    pub fn mask_token(&self) -> &str {
        self.pipeline.tokenizer.mask_token()
    }

    /// Returns the maximum length of a text in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Checks that the vocabulary can represent every target, before [`fill`](Self::fill) checks it
    /// for each text.
    ///
    /// # Errors
    /// If there are none, or one is outside the vocabulary.
    pub fn check_targets(&self, targets: &[String]) -> Result<()> {
        self.resolve_targets(targets).map(drop)
    }

    /// Fills the masks of each text; results are in order.
    ///
    /// # Errors
    /// If a text has no mask or one beyond the maximum length, a target is outside the vocabulary,
    /// or the computation fails.
    pub fn fill<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &FillOptions,
    ) -> Result<Vec<FilledText>> {
        self.fill_each(texts, options).into_iter().collect()
    }

    /// Fills masks like [`fill`](Self::fill), with a separate error for each text that cannot be
    /// filled.
    pub fn fill_each<S: AsRef<str>>(
        &self,
        texts: &[S],
        options: &FillOptions,
    ) -> Vec<Result<FilledText>> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let resolve = || {
            options
                .targets
                .as_deref()
                .map(|targets| self.resolve_targets(targets))
                .transpose()
        };
        let Ok(targets) = resolve() else {
            // Every text has a separate result.
            let error = || resolve().err().unwrap_or(Error::Empty { what: "targets" });
            return texts.iter().map(|_| Err(error())).collect();
        };
        let Ok(filled) = self.pipeline.runner.in_chunks(
            &texts,
            CHUNK_BYTES,
            |text| text.len(),
            |texts| Ok::<_, Infallible>(self.fill_chunk(texts, targets.as_deref(), options)),
        );
        filled
    }

    fn fill_chunk(
        &self,
        texts: &[&str],
        targets: Option<&[Vec<u32>]>,
        options: &FillOptions,
    ) -> Vec<Result<FilledText>> {
        let mut beams: Vec<Result<Beam<'_>>> = texts
            .par_iter()
            .map(|text| self.start(text, targets))
            .collect();
        let width = options.beam.max(1);
        let top_k = if options.joint {
            options.top_k.max(width)
        } else {
            options.top_k.max(1)
        };
        let open = |beams: &[Result<Beam<'_>>]| -> usize {
            beams.iter().flatten().map(Beam::open_masks).sum()
        };
        let total = open(&beams);
        // Unless masks are filled jointly, every mask has its candidates after the first round.
        loop {
            let of_texts: Vec<Vec<Query<'_>>> = beams
                .iter()
                .map(|beam| {
                    beam.as_ref()
                        .map_or_else(|_| Vec::new(), |beam| beam.queries().collect())
                })
                .collect();
            let counts: Vec<usize> = of_texts.iter().map(Vec::len).collect();
            let queries: Vec<Query<'_>> = of_texts.into_iter().flatten().collect();
            if queries.is_empty() {
                break;
            }
            let mut ranked = self.rank(&queries, top_k).into_iter();
            drop(queries);
            for (beam, count) in beams.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
                let ranked: Result<Vec<_>> = ranked.by_ref().take(count).collect();
                match (beam.as_mut(), ranked) {
                    (Ok(beam), Ok(ranked)) if options.joint => beam.expand(ranked, width),
                    (Ok(beam), Ok(ranked)) => beam.fill_all(ranked),
                    (_, Err(error)) => *beam = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
            if options.joint {
                let done = total - open(&beams).min(total);
                let event = Event::MasksFilled { done, total };
                self.pipeline.runner.observer().notify(&event);
            }
        }
        beams
            .into_iter()
            .map(|beam| beam.and_then(|beam| self.render(beam, options)))
            .collect()
    }

    fn start<'a>(&self, text: &'a str, targets: Option<&'a [Vec<u32>]>) -> Result<Beam<'a>> {
        let masked = MaskedText::new(text, self.tokenizer(), self.mask_id, self.max_length())?;
        Ok(Beam::new(masked, targets))
    }

    /// Builds the result once every mask has its candidates.
    fn render(&self, beam: Beam<'_>, options: &FillOptions) -> Result<FilledText> {
        let fillings: Vec<Filling> = if options.joint {
            beam.hypotheses
                .iter()
                .map(|hypothesis| self.filling(&beam.masked, hypothesis))
                .collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        // The other masks in a candidate's text.
        let others: Vec<Option<&str>> = match fillings.first() {
            Some(best) => best
                .tokens
                .iter()
                .map(|token| Some(token.as_str()))
                .collect(),
            None => vec![None; beam.masked.positions.len()],
        };
        let of_masks = beam.hypotheses.first().map(Hypothesis::candidates);
        let mut masks = Vec::with_capacity(beam.masked.positions.len());
        let masks_with_positions = of_masks
            .into_iter()
            .flatten()
            .zip(&beam.masked.positions)
            .enumerate();
        for (mask, (scored, &position)) in masks_with_positions {
            let candidates = scored.iter().take(options.top_k.max(1)).map(|scored| {
                let token = self.tokenizer().decode(&scored.ids)?;
                let mut fillings = others.clone();
                fillings[mask] = Some(&token);
                let text = beam.masked.filled(&fillings);
                let (id, ids) = match scored.ids.as_slice() {
                    [id] => (Some(*id), None),
                    ids => (None, Some(ids.to_vec())),
                };
                Ok(Candidate {
                    token,
                    id,
                    ids,
                    score: scored.score,
                    text,
                })
            });
            masks.push(FilledMask {
                position,
                candidates: candidates.collect::<Result<_>>()?,
            });
        }
        Ok(FilledText {
            masks,
            fillings,
            truncated: beam.masked.tokens.truncated,
        })
    }

    fn filling(&self, masked: &MaskedText<'_>, hypothesis: &Hypothesis) -> Result<Filling> {
        let ids = hypothesis.chosen();
        let tokens: Vec<String> = ids
            .iter()
            .map(|ids| self.tokenizer().decode(ids))
            .collect::<Result<_>>()?;
        let of_masks: Vec<Option<&str>> = tokens.iter().map(|token| Some(token.as_str())).collect();
        Ok(Filling {
            text: masked.filled(&of_masks),
            tokens,
            ids,
            score: hypothesis.log_probability.exp(),
        })
    }
}

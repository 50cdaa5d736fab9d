//! Masked language modeling: the most probable tokens at a `[MASK]`.
//!
//! One pass computes the distribution of every mask over the vocabulary, with the other masks in
//! place; the decoder only runs at the masks. [`FillOptions::joint`] fills the masks one after
//! another instead (`filling`), and targets of several tokens take further passes (`ranking`).

mod filling;
mod ranking;
mod score;
mod text;

use std::convert::Infallible;

use albert_model::{AlbertConfig, AlbertForMaskedLM};
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::{Error, Event, ModelFiles, Result, RunOptions, Tokenizer};
use filling::{Beam, Hypothesis};
use ranking::Query;
pub use score::TextScore;
use text::MaskedText;

/// Options for [`MaskFiller::fill`].
///
/// ```
/// use albert_tasks::FillOptions;
///
/// let options = FillOptions::default().with_top_k(3).with_beam(2);
/// assert!(options.joint && options.top_k == 3);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FillOptions {
    /// The number of candidates for each mask.
    pub top_k: usize,
    /// Considers only these texts. `the` means the piece `▁the`; a text of several pieces is scored
    /// as described at [`Candidate::score`].
    pub targets: Option<Vec<String>>,
    /// True to fill the masks jointly: the mask whose best candidate is the most probable is filled
    /// first, then the others are scored again given that token, and so on. The candidates of a
    /// mask are those of its step, and their texts show the other masks filled as in the best of
    /// [`FilledText::fillings`].
    pub joint: bool,
    /// The width of the beam search over fillings, if masks are filled jointly: the number of
    /// hypotheses kept after each step, and of [`FilledText::fillings`]. 1 and 0 mean greedy
    /// search.
    ///
    /// A wider beam takes that many times the passes, and may find a more probable filling.
    pub beam: usize,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self {
            top_k: 5,
            targets: None,
            joint: false,
            beam: 1,
        }
    }
}

impl FillOptions {
    /// Returns `top_k` candidates for each mask.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Considers `targets` only.
    pub fn with_targets(mut self, targets: impl Into<Option<Vec<String>>>) -> Self {
        self.targets = targets.into();
        self
    }

    /// Sets whether masks are filled jointly or independently.
    pub fn with_joint(mut self, joint: bool) -> Self {
        self.joint = joint;
        self
    }

    /// Fills the masks jointly and keeps the `beam` best hypotheses after each step.
    pub fn with_beam(mut self, beam: usize) -> Self {
        (self.joint, self.beam) = (true, beam);
        self
    }
}

/// A text with candidates for its masks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledText {
    /// The masks in order.
    pub masks: Vec<FilledMask>,
    /// The filled texts, most probable first, if masks were filled jointly.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fillings: Vec<Filling>,
    /// True if the text was truncated after its last mask.
    pub truncated: bool,
}

/// A mask with its candidates.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledMask {
    /// The token's index; `[CLS]` is 0.
    pub position: usize,
    /// The candidates, best first.
    pub candidates: Vec<Candidate>,
}

/// A candidate for a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The decoded piece, or pieces.
    pub token: String,
    /// The id of the piece; `None` for several.
    pub id: Option<u32>,
    /// The ids of several pieces.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// The probability among the whole vocabulary. For k pieces, k masks replace the one and are
    /// filled from left to right; the score is the product of the probabilities.
    pub score: f32,
    /// The text with this mask replaced.
    pub text: String,
}

/// All masks of a text, filled jointly.
///
/// ```
/// use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let options = FillOptions::default().with_beam(3);
/// let filled = filler.fill(&["The [MASK] sat on the [MASK]."], &options)?;
/// let fillings = &filled[0].fillings;
/// assert_eq!(fillings.len(), 3);
/// assert!(fillings[0].score >= fillings[1].score && !fillings[0].text.contains("[MASK]"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filling {
    /// The decoded pieces at each mask, in the order of the text.
    pub tokens: Vec<String>,
    /// The ids of each mask's pieces.
    pub ids: Vec<Vec<u32>>,
    /// The product, over the masks, of the probability of the pieces chosen: each given the text
    /// and the masks filled before it, and the most confident mask first.
    ///
    /// ```text
    /// P(w₁ … wₙ) = Π over t of P(w_σ(t) | text, w_σ(1) … w_σ(t−1));   σ(t) = argmax over open m of max over w of P(w at m | …)
    /// ```
    ///
    /// The product depends on the order σ, since a masked language model has no joint distribution.
    pub score: f64,
    /// The text with all masks replaced.
    pub text: String,
}

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

impl MaskFiller {
    /// Loads the model that `id` names: a folder, the built-in model or a model on the Hub.
    ///
    /// # Errors
    /// See [`ModelFiles::resolve`] and [`MaskFiller::load`].
    pub fn from_pretrained(id: &str) -> Result<Self> {
        Self::load(&ModelFiles::resolve(id)?, &RunOptions::default())
    }

    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, the vocabulary
    /// has no mask token, or the model has no masked language model head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let (pipeline, _) = Pipeline::load(files, options, Purpose::Texts)?;
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

    /// Returns the longest text in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Returns the network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.pipeline.model.config()
    }

    /// Returns the tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.pipeline.tokenizer
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

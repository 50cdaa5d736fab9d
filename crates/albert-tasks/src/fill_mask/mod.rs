//! What stands at a mask.
//!
//! One pass gives every mask its distribution over the vocabulary, each mask seen with the others
//! still masked; the decoder runs at the masks only. [`FillOptions::joint`] fills the masks one
//! after another instead (`filling`), and targets of several pieces take further passes
//! (`ranking`).

mod filling;
mod ranking;
mod score;
mod text;

use std::convert::Infallible;

use albert_model::{AlbertConfig, AlbertForMaskedLM, Pretrained as _};
use rayon::prelude::*;
use serde::Serialize;

use crate::options::{Purpose, Setup};
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};
use filling::{Partial, Work};
use ranking::Query;
pub use score::TextScore;
use text::MaskedText;

/// How masks are filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillOptions {
    /// How many candidates each mask gets.
    pub top_k: usize,
    /// Consider these texts only. `the` means the piece `▁the`; a text of several pieces is scored
    /// as described at [`Candidate::score`].
    pub targets: Option<Vec<String>>,
    /// Fill the masks together: the mask whose best candidate is the most probable is filled first,
    /// then the others are looked at again with it in place, and so on. A mask's candidates are
    /// those at its turn, and their texts show the other masks filled as in the best of
    /// [`FilledText::fillings`].
    pub joint: bool,
    /// How many fillings of the whole text are kept at each step while masks are filled together; 1
    /// follows the best one alone, 0 is 1. It is also how many [`FilledText::fillings`] there are.
    ///
    /// More cost as many passes as there are fillings, and may find a more probable one.
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

/// One text's masks in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledText {
    /// The masks.
    pub masks: Vec<FilledMask>,
    /// The whole text filled, where the masks were filled together: the most probable first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fillings: Vec<Filling>,
    /// Whether the text was cut to fit, behind its last mask.
    #[serde(skip)]
    pub truncated: bool,
}

/// One mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledMask {
    /// The token's index; `[CLS]` is 0.
    pub position: usize,
    /// The best first.
    pub candidates: Vec<Candidate>,
}

/// One way to fill a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// The decoded piece, or pieces.
    pub token: String,
    /// The id of the piece; `None` where there are several.
    pub id: Option<u32>,
    /// The ids, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
    /// The probability among the whole vocabulary. For k pieces, k masks stand in for the one and
    /// are filled from left to right; the score is the product of the probabilities.
    pub score: f32,
    /// The text with this mask replaced.
    pub text: String,
}

/// One way to fill all masks of a text together.
///
/// ```
/// use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let options = FillOptions { joint: true, beam: 3, ..FillOptions::default() };
/// for filled in filler.fill(&["The [MASK] sat on the [MASK]."], &options) {
///     let fillings = filled?.fillings;
///     assert_eq!(fillings.len(), 3);
///     assert!(fillings[0].score >= fillings[1].score && !fillings[0].text.contains("[MASK]"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Filling {
    /// What stands at each mask, decoded, in the order of the text.
    pub tokens: Vec<String>,
    /// The ids of each mask's pieces.
    #[serde(skip)]
    pub ids: Vec<Vec<u32>>,
    /// The product, over the masks, of the probability of what was put in: each given the text and
    /// what was put in before it, and the most confident mask first.
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

/// Fills masks with the masked language model head.
///
/// ```
/// use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
/// for filled in filler.fill(&["She opened the [MASK] and walked in."], &FillOptions::default()) {
///     assert_eq!(filled?.masks[0].candidates.len(), 5);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MaskFiller {
    model: AlbertForMaskedLM,
    tokenizer: Tokenizer,
    mask_id: u32,
    max_length: usize,
    runner: Runner,
}

impl MaskFiller {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, the vocabulary
    /// has no mask token, or the model has no masked language model head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let Some(mask_id) = tokenizer.mask_token_id() else {
            let token = tokenizer.mask_token().to_string();
            return Err(Error::MissingToken {
                token,
                file: tokenizer.file().to_string(),
            });
        };
        if !tokenizer
            .ids_without_special_tokens(tokenizer.mask_token())?
            .contains(&mask_id)
        {
            return Err(Error::MaskNotAdded(tokenizer.mask_token().to_string()));
        }
        let (model, _) = AlbertForMaskedLM::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        Ok(Self {
            model,
            tokenizer,
            mask_id,
            max_length,
            runner,
        })
    }

    /// The token that marks a place to fill, such as `[MASK]`.
    pub fn mask_token(&self) -> &str {
        self.tokenizer.mask_token()
    }

    /// The longest text in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Checks that every target can stand at a mask, which [`fill`](Self::fill) would find out text
    /// by text.
    ///
    /// # Errors
    /// If there are none, or one is outside the vocabulary.
    pub fn check_targets(&self, targets: &[String]) -> Result<()> {
        self.resolve_targets(targets).map(drop)
    }

    /// Fills the masks of each text; results in input order.
    ///
    /// A text that cannot be filled has its own error and does not disturb the others: no mask, a
    /// mask beyond the model's length, a target outside the vocabulary.
    pub fn fill<S: AsRef<str>>(
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
            // Every text has the error for its own.
            return texts
                .iter()
                .map(|_| resolve().and_then(|_| Err(Error::NoTargets)))
                .collect();
        };
        let Ok(filled) = self.runner.in_portions(
            &texts,
            TEXT_AT_ONCE,
            |text| text.len(),
            |texts| Ok::<_, Infallible>(self.fill_portion(texts, targets.as_deref(), options)),
        );
        filled
    }

    fn fill_portion(
        &self,
        texts: &[&str],
        targets: Option<&[Vec<u32>]>,
        options: &FillOptions,
    ) -> Vec<Result<FilledText>> {
        let mut work: Vec<Result<Work<'_>>> = texts
            .par_iter()
            .map(|text| self.prepare(text, targets))
            .collect();
        // Without `joint` every mask is settled in the first round.
        let beam = options.beam.max(1);
        let top_k = if options.joint {
            options.top_k.max(beam)
        } else {
            options.top_k.max(1)
        };
        loop {
            let of_work: Vec<Vec<Query<'_>>> = work
                .iter()
                .map(|work| {
                    work.as_ref()
                        .map_or_else(|_| Vec::new(), |work| work.queries().collect())
                })
                .collect();
            let counts: Vec<usize> = of_work.iter().map(Vec::len).collect();
            let queries: Vec<Query<'_>> = of_work.into_iter().flatten().collect();
            if queries.is_empty() {
                break;
            }
            let mut ranked = self.rank(&queries, top_k).into_iter();
            drop(queries);
            for (work, count) in work.iter_mut().zip(counts).filter(|(_, count)| *count > 0) {
                let ranked: Result<Vec<_>> = ranked.by_ref().take(count).collect();
                match (work.as_mut(), ranked) {
                    (Ok(work), Ok(ranked)) if options.joint => {
                        work.settle_most_confident(ranked, beam)
                    }
                    (Ok(work), Ok(ranked)) => work.settle_all(ranked),
                    (_, Err(error)) => *work = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
        }
        work.into_iter()
            .map(|work| work.and_then(|work| self.render(work, options)))
            .collect()
    }

    fn prepare<'a>(&self, text: &'a str, targets: Option<&'a [Vec<u32>]>) -> Result<Work<'a>> {
        let masked = MaskedText::new(text, &self.tokenizer, self.mask_id, self.max_length)?;
        Ok(Work::new(masked, targets))
    }

    /// The answer once every mask has its candidates.
    fn render(&self, work: Work<'_>, options: &FillOptions) -> Result<FilledText> {
        let fillings: Vec<Filling> = match options.joint {
            true => work
                .partials
                .iter()
                .map(|partial| self.filling(&work.masked, partial))
                .collect::<Result<_>>()?,
            false => Vec::new(),
        };
        // What stands at the other masks in a candidate's text.
        let others: Vec<Option<&str>> = match fillings.first() {
            Some(best) => best
                .tokens
                .iter()
                .map(|token| Some(token.as_str()))
                .collect(),
            None => vec![None; work.masked.positions.len()],
        };
        let of_masks = work
            .partials
            .into_iter()
            .next()
            .map(|best| best.candidates)
            .unwrap_or_default();
        let mut masks = Vec::with_capacity(of_masks.len());
        for (mask, (scored, &position)) in
            of_masks.into_iter().zip(&work.masked.positions).enumerate()
        {
            let candidates = scored.into_iter().take(options.top_k.max(1)).map(|scored| {
                let token = self.tokenizer.decode(&scored.ids)?;
                let mut fillings = others.clone();
                fillings[mask] = Some(&token);
                let text = work.masked.filled(&fillings);
                let id = <[u32; 1]>::try_from(scored.ids.as_slice())
                    .ok()
                    .map(|[id]| id);
                let ids = if id.is_none() { Some(scored.ids) } else { None };
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
            truncated: work.masked.tokens.truncated,
        })
    }

    fn filling(&self, masked: &MaskedText<'_>, partial: &Partial) -> Result<Filling> {
        let tokens: Vec<String> = partial
            .chosen
            .iter()
            .map(|ids| self.tokenizer.decode(ids))
            .collect::<Result<_>>()?;
        let text = masked.filled(
            &tokens
                .iter()
                .map(|token| Some(token.as_str()))
                .collect::<Vec<_>>(),
        );
        let score = partial.log_probability.exp();
        Ok(Filling {
            tokens,
            ids: partial.chosen.clone(),
            score,
            text,
        })
    }
}

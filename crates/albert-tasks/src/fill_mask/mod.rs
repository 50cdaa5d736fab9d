//! What stands at a mask.
//!
//! One pass gives every mask its distribution over the vocabulary, each mask seen with the others
//! still masked; the decoder runs at the masks only. [`FillOptions::joint`] fills the masks one after
//! another instead, and targets of several pieces take further passes (`ranking`).

mod ranking;
mod score;
mod text;

use albert_model::{AlbertConfig, AlbertForMaskedLM, Pretrained as _};
use rayon::prelude::*;
use serde::Serialize;

use crate::options::{Purpose, Setup};
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};
use ranking::{Query, Scored};
pub use score::TextScore;
use text::MaskedText;

/// How masks are filled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FillOptions {
    /// How many candidates each mask gets.
    pub top_k: usize,
    /// Consider these texts only. `the` means the piece `▁the`; a text of several pieces is scored as
    /// described at [`Candidate::score`].
    pub targets: Option<Vec<String>>,
    /// Fill the masks together: the mask whose best candidate is the most probable is filled first,
    /// then the others are looked at again with it in place, and so on. A mask's candidates are those
    /// at its turn, and their texts show the other masks filled with the best ones.
    pub joint: bool,
}

impl Default for FillOptions {
    fn default() -> Self {
        Self { top_k: 5, targets: None, joint: false }
    }
}

/// One text's masks in order.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FilledText {
    /// The masks.
    pub masks: Vec<FilledMask>,
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
    /// The probability among the whole vocabulary. For k pieces, k masks stand in for the one and are
    /// filled from left to right; the score is the product of the probabilities.
    pub score: f32,
    /// The text with this mask replaced.
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
    batch_tokens: usize,
}

impl MaskFiller {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, the vocabulary has
    /// no mask token, or the model has no masked language model head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup { checkpoint, tokenizer, max_length } = Setup::new(files, options, Purpose::Tokens)?;
        let Some(mask_id) = tokenizer.mask_token_id() else {
            let token = tokenizer.mask_token().to_string();
            return Err(Error::MissingToken { token, file: tokenizer.file().to_string() });
        };
        if !tokenizer.ids_without_special_tokens(tokenizer.mask_token())?.contains(&mask_id) {
            return Err(Error::MaskNotAdded(tokenizer.mask_token().to_string()));
        }
        let (model, _) = AlbertForMaskedLM::load(&checkpoint, &options.load)?;
        Ok(Self { model, tokenizer, mask_id, max_length, batch_tokens: options.batch_tokens })
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

    /// Checks that every target can stand at a mask, which [`fill`](Self::fill) would find out text by
    /// text.
    ///
    /// # Errors
    /// If one is outside the vocabulary.
    pub fn check_targets(&self, targets: &[String]) -> Result<()> {
        self.resolve_targets(targets).map(drop)
    }

    /// Fills the masks of each text; results in input order.
    ///
    /// A text that cannot be filled has its own error and does not disturb the others: no mask, a mask
    /// beyond the model's length, a target outside the vocabulary.
    pub fn fill<S: AsRef<str>>(&self, texts: &[S], options: &FillOptions) -> Vec<Result<FilledText>> {
        let texts: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let mut work: Vec<Result<Work<'_>>> =
            texts.par_iter().map(|text| self.prepare(text, options)).collect();
        // Without `joint` every mask is settled in the first round.
        loop {
            let mut open: Vec<&mut Result<Work<'_>>> = work
                .iter_mut()
                .filter(|work| work.as_ref().is_ok_and(|work| !work.open.is_empty()))
                .collect();
            if open.is_empty() {
                break;
            }
            let queries: Vec<Query<'_>> =
                open.iter().filter_map(|work| work.as_ref().ok()).map(Work::query).collect();
            let ranked = self.rank(&queries, options.top_k.max(1));
            drop(queries);
            for (work, ranked) in open.iter_mut().zip(ranked) {
                match (work.as_mut(), ranked) {
                    (Ok(work), Ok(ranked)) if options.joint => work.settle_most_confident(ranked),
                    (Ok(work), Ok(ranked)) => work.settle_all(ranked),
                    (_, Err(error)) => **work = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            }
        }
        work.into_iter().map(|work| work.and_then(|work| self.render(work, options))).collect()
    }

    fn prepare<'a>(&self, text: &'a str, options: &FillOptions) -> Result<Work<'a>> {
        let targets = options.targets.as_deref().map(|targets| self.resolve_targets(targets)).transpose()?;
        let masked = MaskedText::new(text, &self.tokenizer, self.mask_id, self.max_length)?;
        Ok(Work {
            tokens: masked.tokens.clone(),
            open: masked.positions.iter().copied().enumerate().collect(),
            settled: masked.positions.iter().map(|_| Vec::new()).collect(),
            masked,
            targets,
        })
    }

    /// The answer once every mask has its candidates.
    fn render(&self, work: Work<'_>, options: &FillOptions) -> Result<FilledText> {
        let decoded: Vec<Vec<String>> = work
            .settled
            .iter()
            .map(|candidates| candidates.iter().map(|scored| self.tokenizer.decode(&scored.ids)).collect())
            .collect::<Result<_>>()?;
        // What stands at the other masks in a candidate's text.
        let others: Vec<Option<&str>> = decoded
            .iter()
            .map(|tokens| tokens.first().map(String::as_str).filter(|_| options.joint))
            .collect();
        let mut masks = Vec::with_capacity(decoded.len());
        for (mask, (scored, tokens)) in work.settled.into_iter().zip(&decoded).enumerate() {
            let candidates = scored.into_iter().zip(tokens).take(options.top_k).map(|(scored, token)| {
                let mut fillings = others.clone();
                fillings[mask] = Some(token);
                let id = <[u32; 1]>::try_from(scored.ids.as_slice()).ok().map(|[id]| id);
                Candidate {
                    text: work.masked.filled(&fillings),
                    token: token.clone(),
                    id,
                    ids: if id.is_none() { Some(scored.ids) } else { None },
                    score: scored.score,
                }
            });
            masks
                .push(FilledMask { position: work.masked.positions[mask], candidates: candidates.collect() });
        }
        Ok(FilledText { masks, truncated: work.masked.tokens.truncated })
    }
}

/// A text on its way from masks to candidates.
struct Work<'a> {
    masked: MaskedText<'a>,
    targets: Option<Vec<Vec<u32>>>,
    /// The tokens with the masks settled so far filled in.
    tokens: crate::tokenizer::TokenIds,
    /// Masks without candidates: number and present position.
    open: Vec<(usize, usize)>,
    /// The candidates of each mask.
    settled: Vec<Vec<Scored>>,
}

impl Work<'_> {
    fn query(&self) -> Query<'_> {
        Query {
            tokens: &self.tokens,
            positions: self.open.iter().map(|(_, position)| *position).collect(),
            targets: self.targets.as_deref(),
        }
    }

    fn settle_all(&mut self, ranked: Vec<Vec<Scored>>) {
        for ((mask, _), candidates) in self.open.drain(..).zip(ranked) {
            self.settled[mask] = candidates;
        }
    }

    /// Settles the mask with the most probable candidate and puts that one into the tokens.
    fn settle_most_confident(&mut self, ranked: Vec<Vec<Scored>>) {
        let best = |candidates: &[Scored]| candidates.first().map_or(0.0, |scored| scored.score);
        let Some((at, candidates)) = ranked
            .into_iter()
            .enumerate()
            // Of equals the leftmost: `max_by` keeps the last of them.
            .rev()
            .max_by(|(_, a), (_, b)| best(a).total_cmp(&best(b)))
        else {
            self.open.clear();
            return;
        };
        let (mask, position) = self.open.remove(at);
        if let Some(chosen) = candidates.first() {
            self.tokens.replace(position, &chosen.ids);
            for (_, later) in self.open.iter_mut().filter(|(_, later)| *later > position) {
                *later += chosen.ids.len() - 1;
            }
        }
        self.settled[mask] = candidates;
    }
}

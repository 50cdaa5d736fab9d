//! ALBERT's reference tokenizer: transformers 4.46.3's slow `AlbertTokenizer`, step by step.
//!
//! 1. Lowercase, character by character, outside special tokens (if `do_lower_case`).
//! 2. Special and added tokens are extracted, and the text between them is processed separately.
//!    Tokens that `tokenizer.json` adds are extracted by the rules of transformers 5: before step
//!    1, or after step 3 if they are marked as normalized.
//! 3. White space is joined (if `remove_space`); ``` `` ``` and `''` become `"`; NFKD, combining
//!    marks dropped (unless `keep_accents`); lowercased again (if `do_lower_case`).
//! 4. SentencePiece.
//! 5. A piece that ends in a digit and a comma is segmented again without the comma, which becomes
//!    a separate piece.
//!
//! Every step keeps track of each character's position in the original text.
//!
//! Source: `models/albert/tokenization_albert.py` and `tokenization_utils.py` of that version.

use std::sync::atomic::{AtomicBool, Ordering};

use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

use super::added_tokens::{AddedTokens, Stretch};
use super::model_file::{Algorithm, Kind, Refusal};
use super::normalizer::SPACE;
use super::preparation::Preparation;
use super::trace::{Steps, TracedChar, place, trace, trace_from};
use super::{CutPiece, SentencePiece, python};
use crate::json::JsonObject;
use crate::tokenizer::TokenizerOptions;
use crate::tokenizer::explain::{Explanation, Normalized, Rule};
use crate::tokenizer::parts::{PART_BYTES, Part, parts};
use crate::tokenizer::special::{SpecialTokens, Token, defaults};
use crate::{Error, ModelFiles, Result};

/// The tokenizer of a folder with a `spiece.model`.
#[derive(Debug)]
pub(in crate::tokenizer) struct AlbertTokenizer {
    pub(super) model: SentencePiece,
    /// The file of the model, for errors.
    file: String,
    pub(super) steps: Preparation,
    added: AddedTokens,
    /// Pieces that are not in the model's file, with their ids.
    pub(super) extra: Vec<(u32, String)>,
    pub(super) special: SpecialTokens,
    pub(super) cls: u32,
    pub(super) sep: u32,
    pub(super) dropped_marks: AtomicBool,
    /// Texts without added tokens may be divided at spaces.
    allows_parts: bool,
}

/// One token of a text, without the special ones around it.
pub(super) struct Found<'a> {
    pub(super) id: u32,
    pub(super) start: u32,
    pub(super) end: u32,
    rule: Rule,
    /// The characters of the text that it covers.
    chars: &'a [TracedChar],
    /// The piece before the digit-comma rule.
    cut_from: Option<&'a [TracedChar]>,
}

impl AlbertTokenizer {
    /// Reads the tokenizer of a model from the bytes of `file`, SentencePiece's model, and the
    /// small files.
    pub(in crate::tokenizer) fn read(
        bytes: &[u8],
        file: &str,
        files: Option<&ModelFiles>,
        options: &TokenizerOptions,
    ) -> Result<Self> {
        let mut names = defaults(&[
            ("bos_token", "[CLS]"),
            ("eos_token", "[SEP]"),
            ("unk_token", "<unk>"),
            ("sep_token", "[SEP]"),
            ("pad_token", "<pad>"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ]);
        if let Some((_, mask)) = names.last_mut() {
            mask.lstrip = true;
        }
        let model = SentencePiece::parse(bytes).map_err(|why| refused(file, why))?;
        let config = files
            .map(|files| JsonObject::read(files, "tokenizer_config.json"))
            .transpose()?
            .flatten();
        let setting = |key: &str, default: bool| -> Result<bool> {
            let stated = config
                .as_ref()
                .map(|config| config.bool(key))
                .transpose()?
                .flatten();
            Ok(stated.unwrap_or(default))
        };
        let special = match files {
            Some(files) => SpecialTokens::read(files, &names)?,
            None => SpecialTokens::of_class(&names),
        };
        let added = special.with_ids(|token| model.id(token))?;
        let lookup = |token: &str| {
            let known = added
                .iter()
                .find(|(_, known)| known.content == token)
                .map(|(id, _)| *id);
            known.or_else(|| model.id(token))
        };
        let required = |role: &str| {
            let token = special.role(role).unwrap_or_default();
            let missing = || Error::MissingToken {
                token: token.to_string(),
                file: file.into(),
            };
            lookup(token).ok_or_else(missing)
        };
        let (cls, sep) = (required("cls_token")?, required("sep_token")?);
        if let Some((_, token)) = added.iter().find(|(_, token)| token.single_word) {
            return Err(Error::SingleWordToken(token.content.clone()));
        }
        let is_extra = |(id, token): &&(u32, Token)| model.piece(*id) != Some(&token.content);
        let extra = added
            .iter()
            .filter(is_extra)
            .map(|(id, token)| (*id, token.content.clone()));
        let steps = Preparation {
            lowercase: options
                .lowercase
                .map_or_else(|| setting("do_lower_case", true), Ok)?,
            keep_accents: options
                .keep_accents
                .map_or_else(|| setting("keep_accents", false), Ok)?,
            remove_space: setting("remove_space", true)?,
        };
        let extra = extra.collect();
        let added = AddedTokens::new(added, &special, options.special_tokens_as_text, |text| {
            let (chars, _) = steps.prepare(trace(text));
            chars.iter().map(|traced| traced.c).collect()
        });
        Ok(Self {
            extra,
            allows_parts: steps.remove_space
                && model.begins_pieces_with_spaces()
                && added.allow_parts(),
            added,
            steps,
            model,
            file: file.into(),
            special,
            cls,
            sep,
            dropped_marks: AtomicBool::new(false),
        })
    }

    /// Calls `visit` with every token of a text, in order.
    pub(super) fn tokens(&self, text: &str, mut visit: impl FnMut(Found<'_>)) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::Tokenize("the text is longer than 4 GiB".into()));
        }
        if text.len() > PART_BYTES && self.can_be_divided(text) {
            return self.tokens_of_parts(text, visit);
        }
        let mut chars = trace(text);
        if self.steps.lowercase {
            self.added.lower_around(&mut chars);
        }
        for stretch in self.added.take_out(chars) {
            match stretch.added {
                Some(at) => visit(self.added_token(at, &stretch)),
                None => self.cut(stretch.chars, &mut visit)?,
            }
        }
        Ok(())
    }

    /// Returns true if the tokens of a long text are those of its parts: there is no added token in
    /// it, and no piece reaches over a space.
    fn can_be_divided(&self, text: &str) -> bool {
        self.allows_parts
            && self
                .parts(text)
                .all(|part| self.added.are_absent(part.text))
    }

    /// Divides a text at white space, which becomes one space, over which no rule reaches.
    fn parts<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Part<'a>> {
        parts(text, |division| {
            let [left, right] = [division.left, division.right].map(|text| {
                if self.steps.lowercase {
                    text.to_ascii_lowercase()
                } else {
                    text.to_string()
                }
            });
            let divides = self.model.normalizer.divides(&left, &right);
            !division.gap.is_empty() && divides.unwrap_or(false)
        })
    }

    /// Hands every token of a text that can be divided to `visit`, one part after another.
    fn tokens_of_parts(&self, text: &str, mut visit: impl FnMut(Found<'_>)) -> Result<()> {
        let (mut start, mut sum) = (0, 0.0);
        for part in self.parts(text) {
            let mut chars = trace_from(part.text, start);
            start += chars.len() as u32 + part.gap;
            if self.steps.lowercase {
                python::lower_each(&mut chars);
            }
            let (chars, dropped_marks) = self.steps.prepare(chars);
            if dropped_marks {
                self.dropped_marks.store(true, Ordering::Relaxed);
            }
            self.cut_pieces(chars, &mut sum, &mut visit)?;
        }
        Ok(())
    }

    /// Steps 3 to 5.
    fn cut(&self, chars: Vec<TracedChar>, visit: &mut impl FnMut(Found<'_>)) -> Result<()> {
        let (chars, dropped_marks) = self.steps.prepare(chars);
        if dropped_marks {
            self.dropped_marks.store(true, Ordering::Relaxed);
        }
        for stretch in self.added.take_out_normalized(chars) {
            match stretch.added {
                Some(at) => visit(self.added_token(at, &stretch)),
                None => self.cut_pieces(stretch.chars, &mut 0.0, visit)?,
            }
        }
        Ok(())
    }

    fn added_token<'a>(&self, at: u32, stretch: &'a Stretch) -> Found<'a> {
        let (id, token) = self.added.get(at);
        Found {
            id: *id,
            start: stretch.start,
            end: stretch.end,
            rule: if token.special {
                Rule::SpecialToken
            } else {
                Rule::AddedToken
            },
            chars: &stretch.chars,
            cut_from: None,
        }
    }

    /// Steps 4 and 5; `sum` as in [`SentencePiece::cut_part`].
    fn cut_pieces(
        &self,
        chars: Vec<TracedChar>,
        sum: &mut f32,
        visit: &mut impl FnMut(Found<'_>),
    ) -> Result<()> {
        let cut = self
            .model
            .cut_part(&chars, sum)
            .map_err(|why| refused(&self.file, why))?;
        for CutPiece { id, chars } in cut.pieces {
            let piece = &cut.chars[chars];
            match piece {
                [number @ .., last, comma] if comma.c == ',' && python::is_digit(last.c) => {
                    let number = &piece[..number.len() + 1];
                    self.cut_number(number, *comma, piece, visit)?;
                }
                _ => visit(self.found(id, piece, None)),
            }
        }
        Ok(())
    }

    /// Step 5, for the piece `whole`: `number` and a comma.
    fn cut_number(
        &self,
        number: &[TracedChar],
        comma: TracedChar,
        whole: &[TracedChar],
        visit: &mut impl FnMut(Found<'_>),
    ) -> Result<()> {
        let bare: Vec<TracedChar> = number
            .iter()
            .copied()
            .filter(|traced| traced.c != SPACE)
            .collect();
        let cut = self
            .model
            .cut(&bare)
            .map_err(|why| refused(&self.file, why))?;
        for (index, CutPiece { id, chars }) in cut.pieces.into_iter().enumerate() {
            let mut piece = &cut.chars[chars];
            let mut id = id;
            if index == 0 && whole[0].c != SPACE && piece[0].c == SPACE {
                piece = &piece[1..];
                if piece.is_empty() {
                    continue;
                }
                id = self.model.id_or_unknown(piece);
            }
            visit(self.found(id, piece, Some(whole)));
        }
        let comma = [comma];
        visit(self.found(self.model.id_or_unknown(&comma), &comma, Some(whole)));
        Ok(())
    }

    fn found<'a>(
        &self,
        id: u32,
        piece: &'a [TracedChar],
        cut_from: Option<&'a [TracedChar]>,
    ) -> Found<'a> {
        let rule = match self.model.pieces.kind(id) {
            _ if cut_from.is_some() => Rule::DigitComma,
            Kind::Unknown => Rule::UnknownCharacters,
            Kind::UserDefined => Rule::UserDefined,
            _ if self.model.algorithm == Algorithm::Unigram => Rule::UnigramPiece,
            _ => Rule::Piece,
        };
        // Nonspacing marks are dropped as accents. Spacing marks stay, and are not counted, as in
        // the tokenizers crate.
        let is_counted =
            |traced: &&TracedChar| self.steps.keep_accents || !is_combining_mark(traced.c);
        let (start, end) = if piece.iter().any(|traced| is_counted(&traced)) {
            place(piece.iter().filter(is_counted))
        } else {
            place(piece)
        };
        Found {
            id,
            start,
            end,
            rule,
            chars: piece,
            cut_from,
        }
    }

    pub(super) fn explanation(&self, text: &[char], found: &Found<'_>) -> Explanation {
        let spelled =
            |piece: &[TracedChar]| piece.iter().map(|traced| traced.c).collect::<String>();
        let steps = found
            .chars
            .iter()
            .fold(Steps::default(), |steps, traced| steps.with(traced.steps));
        let is_cut = !matches!(found.rule, Rule::SpecialToken | Rule::AddedToken);
        let is_scored = self.model.pieces.kind(found.id) == Kind::Normal
            && is_cut
            && self.model.algorithm == Algorithm::Unigram;
        let normalized = (is_cut && steps != Steps::default()).then(|| {
            let (mut start, mut end) = (found.start as usize, found.end as usize);
            // The quotation mark has the position of the second sign; dropped accents have none.
            if found
                .chars
                .iter()
                .any(|traced| traced.start as usize == start && traced.steps.has(Steps::QUOTES))
            {
                start = start.saturating_sub(1);
            }
            while steps.has(Steps::ACCENTS)
                && text
                    .get(end)
                    .is_some_and(|&c| canonical_combining_class(c) != 0)
            {
                end += 1;
            }
            Normalized {
                from: text.get(start..end).unwrap_or_default().iter().collect(),
                to: spelled(found.chars).trim_start_matches(SPACE).to_string(),
                steps: steps.names(),
            }
        });
        Explanation {
            rule: found.rule,
            score: is_scored.then(|| self.model.pieces.score(found.id)),
            cut_from: found.cut_from.map(spelled),
            normalized: normalized.filter(|normalized| !normalized.to.is_empty()),
        }
    }
}

fn refused(file: &str, why: Refusal) -> Error {
    Error::SentencePiece {
        file: file.into(),
        why,
    }
}

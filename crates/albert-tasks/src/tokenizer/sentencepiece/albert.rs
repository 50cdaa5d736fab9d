//! ALBERT's reference tokenizer: transformers 4.46.3's slow `AlbertTokenizer`, step by step.
//!
//! 1. Small letters, character by character, outside special tokens (if `do_lower_case`).
//! 2. Special and added tokens are taken out; the stretches between them go on by themselves.
//! 3. White space is joined (if `remove_space`); ``` `` ``` and `''` become `"`; NFKD, combining marks
//!    dropped (unless `keep_accents`); small letters once more (if `do_lower_case`).
//! 4. SentencePiece.
//! 5. A piece that ends in a digit and a comma is cut again without the comma, which stands alone.
//!
//! Every step keeps each character's place in the given text.
//!
//! Source: `models/albert/tokenization_albert.py` and `tokenization_utils.py` of that version.

use std::sync::atomic::{AtomicBool, Ordering};

use unicode_normalization::char::{canonical_combining_class, decompose_compatible, is_combining_mark};

use super::added_tokens::{AddedTokens, Stretch};
use super::model_file::{Kind, Refusal};
use super::normalizer::SPACE;
use super::trace::{Steps, TracedChar, place, trace};
use super::{CutPiece, SentencePiece, python};
use crate::json::JsonObject;
use crate::tokenizer::explain::{Explanation, Normalized, Rule};
use crate::tokenizer::special::{SpecialTokens, Token, defaults};
use crate::tokenizer::{Encoding, Engine, TokenIds, TokenizerOptions};
use crate::{Error, ModelFiles, Result};

/// The file of the model.
pub(in crate::tokenizer) const SPIECE_MODEL: &str = "spiece.model";

/// The tokenizer of a folder with a `spiece.model`.
#[derive(Debug)]
pub(in crate::tokenizer) struct AlbertTokenizer {
    model: SentencePiece,
    lowercase: bool,
    keep_accents: bool,
    remove_space: bool,
    added: AddedTokens,
    /// The ids of pieces that are not in the model's file.
    extra: Vec<(u32, String)>,
    special: SpecialTokens,
    cls: u32,
    sep: u32,
    dropped_marks: AtomicBool,
}

/// One token of a text, special ones around it left out.
struct Found<'a> {
    id: u32,
    start: u32,
    end: u32,
    rule: Rule,
    /// What it was made of, where it was cut.
    chars: &'a [TracedChar],
    /// The piece before the digit-comma rule.
    cut_from: Option<&'a [TracedChar]>,
}

impl AlbertTokenizer {
    /// Reads the tokenizer of a model from the bytes of its `spiece.model` and its small files.
    pub(in crate::tokenizer) fn read(
        bytes: &[u8],
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
        let model = SentencePiece::parse(bytes).map_err(refused)?;
        let config =
            files.map(|files| JsonObject::read(files, "tokenizer_config.json")).transpose()?.flatten();
        let setting = |key: &str, default: bool| -> Result<bool> {
            let stated = config.as_ref().map(|config| config.bool(key)).transpose()?.flatten();
            Ok(stated.unwrap_or(default))
        };
        let special = match files {
            Some(files) => SpecialTokens::read(files, &names)?,
            None => SpecialTokens::of_class(&names),
        };
        let added = special.with_ids(|token| model.id(token))?;
        let lookup = |token: &str| {
            let known = added.iter().find(|(_, known)| known.content == token).map(|(id, _)| *id);
            known.or_else(|| model.id(token))
        };
        let required = |role: &str| {
            let token = special.role(role).unwrap_or_default();
            let missing = || Error::MissingToken { token: token.to_string(), file: SPIECE_MODEL.into() };
            lookup(token).ok_or_else(missing)
        };
        let (cls, sep) = (required("cls_token")?, required("sep_token")?);
        if let Some((_, token)) = added.iter().find(|(_, token)| token.single_word) {
            return Err(Error::SingleWordToken(token.content.clone()));
        }
        let is_extra = |(id, token): &&(u32, Token)| model.piece(*id) != Some(&token.content);
        let extra = added.iter().filter(is_extra).map(|(id, token)| (*id, token.content.clone()));
        Ok(Self {
            lowercase: options.lowercase.map_or_else(|| setting("do_lower_case", true), Ok)?,
            keep_accents: options.keep_accents.map_or_else(|| setting("keep_accents", false), Ok)?,
            remove_space: setting("remove_space", true)?,
            extra: extra.collect(),
            added: AddedTokens::new(added, &special, options.special_tokens_as_text),
            model,
            special,
            cls,
            sep,
            dropped_marks: AtomicBool::new(false),
        })
    }

    /// Hands every token of a text to `visit`, in order.
    fn tokens(&self, text: &str, mut visit: impl FnMut(Found<'_>)) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::Tokenize("the text is longer than 4 GiB".into()));
        }
        let mut chars = trace(text);
        if self.lowercase {
            self.added.lower_around(&mut chars);
        }
        for stretch in self.added.take_out(chars) {
            match stretch.added {
                Some(at) => {
                    let (id, token) = self.added.get(at);
                    let rule = if token.special { Rule::SpecialToken } else { Rule::AddedToken };
                    let Stretch { start, end, chars, .. } = &stretch;
                    visit(Found { id: *id, start: *start, end: *end, rule, chars, cut_from: None });
                }
                None => self.cut(stretch.chars, &mut visit)?,
            }
        }
        Ok(())
    }

    /// Steps 3 to 5.
    fn cut(&self, mut chars: Vec<TracedChar>, visit: &mut impl FnMut(Found<'_>)) -> Result<()> {
        if self.remove_space {
            join_spaces(&mut chars);
        }
        join_quotes(&mut chars);
        if !self.keep_accents {
            chars = self.drop_accents(&chars);
        }
        if self.lowercase {
            python::lower(&mut chars);
        }
        let cut = self.model.cut(&chars).map_err(refused)?;
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
        let bare: Vec<TracedChar> = number.iter().copied().filter(|traced| traced.c != SPACE).collect();
        let cut = self.model.cut(&bare).map_err(refused)?;
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

    fn found<'a>(&self, id: u32, piece: &'a [TracedChar], cut_from: Option<&'a [TracedChar]>) -> Found<'a> {
        let rule = match self.model.unigram.kind(id) {
            _ if cut_from.is_some() => Rule::DigitComma,
            Kind::Unknown => Rule::UnknownCharacters,
            Kind::UserDefined => Rule::UserDefined,
            _ => Rule::UnigramPiece,
        };
        // Marks that have no room of their own are dropped as accents; those that have, and stay, are not
        // counted either, as the tokenizers crate does not.
        let is_counted = |traced: &&TracedChar| self.keep_accents || !is_combining_mark(traced.c);
        let (start, end) = match piece.iter().any(|traced| is_counted(&traced)) {
            true => place(piece.iter().filter(is_counted)),
            false => place(piece),
        };
        Found { id, start, end, rule, chars: piece, cut_from }
    }

    fn drop_accents(&self, chars: &[TracedChar]) -> Vec<TracedChar> {
        let mut result: Vec<TracedChar> = Vec::with_capacity(chars.len());
        for traced in chars {
            if traced.c.is_ascii() {
                result.push(*traced);
                continue;
            }
            decompose_compatible(traced.c, |c| {
                if canonical_combining_class(c) == 0 {
                    result.push(traced.becomes(c, Steps::NFKD));
                    return;
                }
                if is_letter_of_its_own(c) {
                    self.dropped_marks.store(true, Ordering::Relaxed);
                }
                if let Some(last) = result.last_mut() {
                    last.steps = last.steps.with(Steps::ACCENTS);
                }
            });
        }
        result
    }

    fn explanation(&self, text: &[char], found: &Found<'_>) -> Explanation {
        let spelled = |piece: &[TracedChar]| piece.iter().map(|traced| traced.c).collect::<String>();
        let steps = found.chars.iter().fold(Steps::default(), |steps, traced| steps.with(traced.steps));
        let is_cut = !matches!(found.rule, Rule::SpecialToken | Rule::AddedToken);
        let is_scored = self.model.unigram.kind(found.id) == Kind::Normal && is_cut;
        let normalized = (is_cut && steps != Steps::default()).then(|| {
            let (mut start, mut end) = (found.start as usize, found.end as usize);
            // The mark stands where the second of two signs did; dropped accents stand nowhere.
            if found
                .chars
                .iter()
                .any(|traced| traced.start as usize == start && traced.steps.has(Steps::QUOTES))
            {
                start = start.saturating_sub(1);
            }
            while steps.has(Steps::ACCENTS)
                && text.get(end).is_some_and(|&c| canonical_combining_class(c) != 0)
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
            score: is_scored.then(|| self.model.unigram.score(found.id)),
            cut_from: found.cut_from.map(spelled),
            normalized: normalized.filter(|normalized| !normalized.to.is_empty()),
        }
    }
}

impl Engine for AlbertTokenizer {
    fn encode(
        &self,
        text: &str,
        pair: Option<&str>,
        max_length: Option<usize>,
        mut explain: Option<&mut Vec<Explanation>>,
    ) -> Result<Encoding> {
        let mut sides = Vec::with_capacity(2);
        for text in std::iter::once(text).chain(pair) {
            let (mut ids, mut offsets, mut explanations) = (Vec::new(), Vec::new(), Vec::new());
            let chars: Vec<char> = if explain.is_some() { text.chars().collect() } else { Vec::new() };
            self.tokens(text, |found| {
                ids.push(found.id);
                offsets.push((found.start as usize, found.end as usize));
                if explain.is_some() {
                    explanations.push(self.explanation(&chars, &found));
                }
            })?;
            sides.push((ids, offsets, explanations));
        }
        let lengths = [sides[0].0.len(), sides.get(1).map_or(0, |side| side.0.len())];
        let kept = self.keep(lengths, pair.is_some(), max_length)?;
        let mut encoding = Encoding { truncated: kept != lengths, ..Encoding::default() };
        let mut put = |id: u32, type_id: u32, offset: Option<(usize, usize)>| {
            encoding.ids.push(id);
            encoding.type_ids.push(type_id);
            encoding.special_tokens_mask.push(u32::from(offset.is_none()));
            encoding.offsets.push(offset.unwrap_or_default());
        };
        let mut note = |explanation: Explanation| {
            if let Some(explain) = &mut explain {
                explain.push(explanation);
            }
        };
        put(self.cls, 0, None);
        note(Explanation::of(Rule::Template));
        for (type_id, ((ids, offsets, explanations), kept)) in (0u32..).zip(sides.into_iter().zip(kept)) {
            ids.into_iter().zip(offsets).take(kept).for_each(|(id, offset)| put(id, type_id, Some(offset)));
            explanations.into_iter().take(kept).for_each(&mut note);
            put(self.sep, type_id, None);
            note(Explanation::of(Rule::Template));
        }
        encoding.pieces = encoding.ids.iter().map(|&id| self.id_to_token(id).unwrap_or_default()).collect();
        Ok(encoding)
    }

    fn encode_ids(&self, text: &str, pair: Option<&str>, max_length: usize) -> Result<TokenIds> {
        let sides = [self.ids(text)?, pair.map_or(Ok(Vec::new()), |pair| self.ids(pair))?];
        let lengths = [sides[0].len(), sides[1].len()];
        let kept = self.keep(lengths, pair.is_some(), Some(max_length))?;
        let mut tokens = TokenIds { ids: vec![self.cls], type_ids: vec![0], truncated: kept != lengths };
        let count = if pair.is_some() { 2 } else { 1 };
        for (type_id, (ids, kept)) in (0u32..).zip(sides.iter().zip(kept)).take(count) {
            tokens.ids.extend_from_slice(&ids[..kept]);
            tokens.ids.push(self.sep);
            tokens.type_ids.resize(tokens.ids.len(), type_id);
        }
        Ok(tokens)
    }

    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4);
        self.tokens(text, |found| ids.push(found.id))?;
        Ok(ids)
    }

    fn known_ids(&self, text: &str) -> Result<Option<Vec<u32>>> {
        Ok(Some(self.ids(text)?).filter(|ids| !ids.contains(&self.model.unigram.unknown())))
    }

    fn special_tokens(&self, is_pair: bool) -> usize {
        if is_pair { 3 } else { 2 }
    }

    fn decode(&self, ids: &[u32]) -> Result<String> {
        let is_special = |token: &str| self.special.special().any(|special| special.content == token);
        let mut text = String::new();
        let mut pieces = String::new();
        let mut after_special = false;
        for id in ids {
            let token = self.id_to_token(*id).unwrap_or_default();
            if is_special(&token) {
                if !after_special {
                    text.push(' ');
                }
                text.push_str(&self.unescaped(&std::mem::take(&mut pieces)));
                text.push_str(&token);
                after_special = true;
            } else {
                pieces.push_str(&token);
                after_special = false;
            }
        }
        text.push_str(&self.unescaped(&pieces));
        Ok(text.trim().to_string())
    }

    fn vocab_size(&self) -> usize {
        self.model.len() + self.extra.iter().filter(|(id, _)| *id as usize >= self.model.len()).count()
    }

    fn highest_id(&self) -> u32 {
        let extra = self.extra.iter().map(|(id, _)| *id);
        extra.chain([(self.model.len() - 1) as u32]).max().unwrap_or(0)
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        let extra = self.extra.iter().find(|(_, extra)| extra == token).map(|(id, _)| *id);
        extra.or_else(|| self.model.id(token))
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        let extra = self.extra.iter().find(|(extra, _)| *extra == id).map(|(_, token)| token.as_str());
        extra.or_else(|| self.model.piece(id)).map(str::to_string)
    }

    fn role(&self, role: &str) -> Option<&str> {
        self.special.role(role)
    }

    fn model_name(&self) -> &'static str {
        "Unigram"
    }

    fn lowercases(&self) -> Result<bool> {
        Ok(self.lowercase)
    }

    fn keeps_accents(&self) -> Result<bool> {
        Ok(self.keep_accents)
    }

    fn dropped_marks(&self) -> bool {
        self.dropped_marks.load(Ordering::Relaxed)
    }
}

impl AlbertTokenizer {
    /// How many tokens of each text stay.
    fn keep(&self, lengths: [usize; 2], is_pair: bool, max_length: Option<usize>) -> Result<[usize; 2]> {
        let Some(max_length) = max_length else { return Ok(lengths) };
        Ok(longest_first(lengths, self.room(max_length, is_pair)?))
    }

    /// Pieces as text: signs for spaces are spaces, but for the one before the first.
    fn unescaped(&self, pieces: &str) -> String {
        let pieces = match self.model.normalizer.adds_dummy_prefix() {
            true => pieces.strip_prefix(self.model.normalizer.space()).unwrap_or(pieces),
            false => pieces,
        };
        pieces.replace(SPACE, " ")
    }
}

fn refused(why: Refusal) -> Error {
    Error::SentencePiece { file: SPIECE_MODEL.into(), why }
}

/// `" ".join(text.strip().split())`
fn join_spaces(chars: &mut Vec<TracedChar>) {
    let mut is_start = true;
    let mut after_space = false;
    chars.retain_mut(|traced| {
        if !python::is_space(traced.c) {
            (is_start, after_space) = (false, false);
            return true;
        }
        let stays = !is_start && !after_space;
        after_space = true;
        *traced = traced.becomes(' ', Steps::SPACES);
        stays
    });
    if after_space && !is_start {
        chars.pop();
    }
}

/// Two signs of a kind make one mark, which stands where the second of them did.
fn join_quotes(chars: &mut Vec<TracedChar>) {
    let is_pair = |pair: &[TracedChar]| pair[0].c == pair[1].c && matches!(pair[0].c, '`' | '\'');
    if !chars.windows(2).any(is_pair) {
        return;
    }
    let mut result = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        match chars.get(at..at + 2) {
            Some(pair) if is_pair(pair) => {
                result.push(pair[1].becomes('"', Steps::QUOTES));
                at += 2;
            }
            _ => {
                result.push(chars[at]);
                at += 1;
            }
        }
    }
    *chars = result;
}

/// Whether a combining mark is more than an accent: a virama, say, of a script that spells with
/// marks. Those of Latin, Greek and Cyrillic come first in Unicode or in blocks of their own.
fn is_letter_of_its_own(mark: char) -> bool {
    !matches!(mark, ..'\u{590}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// How many tokens of two texts stay where `room` is all there is: the longer text is cut first, as the
/// tokenizers crate does with `longest_first`.
fn longest_first([first, second]: [usize; 2], room: usize) -> [usize; 2] {
    if first + second <= room {
        return [first, second];
    }
    let shorter = first.min(second).min(room / 2);
    let longer = room - shorter;
    if first > second { [longer, shorter] } else { [shorter, longer] }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::model;
    use super::*;

    #[test]
    fn decoded_pieces_are_text_and_special_tokens_stand_apart() {
        let pieces =
            [("<unk>", 0.0, 2), ("[CLS]", 0.0, 3), ("[SEP]", 0.0, 3), ("▁the", -1.0, 1), ("s", -2.0, 1)];
        let tokenizer =
            AlbertTokenizer::read(&model(&pieces, b""), None, &TokenizerOptions::default()).unwrap();
        for (ids, text) in [
            (&[3][..], "the"),
            (&[4], "s"),
            (&[3, 4, 3], "thes the"),
            (&[1, 3, 2], "[CLS] the[SEP]"),
            (&[], ""),
        ] {
            assert_eq!(tokenizer.decode(ids).unwrap(), text);
        }
    }

    #[test]
    fn the_longer_text_is_cut_first() {
        assert_eq!(longest_first([3, 3], 6), [3, 3]);
        assert_eq!(longest_first([2, 9], 6), [2, 4]);
        assert_eq!(longest_first([9, 2], 6), [4, 2]);
        assert_eq!(longest_first([9, 9], 7), [3, 4]);
        assert_eq!(longest_first([9, 0], 7), [7, 0]);
    }
}

//! Special and added tokens in a text: they keep their capitals, and are taken out before it is
//! cut.
//!
//! Source: transformers 4.46.3, `tokenization_utils.py` (`tokenize`, `Trie.split`).

use std::ops::Range;

use super::python;
use super::trace::{TracedChar, place};
use super::trie::Trie;
use crate::tokenizer::special::{SpecialTokens, Token};

/// The tokens to look for.
#[derive(Debug)]
pub(super) struct AddedTokens {
    /// With their ids.
    tokens: Vec<(u32, Token)>,
    /// Their texts, to take out of a text; empty where special tokens are text like any other.
    searched: Trie,
    /// The texts of those that are taken out of normalized text, normalized themselves.
    normalized: Trie,
    has_normalized: bool,
    /// The texts that keep their capitals, with the order in which they are tried.
    cased: Trie,
}

/// A stretch of a text, or a token that was taken out of it.
pub(super) struct Stretch {
    pub(super) chars: Vec<TracedChar>,
    /// The number of the token, where it is one.
    pub(super) added: Option<u32>,
    /// The place, with the white space that belongs to an added token.
    pub(super) start: u32,
    pub(super) end: u32,
}

impl AddedTokens {
    /// `as_text` leaves them in the text as the characters that they are written with; `normalize`
    /// prepares a text as those between the tokens are prepared.
    pub(super) fn new(
        tokens: Vec<(u32, Token)>,
        special: &SpecialTokens,
        as_text: bool,
        normalize: impl Fn(&str) -> String,
    ) -> Self {
        let is_late = |token: &Token| token.normalized && special.is_fast(token);
        let keeps_capitals = |token: &&Token| {
            if special.is_fast(token) {
                !token.normalized
            } else {
                !token.special && token.normalized
            }
        };
        let others = tokens.iter().map(|(_, token)| token).filter(keeps_capitals);
        let cased = trie_of(
            (0..).zip(
                special
                    .special()
                    .chain(others)
                    .map(|token| token.content.as_str()),
            ),
        );
        let numbered = || (0u32..).zip(tokens.iter().map(|(_, token)| token));
        let late: Vec<(u32, String)> = numbered()
            .filter(|(_, token)| !as_text && is_late(token))
            .map(|(number, token)| (number, normalize(&token.content)))
            .collect();
        let early = numbered()
            .filter(|(_, token)| !as_text && !is_late(token))
            .map(|(number, token)| (number, token.content.as_str()));
        Self {
            searched: trie_of(early),
            normalized: trie_of(late.iter().map(|(number, text)| (*number, text.as_str()))),
            has_normalized: !late.is_empty(),
            tokens,
            cased,
        }
    }

    /// Returns the token of a stretch, with its id.
    pub(super) fn get(&self, number: u32) -> &(u32, Token) {
        &self.tokens[number as usize]
    }

    /// Lowers the letters outside the tokens. A Σ becomes σ even at the end of a word, as each character
    /// is lowered by itself.
    pub(super) fn lower_around(&self, chars: &mut Vec<TracedChar>) {
        // Of several that begin at a character the first in order is meant, not the longest.
        let places = places(chars, |rest| {
            self.cased.prefixes(rest).min_by_key(|(_, order)| *order)
        });
        if places.is_empty() {
            return python::lower_each(chars);
        }
        let mut result = Vec::with_capacity(chars.len());
        for stretch in stretches(chars, places) {
            let mut chars = stretch.chars;
            if stretch.added.is_none() {
                python::lower_each(&mut chars);
            }
            result.append(&mut chars);
        }
        *chars = result;
    }

    /// Returns the text around the tokens, and the tokens. White space next to a token that strips
    /// it becomes part of the token.
    pub(super) fn take_out(&self, chars: Vec<TracedChar>) -> Vec<Stretch> {
        self.take(chars, &self.searched)
    }

    /// Does the same in prepared text, for the tokens that are looked for there.
    pub(super) fn take_out_normalized(&self, chars: Vec<TracedChar>) -> Vec<Stretch> {
        if !self.has_normalized {
            return vec![Stretch::new(chars, None)];
        }
        self.take(chars, &self.normalized)
    }

    fn take(&self, chars: Vec<TracedChar>, searched: &Trie) -> Vec<Stretch> {
        let places = places(&chars, |rest| searched.prefixes(rest).last());
        if places.is_empty() {
            return vec![Stretch::new(chars, None)];
        }
        let mut stretches = stretches(&chars, places);
        for at in 0..stretches.len() {
            let Some(token) = stretches[at]
                .added
                .map(|added| &self.tokens[added as usize].1)
            else {
                continue;
            };
            if token.rstrip && at + 1 < stretches.len() {
                let right = &mut stretches[at + 1].chars;
                let spaces = right
                    .iter()
                    .take_while(|traced| python::is_space(traced.c))
                    .count();
                let end = right.drain(..spaces).next_back().map(|last| last.end);
                stretches[at].end = end.unwrap_or(stretches[at].end);
            }
            if token.lstrip && at > 0 {
                let left = &mut stretches[at - 1].chars;
                let stays = left
                    .iter()
                    .rposition(|traced| !python::is_space(traced.c))
                    .map_or(0, |last| last + 1);
                let start = left.drain(stays..).next().map(|first| first.start);
                stretches[at].start = start.unwrap_or(stretches[at].start);
            }
        }
        stretches
    }
}

impl Stretch {
    fn new(chars: Vec<TracedChar>, added: Option<u32>) -> Self {
        let (start, end) = place(&chars);
        Self {
            chars,
            added,
            start,
            end,
        }
    }
}

/// Makes the trie of some texts, each with its number; of equal ones the first counts.
fn trie_of<'a>(texts: impl Iterator<Item = (u32, &'a str)>) -> Trie {
    let mut numbered: Vec<(&str, u32)> = texts
        .filter(|(_, text)| !text.is_empty())
        .map(|(number, text)| (text, number))
        .collect();
    numbered.sort_unstable();
    numbered.dedup_by_key(|(text, _)| *text);
    Trie::new(&numbered)
}

/// Returns the places at which `find` finds a token, from left to right, with its number.
///
/// `find` is given the characters from some place on, and gives a number of characters with a
/// number.
fn places(
    chars: &[TracedChar],
    find: impl Fn(&mut dyn Iterator<Item = char>) -> Option<(usize, u32)>,
) -> Vec<(u32, Range<usize>)> {
    let mut places = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match find(&mut chars[at..].iter().map(|traced| traced.c)) {
            Some((count, number)) => {
                places.push((number, at..at + count));
                at += count;
            }
            None => at += 1,
        }
    }
    places
}

/// Cuts a text at some places; empty stretches are left out.
fn stretches(chars: &[TracedChar], places: Vec<(u32, Range<usize>)>) -> Vec<Stretch> {
    let mut stretches = Vec::with_capacity(2 * places.len() + 1);
    let mut done = 0;
    let mut put = |chars: &[TracedChar], number| {
        if !chars.is_empty() {
            stretches.push(Stretch::new(chars.to_vec(), number));
        }
    };
    for (number, place) in places {
        put(&chars[done..place.start], None);
        done = place.end;
        put(&chars[place], Some(number));
    }
    put(&chars[done..], None);
    stretches
}

//! Extracts special and added tokens from a text before it is tokenized; they keep their capitals.
//!
//! Source: transformers 4.46.3, `tokenization_utils.py` (`tokenize`, `Trie.split`).

use std::ops::Range;

use super::super::trie::Trie;
use super::python;
use super::trace::{TracedChar, place};
use crate::tokenizer::special::{SpecialTokens, Token};

/// The tokens to extract.
#[derive(Debug)]
pub(super) struct AddedTokens {
    /// With their ids.
    tokens: Vec<(u32, Token)>,
    /// Their texts, for matching; empty if special tokens are treated as ordinary text.
    searched: Trie,
    /// The normalized texts of the tokens that are extracted from normalized text.
    normalized: Trie,
    has_normalized: bool,
    /// The texts that keep their capitals, in the order in which they are tried.
    cased: Trie,
}

/// A part of a text, or an extracted token.
pub(super) struct Stretch {
    pub(super) chars: Vec<TracedChar>,
    /// The index of the token, if it is one.
    pub(super) added: Option<u32>,
    /// The range, with the white space that belongs to an added token.
    pub(super) start: u32,
    pub(super) end: u32,
}

impl AddedTokens {
    /// Creates the set. `as_text` leaves special tokens in the text as ordinary characters;
    /// `normalize` prepares a text like the text between tokens.
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

    /// Returns true if texts may be divided at spaces: no token has one, or is looked for in
    /// normalized text.
    pub(super) fn allow_parts(&self) -> bool {
        let has_space = |(_, token): &(u32, Token)| token.content.contains(char::is_whitespace);
        !self.has_normalized && !self.tokens.iter().any(has_space)
    }

    /// Returns true if none of the tokens is in a text, in capitals or not.
    pub(super) fn are_absent(&self, text: &str) -> bool {
        let lower = text.to_lowercase();
        let mut contents = self.tokens.iter().map(|(_, token)| token.content.as_str());
        !contents.any(|content| text.contains(content) || lower.contains(content))
    }

    /// Returns the token of a part, with its id.
    pub(super) fn get(&self, number: u32) -> &(u32, Token) {
        &self.tokens[number as usize]
    }

    /// Lowercases the text outside the tokens. A Σ becomes σ even at the end of a word, because
    /// each character is lowercased separately.
    pub(super) fn lower_around(&self, chars: &mut Vec<TracedChar>) {
        // Among several that start at a character the first in order matches, not the longest.
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

    /// Splits a text into tokens and the text between them. White space next to a token that strips
    /// it becomes part of the token.
    pub(super) fn take_out(&self, chars: Vec<TracedChar>) -> Vec<Stretch> {
        self.take(chars, &self.searched)
    }

    /// Like [`take_out`](Self::take_out), in prepared text, for the tokens that are matched there.
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

/// Builds a trie of texts with their indices; among equal texts the first counts.
fn trie_of<'a>(texts: impl Iterator<Item = (u32, &'a str)>) -> Trie {
    let mut numbered: Vec<(&str, u32)> = texts
        .filter(|(_, text)| !text.is_empty())
        .map(|(number, text)| (text, number))
        .collect();
    numbered.sort_unstable();
    numbered.dedup_by_key(|(text, _)| *text);
    Trie::new(&numbered)
}

/// Returns the ranges at which `find` finds a token, from left to right, with its index.
///
/// `find` receives the characters from a position on, and returns a length with an index.
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

/// Splits a text at the given ranges, without empty parts.
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

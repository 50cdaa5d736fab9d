//! Prepares a part of a text for SentencePiece: collapses spaces, unifies quotes, strips accents,
//! lowercases.
//!
//! Source: transformers 4.46.3, `models/albert/tokenization_albert.py`, `preprocess_text`.

use unicode_normalization::char::{canonical_combining_class, decompose_compatible};

use super::python;
use super::trace::{Steps, TracedChar};

/// The steps that a tokenizer's settings require.
#[derive(Debug, Clone, Copy)]
pub(super) struct Preparation {
    pub(super) lowercase: bool,
    pub(super) keep_accents: bool,
    pub(super) remove_space: bool,
}

impl Preparation {
    /// Prepares a part of a text; also returns true if a dropped mark was more than an accent.
    pub(super) fn prepare(self, mut chars: Vec<TracedChar>) -> (Vec<TracedChar>, bool) {
        if self.remove_space {
            join_spaces(&mut chars);
        }
        join_quotes(&mut chars);
        let mut dropped_marks = false;
        if !self.keep_accents {
            (chars, dropped_marks) = drop_accents(&chars);
        }
        if self.lowercase {
            python::lower(&mut chars);
        }
        (chars, dropped_marks)
    }
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

/// Replaces two equal signs by one quotation mark at the position of the second.
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

/// Returns NFKD without combining marks, and true if a mark among them was more than an accent.
fn drop_accents(chars: &[TracedChar]) -> (Vec<TracedChar>, bool) {
    let mut result: Vec<TracedChar> = Vec::with_capacity(chars.len());
    let mut dropped_marks = false;
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
            dropped_marks |= is_letter_of_its_own(c);
            if let Some(last) = result.last_mut() {
                last.steps = last.steps.with(Steps::ACCENTS);
            }
        });
    }
    (result, dropped_marks)
}

/// Returns true for a combining mark that is more than an accent, such as a virama of a script that
/// spells with marks. The accents of Latin, Greek and Cyrillic come first in Unicode or are in
/// separate blocks.
fn is_letter_of_its_own(mark: char) -> bool {
    !matches!(mark, ..'\u{590}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

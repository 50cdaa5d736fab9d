//! SentencePiece's normalization: the character map, spaces, and the ▁ before the text.
//!
//! User-defined symbols come first and stay unchanged. Otherwise the longest rule of the map that
//! matches applies, or else the character stays.
//!
//! Source: google/sentencepiece 0.2.1, `src/normalizer.cc`.

use super::super::trie::Trie;
use super::charsmap::Charsmap;
use super::model_file::{Kind, ModelFile, NormalizerSpec, Refusal};
use super::trace::{Steps, TracedChar};

/// The sign for a space, U+2581.
pub(super) const SPACE: char = '▁';

/// The normalizer of a model.
#[derive(Debug)]
pub(super) struct Normalizer {
    charsmap: Charsmap,
    user_defined: Trie,
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
    space: char,
}

/// The replacement of a prefix of the text.
enum Prefix<'a> {
    Kept,
    Replaced(&'a str),
}

impl Normalizer {
    pub(super) fn new(file: &ModelFile<'_>) -> Result<Self, Refusal> {
        let NormalizerSpec {
            charsmap,
            add_dummy_prefix,
            remove_extra_whitespaces,
            escape_whitespaces,
        } = file.normalizer;
        let mut symbols: Vec<(&str, u32)> = file
            .pieces
            .iter()
            .filter(|piece| piece.kind == Kind::UserDefined)
            .map(|piece| (piece.text, 0))
            .collect();
        symbols.sort_unstable();
        symbols.dedup();
        Ok(Self {
            charsmap: Charsmap::parse(charsmap)?,
            user_defined: Trie::new(&symbols),
            add_dummy_prefix,
            remove_extra_whitespaces,
            space: if escape_whitespaces { SPACE } else { ' ' },
        })
    }

    /// Returns true if no rule of the character map begins with the space between two texts or
    /// reaches over it.
    ///
    /// # Errors
    /// If the character map is broken.
    pub(super) fn divides(&self, left: &str, right: &str) -> Result<bool, Refusal> {
        let text = format!("{left} {right}");
        for (at, _) in text.char_indices().filter(|(at, _)| *at <= left.len()) {
            let found = self.charsmap.longest_prefix(&text[at..])?;
            let is_over = found.is_some_and(|(length, replacement)| {
                at + length > left.len() && !(at == left.len() && replacement == " ")
            });
            if is_over {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the sign for a space in the output of [`Normalizer::normalize`].
    pub(super) fn space(&self) -> char {
        self.space
    }

    /// Returns true if a sign for a space is added before every text.
    pub(super) fn adds_dummy_prefix(&self) -> bool {
        self.add_dummy_prefix
    }

    /// Normalizes a text for segmentation. An added sign for a space has the position of the
    /// character after it.
    ///
    /// # Errors
    /// If the character map is broken.
    pub(super) fn normalize(&self, chars: &[TracedChar]) -> Result<Vec<TracedChar>, Refusal> {
        let text: String = chars.iter().map(|traced| traced.c).collect();
        let (mut rest, mut at) = (text.as_str(), 0);
        if self.remove_extra_whitespaces {
            while !rest.is_empty() {
                let (length, prefix) = self.prefix(rest)?;
                let taken = &rest[..length];
                if !matches!(
                    (prefix, taken),
                    (Prefix::Kept, " ") | (Prefix::Replaced(" "), _)
                ) {
                    break;
                }
                rest = &rest[length..];
                at += taken.chars().count();
            }
        }
        let mut result = Vec::with_capacity(chars.len() - at + 1);
        if rest.is_empty() {
            return Ok(result);
        }
        if self.add_dummy_prefix {
            self.push(
                TracedChar {
                    c: ' ',
                    steps: Steps::default(),
                    ..chars[at]
                },
                &mut result,
            );
        }
        let mut after_space = self.remove_extra_whitespaces;
        while !rest.is_empty() {
            let (length, prefix) = self.prefix(rest)?;
            let taken = &rest[..length];
            // Most rules and characters have one, and checking that is faster than counting.
            let count = if length == 1 {
                1
            } else {
                taken.chars().count()
            };
            let sources = &chars[at..at + count];
            match prefix {
                Prefix::Kept => {
                    let kept = sources
                        .iter()
                        .skip_while(|source| after_space && source.c == ' ');
                    let before = result.len();
                    kept.for_each(|source| self.push(*source, &mut result));
                    if result.len() > before {
                        after_space = self.remove_extra_whitespaces && taken.ends_with(' ');
                    }
                }
                Prefix::Replaced(replacement) => {
                    let source = joined(sources, replacement != taken);
                    let replacement = if after_space {
                        replacement.trim_start_matches(' ')
                    } else {
                        replacement
                    };
                    replacement
                        .chars()
                        .for_each(|c| self.push(TracedChar { c, ..source }, &mut result));
                    if !replacement.is_empty() {
                        after_space = self.remove_extra_whitespaces && replacement.ends_with(' ');
                    }
                }
            }
            rest = &rest[length..];
            at += count;
        }
        if self.remove_extra_whitespaces {
            while result.last().is_some_and(|last| last.c == self.space) {
                result.pop();
            }
        }
        Ok(result)
    }

    /// Returns the length of the first unit of `rest`, which is not empty, and its replacement.
    fn prefix<'a>(&'a self, rest: &str) -> Result<(usize, Prefix<'a>), Refusal> {
        if let Some(length) = self.user_defined.longest_prefix(rest) {
            return Ok((length, Prefix::Kept));
        }
        if let Some((length, replacement)) = self.charsmap.longest_prefix(rest)? {
            return Ok((length, Prefix::Replaced(replacement)));
        }
        Ok((
            rest.chars().next().map_or(rest.len(), char::len_utf8),
            Prefix::Kept,
        ))
    }

    fn push(&self, mut traced: TracedChar, result: &mut Vec<TracedChar>) {
        if traced.c == ' ' {
            traced.c = self.space;
        }
        if traced.c != self.space
            && let Some(last) = result.last_mut()
            && last.c == self.space
        {
            (last.start, last.end) = (traced.start, traced.start + 1);
        }
        result.push(traced);
    }
}

/// Joins several characters that become one unit.
fn joined(sources: &[TracedChar], changed: bool) -> TracedChar {
    let (first, last) = (sources[0], sources[sources.len() - 1]);
    let mut steps = sources
        .iter()
        .fold(Steps::default(), |steps, source| steps.with(source.steps));
    if changed {
        steps = steps.with(Steps::CHARSMAP);
    }
    TracedChar {
        c: first.c,
        start: first.start,
        end: last.end.max(first.end),
        steps,
    }
}

#[cfg(test)]
mod tests {
    use super::super::charsmap::tests::map_of_a;
    use super::super::model_file::Algorithm;
    use super::super::model_file::Piece;
    use super::super::trace::trace;
    use super::*;

    fn normalizer(change: impl FnOnce(&mut NormalizerSpec<'_>)) -> Normalizer {
        let map = map_of_a(0, b" x \0");
        let mut spec = NormalizerSpec {
            charsmap: &map,
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        change(&mut spec);
        let symbol = Piece {
            text: "aa",
            score: 0.0,
            kind: Kind::UserDefined,
        };
        Normalizer::new(&ModelFile {
            algorithm: Algorithm::Unigram,
            pieces: vec![symbol],
            normalizer: spec,
        })
        .unwrap()
    }

    fn normalized(normalizer: &Normalizer, text: &str) -> String {
        normalizer
            .normalize(&trace(text))
            .unwrap()
            .iter()
            .map(|traced| traced.c)
            .collect()
    }

    #[test]
    fn spaces_are_joined_and_cut_off_at_the_ends() {
        let normalizer = normalizer(|_| {});
        assert_eq!(normalized(&normalizer, "  b  c "), "▁b▁c");
        assert_eq!(normalized(&normalizer, "   "), "");
        assert_eq!(normalized(&normalizer, ""), "");
        // Including those that a rule produces.
        assert_eq!(normalized(&normalizer, "a b"), "▁x▁b");
    }

    #[test]
    fn the_settings_of_the_file_are_followed() {
        let keeping = normalizer(|spec| spec.remove_extra_whitespaces = false);
        assert_eq!(normalized(&keeping, " b  c "), "▁▁b▁▁c▁");
        assert_eq!(normalized(&keeping, "ba"), "▁b▁x▁");
        let bare = normalizer(|spec| spec.add_dummy_prefix = false);
        assert_eq!(normalized(&bare, "b c"), "b▁c");
        let plain = normalizer(|spec| spec.escape_whitespaces = false);
        assert_eq!(normalized(&plain, "b c"), " b c");
    }

    #[test]
    fn user_defined_symbols_are_not_normalized() {
        assert_eq!(normalized(&normalizer(|_| {}), "aab"), "▁aab");
        assert_eq!(normalized(&normalizer(|_| {}), "aaab"), "▁aa▁x▁b");
    }

    #[test]
    fn a_space_stands_where_its_word_begins() {
        let chars = normalizer(|_| {}).normalize(&trace(" b  a")).unwrap();
        let places: Vec<(char, u32, u32)> = chars
            .iter()
            .map(|traced| (traced.c, traced.start, traced.end))
            .collect();
        assert_eq!(places, [('▁', 1, 2), ('b', 1, 2), ('▁', 4, 5), ('x', 4, 5)]);
        assert!(chars[3].steps.has(Steps::CHARSMAP));
    }
}

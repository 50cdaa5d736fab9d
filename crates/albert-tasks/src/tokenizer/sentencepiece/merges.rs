//! The BPE model: adjacent parts that form a piece are merged, the piece with the greatest score
//! first, and among equal ones the leftmost.
//!
//! The initial parts are the characters of the text and its user-defined symbols, which are never
//! merged. At the end, a piece that is marked as unused is split into the two parts from which it
//! was merged.
//!
//! Source: google/sentencepiece 0.2.3, `src/bpe_model.cc`, `Model::SampleEncode`; Sennrich, Haddow
//! and Birch 2016, "Neural Machine Translation of Rare Words with Subword Units".

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};
use std::ops::Range;

use super::model_file::Kind;
use super::pieces::{Pieces, width};

/// A part of the text in a linked list; an empty part has been merged into another.
#[derive(Debug, Clone)]
struct Symbol {
    range: Range<usize>,
    previous: Option<usize>,
    next: Option<usize>,
    is_user_defined: bool,
}

/// Two adjacent parts that form a piece.
#[derive(Debug)]
struct Pair {
    score: f32,
    left: usize,
    right: usize,
    /// The total length of both in bytes, which reveals an outdated pair.
    len: usize,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then_with(|| other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Pair {}

/// A text during merging.
struct Merges<'a> {
    pieces: &'a Pieces,
    text: &'a str,
    symbols: Vec<Symbol>,
    pairs: BinaryHeap<Pair>,
    /// For each unused piece, the length in bytes of the left of its two parts.
    undo: HashMap<&'a str, usize>,
}

/// Segments a normalized text: the id of each piece, and its end in bytes. A character that is not
/// a piece is unknown.
pub(super) fn cut(pieces: &Pieces, text: &str) -> Vec<(u32, usize)> {
    let mut merges = Merges {
        pieces,
        text,
        symbols: symbols(pieces, text),
        pairs: BinaryHeap::new(),
        undo: HashMap::new(),
    };
    for right in 1..merges.symbols.len() {
        merges.propose(right - 1, right);
    }
    while let Some(pair) = merges.pairs.pop() {
        merges.merge(&pair);
    }
    merges.finish()
}

fn symbols(pieces: &Pieces, text: &str) -> Vec<Symbol> {
    let mut symbols: Vec<Symbol> = Vec::with_capacity(text.len());
    let mut start = 0;
    while start < text.len() {
        let rest = &text.as_bytes()[start..];
        let user_defined = pieces.user_defined_len(rest);
        let end = start + user_defined.unwrap_or_else(|| width(rest[0]));
        let index = symbols.len();
        symbols.push(Symbol {
            range: start..end,
            previous: index.checked_sub(1),
            next: (end < text.len()).then_some(index + 1),
            is_user_defined: user_defined.is_some(),
        });
        start = end;
    }
    symbols
}

impl Merges<'_> {
    /// Adds a pair of adjacent parts to the queue if they form a piece.
    fn propose(&mut self, left: usize, right: usize) {
        let (first, second) = (&self.symbols[left], &self.symbols[right]);
        if first.is_user_defined || second.is_user_defined {
            return;
        }
        let text = &self.text[first.range.start..second.range.end];
        let Some(id) = self.pieces.id(text) else {
            return;
        };
        if self.pieces.kind(id) == Kind::Unused {
            self.undo.insert(text, first.range.len());
        }
        self.pairs.push(Pair {
            score: self.pieces.score(id),
            left,
            right,
            len: text.len(),
        });
    }

    /// Merges a pair, unless one of the two has been merged since it was proposed.
    fn merge(&mut self, pair: &Pair) {
        let right = self.symbols[pair.right].clone();
        let left = &mut self.symbols[pair.left];
        let is_whole = !left.range.is_empty() && !right.range.is_empty();
        if !is_whole || left.range.len() + right.range.len() != pair.len {
            return;
        }
        left.range.end = right.range.end;
        left.next = right.next;
        let previous = left.previous;
        self.symbols[pair.right].range = 0..0;
        if let Some(next) = right.next {
            self.symbols[next].previous = Some(pair.left);
            self.propose(pair.left, next);
        }
        if let Some(previous) = previous {
            self.propose(previous, pair.left);
        }
    }

    fn finish(self) -> Vec<(u32, usize)> {
        let mut cut = Vec::with_capacity(self.symbols.len());
        let mut stack = Vec::new();
        let mut next = (!self.symbols.is_empty()).then_some(0);
        while let Some(index) = next {
            let symbol = &self.symbols[index];
            next = symbol.next;
            stack.push(symbol.range.clone());
            while let Some(range) = stack.pop() {
                let text = &self.text[range.clone()];
                let id = self.pieces.id(text).unwrap_or(self.pieces.unknown());
                match self.undo.get(text) {
                    Some(left) if self.pieces.kind(id) == Kind::Unused => {
                        stack.push(range.start + left..range.end);
                        stack.push(range.start..range.start + left);
                    }
                    _ => cut.push((id, range.end)),
                }
            }
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::ModelFile;
    use super::super::model_file::tests::{UNKNOWN, model};
    use super::*;

    fn texts(pieces: &[(&str, f32, u8)], text: &str) -> Vec<String> {
        let pieces = Pieces::new(&ModelFile::parse(&model(pieces, b"")).unwrap()).unwrap();
        let mut start = 0;
        let texts = cut(&pieces, text).into_iter().map(|(_, end)| {
            let piece = text[start..end].to_string();
            start = end;
            piece
        });
        texts.collect()
    }

    const LETTERS: [(&str, f32, u8); 4] = [UNKNOWN, ("a", -9.0, 1), ("b", -9.0, 1), ("c", -9.0, 1)];

    fn with(more: &[(&'static str, f32, u8)]) -> Vec<(&'static str, f32, u8)> {
        [&LETTERS[..], more].concat()
    }

    #[test]
    fn the_greatest_score_is_merged_first_and_the_leftmost_of_equal_ones() {
        let pieces = with(&[("ab", -1.0, 1), ("bc", -0.5, 1), ("abc", -2.0, 1)]);
        assert_eq!(texts(&pieces, "ab"), ["ab"]);
        assert_eq!(texts(&pieces, "abc"), ["abc"]);
        let pieces = with(&[("ab", -1.0, 1), ("bc", -0.5, 1)]);
        assert_eq!(texts(&pieces, "abc"), ["a", "bc"]);
        let pieces = with(&[("aa", -1.0, 1)]);
        assert_eq!(texts(&pieces, "aaaaa"), ["aa", "aa", "a"]);
    }

    #[test]
    fn an_unused_piece_is_undone() {
        let pieces = with(&[("ab", -1.0, 5), ("abc", -2.0, 1)]);
        assert_eq!(texts(&pieces, "ab"), ["a", "b"]);
        assert_eq!(texts(&pieces, "abc"), ["abc"]);
    }

    #[test]
    fn a_user_defined_symbol_is_merged_with_nothing() {
        let pieces = with(&[("bc", 0.0, 4), ("abc", -2.0, 1), ("ab", -1.0, 1)]);
        assert_eq!(texts(&pieces, "abcab"), ["a", "bc", "ab"]);
    }

    #[test]
    fn characters_of_no_piece_are_unknown() {
        let pieces = Pieces::new(&ModelFile::parse(&model(&LETTERS, b"")).unwrap()).unwrap();
        assert_eq!(cut(&pieces, "a東"), [(1, 1), (0, 4)]);
        assert_eq!(cut(&pieces, ""), []);
    }
}

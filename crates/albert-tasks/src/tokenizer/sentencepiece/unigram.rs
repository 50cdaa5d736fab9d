//! The unigram model: finds the segmentation with the greatest sum of scores.
//!
//! ```text
//! best(0) = 0;   best(e) = max over pieces [s, e) of best(s) + score(piece)
//! ```
//!
//! Ties are broken as in SentencePiece: sums are formed in f32 from left to right, and a
//! segmentation must be greater, not equal, to replace an earlier one, whose last piece starts
//! earlier. The tokenizers crate breaks ties in the same way.
//!
//! Source: google/sentencepiece 0.2.3, `src/unigram_model.cc`, `Model::EncodeOptimized`; Kudo 2018,
//! "Subword Regularization".

use super::super::trie::ROOT;
use super::model_file::Kind;
use super::pieces::{Pieces, width};

/// The difference between the score of an unknown character and that of the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The score of a user-defined symbol for each of its bytes after the first.
const USER_DEFINED_SCORE: f32 = 0.1;

/// The best segmentation up to a position in the text.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f32,
    id: u32,
    /// The start of its last piece.
    start: u32,
}

/// The start for a position at which no piece ends yet.
const UNREACHED: u32 = u32::MAX;

/// Segments a normalized text of fewer than 2³² bytes: the id of each piece, and its end in bytes.
/// An unknown character is a piece. `sum` is the score of the pieces before the text, and afterwards
/// of all.
pub(super) fn cut(pieces: &Pieces, text: &str, sum: &mut f32) -> Vec<(u32, usize)> {
    let bytes = text.as_bytes();
    let unknown_score = pieces.least_score() - UNKNOWN_PENALTY;
    let mut best = vec![
        Best {
            score: 0.0,
            id: 0,
            start: UNREACHED
        };
        bytes.len() + 1
    ];
    best[0].score = *sum;
    let mut start = 0;
    while start < bytes.len() {
        let until_here = best[start].score;
        let width = width(bytes[start]);
        let mut has_single = false;
        let mut node = ROOT;
        for (index, &byte) in bytes[start..].iter().enumerate() {
            let Some(next) = pieces.trie.step(node, byte) else {
                break;
            };
            node = next;
            let Some(id) = pieces.trie.value(node) else {
                continue;
            };
            let score = match pieces.kind(id) {
                Kind::Unused => continue,
                Kind::UserDefined => USER_DEFINED_SCORE * index as f32,
                _ => pieces.score(id),
            };
            let length = index + 1;
            reach(&mut best[start + length], score + until_here, id, start);
            has_single |= length == width;
        }
        if !has_single {
            let score = unknown_score + until_here;
            reach(&mut best[start + width], score, pieces.unknown(), start);
        }
        start += width;
    }
    let mut cut = Vec::with_capacity(bytes.len() / 3);
    let mut end = bytes.len();
    *sum = best[end].score;
    while end > 0 {
        cut.push((best[end].id, end));
        end = best[end].start as usize;
    }
    cut.reverse();
    cut
}

#[inline]
fn reach(place: &mut Best, score: f32, id: u32, start: usize) {
    if place.start == UNREACHED || score > place.score {
        *place = Best {
            score,
            id,
            start: start as u32,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::ModelFile;
    use super::super::model_file::tests::{UNKNOWN, model};
    use super::*;

    fn cut(pieces: &Pieces, text: &str) -> Vec<(u32, usize)> {
        super::cut(pieces, text, &mut 0.0)
    }

    fn unigram(pieces: &[(&str, f32, u8)]) -> Pieces {
        Pieces::new(&ModelFile::parse(&model(pieces, b"")).unwrap()).unwrap()
    }

    #[test]
    fn the_greatest_sum_wins() {
        let unigram = unigram(&[
            UNKNOWN,
            ("a", -1.0, 1),
            ("b", -1.0, 1),
            ("ab", -1.5, 1),
            ("ba", -0.5, 1),
        ]);
        assert_eq!(cut(&unigram, "ab"), [(3, 2)]);
        assert_eq!(cut(&unigram, "aba"), [(1, 1), (4, 3)]);
        assert_eq!(cut(&unigram, ""), []);
    }

    #[test]
    fn of_equal_cuts_the_one_whose_last_piece_begins_first_wins() {
        let unigram = unigram(&[UNKNOWN, ("a", -1.0, 1), ("b", -1.0, 1), ("ab", -2.0, 1)]);
        assert_eq!(cut(&unigram, "ab"), [(3, 2)]);
    }

    #[test]
    fn what_no_piece_covers_is_unknown_character_by_character() {
        let unigram = unigram(&[UNKNOWN, ("a", -1.0, 1), ("東x", -1.0, 1)]);
        assert_eq!(cut(&unigram, "a東京"), [(1, 1), (0, 4), (0, 7)]);
    }

    #[test]
    fn of_equal_cuts_the_one_whose_longer_piece_comes_last_wins() {
        let unigram = unigram(&[UNKNOWN, ("z", -1.0, 1), ("zz", -1.0, 1)]);
        assert_eq!(cut(&unigram, "zzz"), [(1, 1), (2, 3)]);
        assert_eq!(cut(&unigram, "zzzzz"), [(1, 1), (2, 3), (2, 5)]);
    }

    #[test]
    fn sums_are_those_of_f32() {
        // Both cuts of `aab` sum to -3.5; in f32 `a` and `ab` make -3.5, `aa` and `b` a little
        // less.
        let unigram = unigram(&[
            UNKNOWN,
            ("a", -2.5, 1),
            ("b", -2.8, 1),
            ("ab", -1.0, 1),
            ("aa", -0.7, 1),
        ]);
        assert_eq!(cut(&unigram, "aab"), [(1, 1), (3, 3)]);
    }

    #[test]
    fn a_user_defined_symbol_costs_nothing_and_so_is_chosen() {
        let unigram = unigram(&[
            UNKNOWN,
            ("a", -1.0, 1),
            ("aab", -3.0, 1),
            ("b", -9.0, 1),
            ("aa", -99.0, 4),
        ]);
        assert_eq!(cut(&unigram, "aa"), [(4, 2)]);
        // It is not a boundary, though: a piece over it may be better still.
        assert_eq!(cut(&unigram, "aab"), [(2, 3)]);
    }

    #[test]
    fn an_unused_piece_is_never_chosen() {
        let unigram = unigram(&[UNKNOWN, ("a", -9.0, 1), ("aa", -1.0, 5)]);
        assert_eq!(cut(&unigram, "aa"), [(1, 1), (1, 2)]);
        assert_eq!(unigram.id("aa"), Some(2));
    }
}

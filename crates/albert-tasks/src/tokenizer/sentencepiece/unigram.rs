//! The unigram model: the cut of a text with the greatest sum of scores.
//!
//! ```text
//! best(0) = 0;   best(e) = max over pieces [s, e) of best(s) + score(piece)
//! ```
//!
//! Which of equal cuts wins follows from how SentencePiece computes: sums are formed in f64 and
//! kept in f32, and a cut must be greater, not equal, to replace one found earlier. Both are done
//! here as there. (0.2.3 breaks such ties otherwise, in runs like `eeeeeeeee`.)
//!
//! Source: google/sentencepiece 0.2.1, `src/unigram_model.cc`, `Model::EncodeOptimized`; Kudo 2018,
//! "Subword Regularization".

use super::model_file::{Kind, ModelFile, Refusal};
use super::trie::{ROOT, Trie};

/// How much worse an unknown character is than the worst piece.
const UNKNOWN_PENALTY: f32 = 10.0;

/// Pieces, their scores, and the search over them.
#[derive(Debug)]
pub(super) struct Unigram {
    /// Normal, user-defined and unused pieces.
    trie: Trie,
    scores: Vec<f32>,
    kinds: Vec<Kind>,
    unknown: u32,
    unknown_score: f32,
    max_score: f32,
}

/// The best way to reach a place in the text.
#[derive(Debug, Clone, Copy)]
struct Best {
    score: f32,
    id: u32,
    /// Where its last piece begins.
    start: u32,
}

/// The most bytes of a piece: every character of a text may begin one, so that time is bounded by
/// it.
const LONGEST_PIECE: usize = 1024;

/// The start of a place that no piece ends at yet.
const UNREACHED: u32 = u32::MAX;

impl Unigram {
    pub(super) fn new(file: &ModelFile<'_>) -> Result<Self, Refusal> {
        let pieces = || (0u32..).zip(&file.pieces);
        let mut unknown = pieces()
            .filter(|(_, piece)| piece.kind == Kind::Unknown)
            .map(|(id, _)| id);
        let unknown = match (unknown.next(), unknown.next()) {
            (Some(id), None) => id,
            (None, _) => return Err("it has no piece for the unknown".to_string()),
            (Some(_), Some(_)) => return Err("it has two pieces for the unknown".to_string()),
        };
        let has_text = |kind| matches!(kind, Kind::Normal | Kind::UserDefined | Kind::Unused);
        let mut strings: Vec<(&str, u32)> = pieces()
            .filter(|(_, piece)| has_text(piece.kind))
            .map(|(id, piece)| (piece.text, id))
            .collect();
        if let Some((text, _)) = strings.iter().find(|(text, _)| text.len() > LONGEST_PIECE) {
            return Err(format!(
                "it has a piece of {} bytes: expected {LONGEST_PIECE} at most",
                text.len()
            ));
        }
        strings.sort_unstable();
        if let Some(pair) = strings.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("it has the piece `{}` twice", pair[0].0));
        }
        // The bounds that SentencePiece begins with: the least positive number, not the least
        // number.
        let (mut min_score, mut max_score) = (f32::MAX, f32::MIN_POSITIVE);
        for piece in file
            .pieces
            .iter()
            .filter(|piece| piece.kind == Kind::Normal)
        {
            min_score = min_score.min(piece.score);
            max_score = max_score.max(piece.score);
        }
        Ok(Self {
            trie: Trie::new(&strings),
            scores: file.pieces.iter().map(|piece| piece.score).collect(),
            kinds: file.pieces.iter().map(|piece| piece.kind).collect(),
            unknown,
            unknown_score: min_score - UNKNOWN_PENALTY,
            max_score,
        })
    }

    /// The id of what no piece covers.
    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// What a piece is for. The id is one of the vocabulary's.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    /// A piece's score. The id is one of the vocabulary's.
    pub(super) fn score(&self, id: u32) -> f32 {
        self.scores[id as usize]
    }

    /// The id of a piece that stands for text.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.trie.get(piece)
    }

    /// Cuts a normalized text: each piece's id, and where it ends in bytes. An unknown character is
    /// a piece.
    ///
    /// # Errors
    /// If the text has 2³² bytes or more.
    pub(super) fn cut(&self, text: &str) -> Result<Vec<(u32, usize)>, Refusal> {
        if u32::try_from(text.len()).is_err() {
            return Err("the normalized text is longer than 4 GiB".to_string());
        }
        let bytes = text.as_bytes();
        let mut best = vec![
            Best {
                score: 0.0,
                id: 0,
                start: UNREACHED
            };
            bytes.len() + 1
        ];
        let mut start = 0;
        while start < bytes.len() {
            let till_here = best[start].score;
            let width = width(bytes[start]);
            let mut has_single = false;
            let mut node = ROOT;
            for (index, &byte) in bytes[start..].iter().enumerate() {
                let Some(next) = self.trie.step(node, byte) else {
                    break;
                };
                node = next;
                let Some(id) = self.trie.value(node) else {
                    continue;
                };
                let length = index + 1;
                let score = match self.kinds[id as usize] {
                    Kind::Unused => continue,
                    Kind::UserDefined => f64::from(length as f32 * self.max_score) - 0.1,
                    _ => f64::from(self.scores[id as usize]),
                };
                reach(
                    &mut best[start + length],
                    score + f64::from(till_here),
                    id,
                    start,
                );
                has_single |= length == width;
            }
            if !has_single {
                let score = f64::from(self.unknown_score + till_here);
                reach(&mut best[start + width], score, self.unknown, start);
            }
            start += width;
        }
        let mut pieces = Vec::with_capacity(bytes.len() / 3);
        let mut end = bytes.len();
        while end > 0 {
            pieces.push((best[end].id, end));
            end = best[end].start as usize;
        }
        pieces.reverse();
        Ok(pieces)
    }
}

#[inline]
fn reach(place: &mut Best, score: f64, id: u32, start: usize) {
    if place.start == UNREACHED || score > f64::from(place.score) {
        *place = Best {
            score: score as f32,
            id,
            start: start as u32,
        };
    }
}

/// The bytes of the character that begins with `byte`.
fn width(byte: u8) -> usize {
    match byte {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::model;
    use super::*;

    fn unigram(pieces: &[(&str, f32, u8)]) -> Unigram {
        Unigram::new(&ModelFile::parse(&model(pieces, b"")).unwrap()).unwrap()
    }

    fn cut(unigram: &Unigram, text: &str) -> Vec<(u32, usize)> {
        unigram.cut(text).unwrap()
    }

    const UNKNOWN: (&str, f32, u8) = ("<unk>", 0.0, 2);

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
    fn a_user_defined_symbol_is_worth_next_to_nothing_and_so_is_chosen() {
        let unigram = unigram(&[
            UNKNOWN,
            ("a", -1.0, 1),
            ("aab", -3.0, 1),
            ("b", -9.0, 1),
            ("aa", -99.0, 4),
        ]);
        assert_eq!(cut(&unigram, "aa"), [(4, 2)]);
        // It is no boundary, though: a piece over it may be better still.
        assert_eq!(cut(&unigram, "aab"), [(2, 3)]);
    }

    #[test]
    fn an_unused_piece_is_never_chosen() {
        let unigram = unigram(&[UNKNOWN, ("a", -9.0, 1), ("aa", -1.0, 5)]);
        assert_eq!(cut(&unigram, "aa"), [(1, 1), (1, 2)]);
        assert_eq!(unigram.id("aa"), Some(2));
    }

    #[test]
    fn a_vocabulary_needs_one_unknown_piece_and_different_texts() {
        let refusal = |pieces: &[(&str, f32, u8)]| {
            Unigram::new(&ModelFile::parse(&model(pieces, b"")).unwrap()).unwrap_err()
        };
        assert_eq!(refusal(&[("a", 0.0, 1)]), "it has no piece for the unknown");
        assert_eq!(
            refusal(&[UNKNOWN, ("x", 0.0, 2)]),
            "it has two pieces for the unknown"
        );
        assert_eq!(
            refusal(&[UNKNOWN, ("a", 0.0, 1), ("a", 0.0, 4)]),
            "it has the piece `a` twice"
        );
    }
}

//! The Unigram model of a `tokenizer.json`, with the tokens of the tokenizers crate's.
//!
//! The crate's own takes 30 ms to build for 16,000 pieces: each is copied four times, and its trie
//! is a hash map per node. This one keeps all texts in one string and its trie in three arrays.
//!
//! Unlike SentencePiece (`sentencepiece::unigram`), scores are summed in f64, adjacent unknown
//! characters become one token, and the first of two equally good cuts is kept.

use std::collections::HashMap;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use tokenizers::Token;

use super::super::trie::{ROOT, Trie};
use super::pieces::Pieces;

/// The difference between the scores of the worst piece and of an unknown character:
/// `K_UNK_PENALTY` of the tokenizers crate, `kUnkPenalty` of SentencePiece.
const UNKNOWN_PENALTY: f64 = 10.0;

/// A Unigram model: the cut of a text into pieces whose scores have the greatest sum.
#[derive(Debug)]
pub(super) struct Unigram {
    pieces: Pieces,
    /// The ids of all pieces but those without text; of equal ones the last.
    trie: Trie,
    /// The id of the piece without text, which no cut contains.
    empty: Option<u32>,
    unknown: Option<u32>,
    unknown_score: f64,
    byte_fallback: bool,
}

/// The best cut of the text up to a position: its last piece and its score.
#[derive(Clone, Copy)]
struct Best {
    id: Option<u32>,
    start: usize,
    score: f64,
}

impl Unigram {
    fn new(pieces: Pieces, unknown: Option<u32>, byte_fallback: bool) -> Result<Self, String> {
        let count = pieces.scores.len();
        if let Some(id) = unknown
            && id as usize >= count
        {
            return Err(format!(
                "`unk_id`: expected an id below {count}, the length of `vocab`, found {id}"
            ));
        }
        let strings = pieces.texts.distinct();
        let empty = match strings.first() {
            Some(("", id)) => Some(*id),
            _ => None,
        };
        let trie = Trie::new(&strings[usize::from(empty.is_some())..]);
        let least = pieces.scores.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Self {
            trie,
            empty,
            unknown,
            unknown_score: least - UNKNOWN_PENALTY,
            byte_fallback,
            pieces,
        })
    }

    /// Cuts a text into tokens.
    ///
    /// # Errors
    /// If a character is in no piece, and the file names no piece for the unknown.
    pub(super) fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        let mut tokens = Vec::new();
        for (start, end) in self.cut(text)? {
            self.push_tokens(&text[start..end], (start, end), &mut tokens)?;
        }
        Ok(tokens)
    }

    /// Returns the ranges of a text's tokens in bytes; adjacent unknown characters are one range.
    fn cut(&self, text: &str) -> tokenizers::Result<Vec<(usize, usize)>> {
        let mut best: Vec<Option<Best>> = vec![None; text.len() + 1];
        best[0] = Some(Best {
            id: None,
            start: 0,
            score: 0.0,
        });
        for (start, c) in text.char_indices() {
            // Every character ends a cut: a piece, or the unknown.
            let before = best[start].map_or(0.0, |best| best.score);
            let mut improve = |end: usize, id: Option<u32>, score: f64| {
                let score = score + before;
                let is_better = best[end].is_none_or(|known| score > known.score);
                if is_better {
                    best[end] = Some(Best { id, start, score });
                }
                is_better
            };
            let after = start + c.len_utf8();
            let mut node = ROOT;
            let mut is_known = false;
            for (end, byte) in (start + 1..).zip(text[start..].bytes()) {
                let Some(next) = self.trie.step(node, byte) else {
                    break;
                };
                node = next;
                if let Some(id) = self.trie.value(node) {
                    improve(end, Some(id), self.pieces.scores[id as usize]);
                    is_known |= end == after;
                }
            }
            if !is_known && improve(after, self.unknown, self.unknown_score) {
                self.unknown.ok_or(MISSING_UNKNOWN)?;
            }
        }
        let mut ranges: Vec<(usize, usize)> = Vec::new();
        let (mut end, mut follows_unknown) = (text.len(), false);
        while end > 0
            && let Some(Best { id, start, .. }) = best[end]
        {
            let is_unknown = self.unknown.is_some() && id == self.unknown;
            match ranges.last_mut() {
                Some(range) if is_unknown && follows_unknown => range.0 = start,
                _ => ranges.push((start, end)),
            }
            follows_unknown = is_unknown;
            end = start;
        }
        ranges.reverse();
        Ok(ranges)
    }

    /// Adds the token of a range, or the tokens of its bytes if it is unknown and the vocabulary
    /// has one for each.
    fn push_tokens(
        &self,
        text: &str,
        range: (usize, usize),
        tokens: &mut Vec<Token>,
    ) -> tokenizers::Result<()> {
        // Unknown characters in a row may together have the text of a piece.
        if let Some(id) = self.id(text) {
            tokens.push(Token::new(id, text.to_string(), range));
            return Ok(());
        }
        if self.byte_fallback {
            let byte_token = |byte: u8| {
                let name = format!("<0x{byte:02X}>");
                Some(Token::new(self.id(&name)?, name, range))
            };
            if let Some(bytes) = text.bytes().map(byte_token).collect::<Option<Vec<_>>>() {
                tokens.extend(bytes);
                return Ok(());
            }
        }
        let unknown = self.unknown.ok_or(MISSING_UNKNOWN)?;
        tokens.push(Token::new(unknown, text.to_string(), range));
        Ok(())
    }

    /// Returns the id of a piece.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        if text.is_empty() {
            return self.empty;
        }
        self.trie.get(text)
    }

    /// Returns the text of a piece.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.pieces.texts.get(id as usize)
    }

    /// Returns the score of a piece.
    pub(super) fn score(&self, id: u32) -> Option<f64> {
        self.pieces.scores.get(id as usize).copied()
    }

    /// Returns the number of pieces.
    pub(super) fn len(&self) -> usize {
        self.pieces.scores.len()
    }

    /// Returns the highest id of a piece.
    pub(super) fn highest_id(&self) -> Option<u32> {
        // `TextSeed` checked that it fits.
        self.len().checked_sub(1).map(|id| id as u32)
    }

    /// Returns the ids of all pieces by their texts.
    pub(super) fn vocabulary(&self) -> HashMap<String, u32> {
        let texts = self.pieces.texts.iter().map(str::to_string);
        texts.zip(0..).collect()
    }
}

const MISSING_UNKNOWN: &str = "a character is in no piece, and `unk_id` is missing";

impl<'de> Deserialize<'de> for Unigram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct File {
            vocab: Pieces,
            #[serde(default)]
            unk_id: Option<u32>,
            #[serde(default)]
            byte_fallback: bool,
        }
        let file = File::deserialize(deserializer)?;
        Self::new(file.vocab, file.unk_id, file.byte_fallback).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file(pieces: &[(&str, f64)], unknown: Option<u32>, byte_fallback: bool) -> Value {
        json!({"type": "Unigram", "vocab": pieces, "unk_id": unknown, "byte_fallback": byte_fallback})
    }

    fn read(file: &Value) -> Result<Unigram, serde_json::Error> {
        serde_json::from_str(&file.to_string())
    }

    /// The pieces of a small alphabet, some of them equally good, one twice and one without text.
    const PIECES: [(&str, f64); 16] = [
        ("<unk>", 0.0),
        ("a", -2.5),
        ("b", -2.8),
        ("ab", -5.3),
        ("ba", -3.25),
        ("aba", -6.0),
        ("bab", -5.75),
        ("▁", -1.0),
        ("▁a", -3.5),
        ("é", -4.0),
        ("東x", -1.0),
        ("xy", -30.0),
        ("ab", -5.4),
        ("", -1.0),
        ("<0x78>", 0.0),
        ("<0x79>", 0.0),
    ];

    #[test]
    fn the_tokens_are_those_of_the_tokenizers_crate() {
        use tokenizers::Model as _;
        let mut random = fastrand::Rng::with_seed(23);
        for byte_fallback in [false, true] {
            let file = file(&PIECES, Some(0), byte_fallback);
            let ours = read(&file).unwrap();
            let theirs: tokenizers::models::unigram::Unigram =
                serde_json::from_str(&file.to_string()).unwrap();
            for _ in 0..2000 {
                let letters = ['a', 'b', '▁', 'é', '東', 'x', 'y', 'q', '😀'];
                let length = random.usize(0..24);
                let text: String = (0..length).filter_map(|_| random.choice(letters)).collect();
                assert_eq!(
                    ours.tokenize(&text).unwrap(),
                    theirs.tokenize(&text).unwrap(),
                    "{text}"
                );
            }
            assert_eq!(ours.vocabulary(), theirs.get_vocab());
            assert_eq!(ours.len(), theirs.get_vocab_size());
            for (text, _) in PIECES {
                assert_eq!(ours.id(text), theirs.token_to_id(text), "{text}");
            }
            for id in 0..20 {
                assert_eq!(ours.text(id).map(str::to_string), theirs.id_to_token(id));
            }
        }
    }

    #[test]
    fn an_unknown_character_needs_a_piece_for_the_unknown() {
        let unigram = read(&file(&[("a", -1.0)], None, false)).unwrap();
        assert_eq!(unigram.tokenize("aa").unwrap().len(), 2);
        let error = unigram.tokenize("ab").unwrap_err().to_string();
        assert_eq!(error, MISSING_UNKNOWN);
    }

    #[test]
    fn broken_vocabularies_are_refused() {
        let refused = [
            (json!({"vocab": [["a", 0.0]], "unk_id": 1}), "`unk_id`"),
            (json!({"vocab": [["a"]]}), "a piece and its score"),
            (json!({"vocab": [["a", 0.0, 1]]}), "trailing characters"),
            (json!({"vocab": [[1, 0.0]]}), "the text of a piece"),
            (json!({"vocab": {"a": 0}}), "a list of pieces"),
            (json!({"unk_id": 0}), "missing field `vocab`"),
        ];
        for (file, expected) in refused {
            let error = read(&file).unwrap_err().to_string();
            assert!(error.contains(expected), "{file}: {error}");
        }
    }
}

//! The WordPiece model of a `tokenizer.json`, with the tokens of the tokenizers crate's.
//!
//! The crate's own takes longer to build, because the file's values are copied before they are read
//! and each piece is in two hash maps. It also looks up every prefix of a word from the longest
//! down, while a trie finds the longest one in one pass.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use tokenizers::Token;

use super::super::trie::{ROOT, Trie};
use super::texts::{TextSeed, Texts};

/// A WordPiece model: each word is cut into the longest pieces from left to right, and a word that
/// cannot be cut is unknown.
#[derive(Debug)]
pub(super) struct WordPiece {
    pieces: Pieces,
    /// The indices in `pieces` of all texts but the empty one; of equal ones the last.
    trie: Trie,
    /// The index of the piece without text, which is in no word.
    empty: Option<u32>,
    /// The ids, ascending, with the indices of their pieces; of equal ids the last.
    by_id: Vec<(u32, u32)>,
    /// The number of distinct texts.
    len: usize,
    /// The node of the trie at which pieces that continue a word begin.
    continuation: Option<u32>,
    prefix: String,
    unknown: String,
    /// The number of characters of the longest word that is cut.
    longest_word: usize,
}

impl WordPiece {
    fn new(pieces: Pieces, prefix: String, unknown: String, longest_word: usize) -> Self {
        let strings = pieces.texts.distinct();
        let len = strings.len();
        let mut by_id: Vec<(u32, u32)> = pieces.ids.iter().copied().zip(0..).collect();
        if len < by_id.len() {
            let kept: HashSet<u32> = strings.iter().map(|(_, index)| *index).collect();
            by_id.retain(|(_, index)| kept.contains(index));
        }
        by_id.sort();
        by_id.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 = next.1;
            }
            is_same
        });
        let empty = match strings.first() {
            Some(("", index)) => Some(*index),
            _ => None,
        };
        let trie = Trie::new(&strings[usize::from(empty.is_some())..]);
        let continuation = prefix
            .bytes()
            .try_fold(ROOT, |node, byte| trie.step(node, byte));
        Self {
            trie,
            empty,
            by_id,
            len,
            continuation,
            prefix,
            unknown,
            longest_word,
            pieces,
        }
    }

    /// Cuts a word into tokens.
    ///
    /// # Errors
    /// If the word cannot be cut, and the vocabulary lacks the token for unknown words.
    pub(super) fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        if word.chars().count() <= self.longest_word
            && let Some(tokens) = self.cut(word)
        {
            return Ok(tokens);
        }
        let id = self
            .id(&self.unknown)
            .ok_or("the vocabulary lacks the token for unknown words")?;
        Ok(vec![Token::new(id, self.unknown.clone(), (0, word.len()))])
    }

    /// Cuts a word into the longest pieces from left to right; `None` if a part of it is in no
    /// piece.
    fn cut(&self, word: &str) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut start = 0;
        while start < word.len() {
            let mut node = if start == 0 { ROOT } else { self.continuation? };
            let mut longest = None;
            for (end, byte) in (start + 1..).zip(word[start..].bytes()) {
                let Some(next) = self.trie.step(node, byte) else {
                    break;
                };
                node = next;
                longest = self.trie.value(node).map(|piece| (piece, end)).or(longest);
            }
            let (piece, end) = longest?;
            let text = self.pieces.texts.get(piece as usize)?.to_string();
            let id = self.pieces.ids[piece as usize];
            tokens.push(Token::new(id, text, (start, end)));
            start = end;
        }
        Some(tokens)
    }

    /// Returns the id of a piece.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let index = if text.is_empty() {
            self.empty
        } else {
            self.trie.get(text)
        };
        index.map(|index| self.pieces.ids[index as usize])
    }

    /// Returns the text of a piece.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        let at = self.by_id.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.pieces.texts.get(self.by_id[at].1 as usize)
    }

    /// Returns the number of pieces.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the highest id of a piece.
    pub(super) fn highest_id(&self) -> Option<u32> {
        self.by_id.last().map(|(id, _)| *id)
    }

    /// Returns the ids of all pieces by their texts.
    pub(super) fn vocabulary(&self) -> HashMap<String, u32> {
        let ids = self.pieces.ids.iter().copied();
        let texts = self.pieces.texts.iter().map(str::to_string);
        texts.zip(ids).collect()
    }

    /// Returns the token for unknown words.
    pub(super) fn unknown(&self) -> &str {
        &self.unknown
    }

    /// Returns the prefix of the pieces that continue a word.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl<'de> Deserialize<'de> for WordPiece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct File {
            vocab: Pieces,
            unk_token: String,
            continuing_subword_prefix: String,
            max_input_chars_per_word: usize,
        }
        let file = File::deserialize(deserializer)?;
        Ok(Self::new(
            file.vocab,
            file.continuing_subword_prefix,
            file.unk_token,
            file.max_input_chars_per_word,
        ))
    }
}

/// The texts and ids of the pieces, in the order of the file.
#[derive(Debug, Default)]
struct Pieces {
    texts: Texts,
    ids: Vec<u32>,
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PiecesVisitor)
    }
}

struct PiecesVisitor;

impl<'de> Visitor<'de> for PiecesVisitor {
    type Value = Pieces;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pieces with their ids")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pieces, A::Error> {
        let Pieces { mut texts, mut ids } = Pieces::default();
        while map.next_key_seed(TextSeed(&mut texts))?.is_some() {
            ids.push(map.next_value()?);
        }
        if u32::try_from(ids.len()).is_err() {
            return Err(A::Error::custom("more than 4 billion pieces"));
        }
        Ok(Pieces { texts, ids })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn file(pieces: &[(&str, u32)]) -> String {
        let pieces: Vec<String> = pieces
            .iter()
            .map(|(text, id)| format!("{}:{id}", Value::from(*text)))
            .collect();
        format!(
            r###"{{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
            "max_input_chars_per_word":12,"vocab":{{{}}}}}"###,
            pieces.join(",")
        )
    }

    fn read(file: &str) -> Result<WordPiece, serde_json::Error> {
        serde_json::from_str(file)
    }

    /// The pieces of a small alphabet: ids with holes, one piece twice, one without text.
    const PIECES: [(&str, u32); 14] = [
        ("[UNK]", 0),
        ("a", 1),
        ("b", 2),
        ("ab", 3),
        ("aba", 9),
        ("##a", 4),
        ("##b", 5),
        ("##bab", 6),
        ("é", 7),
        ("##é東", 8),
        ("東", 20),
        ("ab", 10),
        ("", 11),
        ("#", 12),
    ];

    #[test]
    fn the_tokens_are_those_of_the_tokenizers_crate() {
        use tokenizers::Model as _;
        let file = file(&PIECES);
        let ours = read(&file).unwrap();
        let theirs: tokenizers::models::wordpiece::WordPiece = serde_json::from_str(&file).unwrap();
        let mut random = fastrand::Rng::with_seed(29);
        for _ in 0..5000 {
            let letters = ['a', 'b', 'a', 'b', 'é', '東', '#', 'q'];
            let length = random.usize(0..15);
            let word: String = (0..length).filter_map(|_| random.choice(letters)).collect();
            assert_eq!(
                ours.tokenize(&word).unwrap(),
                theirs.tokenize(&word).unwrap(),
                "{word}"
            );
        }
        assert_eq!(ours.vocabulary(), theirs.get_vocab());
        assert_eq!(ours.len(), theirs.get_vocab_size());
        for (text, _) in PIECES {
            assert_eq!(ours.id(text), theirs.token_to_id(text), "{text}");
        }
        for id in 0..25 {
            assert_eq!(ours.text(id).map(str::to_string), theirs.id_to_token(id));
        }
        assert_eq!(ours.highest_id(), theirs.get_vocab().into_values().max());
    }

    #[test]
    fn of_equal_ids_the_last_has_its_text() {
        let word_piece = read(&file(&[("a", 1), ("b", 1)])).unwrap();
        assert_eq!(word_piece.text(1), Some("b"));
        assert_eq!((word_piece.id("a"), word_piece.id("b")), (Some(1), Some(1)));
    }

    #[test]
    fn an_unknown_word_needs_a_piece_for_the_unknown() {
        let word_piece = read(&file(&[("a", 1)])).unwrap();
        assert_eq!(word_piece.tokenize("a").unwrap().len(), 1);
        for word in ["aa", "b", "aaaaaaaaaaaaa"] {
            let error = word_piece.tokenize(word).unwrap_err().to_string();
            assert!(error.contains("unknown words"), "{word}: {error}");
        }
    }

    #[test]
    fn broken_vocabularies_are_refused() {
        let whole = json!({"unk_token": "a", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"a": 0}});
        for (field, value, expected) in [
            ("vocab", json!([["a", 0]]), "pieces with their ids"),
            ("vocab", json!({"a": -1}), "expected u32"),
            ("vocab", json!({"a": "0"}), "expected u32"),
            ("unk_token", Value::Null, "expected a string"),
            ("max_input_chars_per_word", json!(-1), "expected usize"),
        ] {
            let mut file = whole.clone();
            file[field] = value;
            let error = read(&file.to_string()).unwrap_err().to_string();
            assert!(error.contains(expected), "{file}: {error}");
        }
        for field in [
            "vocab",
            "unk_token",
            "continuing_subword_prefix",
            "max_input_chars_per_word",
        ] {
            let mut file = whole.clone();
            file.as_object_mut().unwrap().remove(field);
            let error = read(&file.to_string()).unwrap_err().to_string();
            assert!(error.contains(field), "{file}: {error}");
        }
    }
}

//! The pieces of a model: their texts, scores and kinds.

use super::super::trie::{ROOT, Trie};
use super::model_file::{Kind, ModelFile, Refusal};

/// The maximum length of a piece in bytes: every character of a text may start one, so the time is
/// bounded by it.
const LONGEST_PIECE: usize = 1024;

/// The pieces of a model, by id and by text.
#[derive(Debug)]
pub(super) struct Pieces {
    /// Normal, user-defined and unused pieces.
    pub(super) trie: Trie,
    scores: Vec<f32>,
    kinds: Vec<Kind>,
    unknown: u32,
    least_score: f32,
}

impl Pieces {
    pub(super) fn new(file: &ModelFile<'_>) -> Result<Self, Refusal> {
        let pieces = || (0u32..).zip(&file.pieces);
        let mut unknown = pieces()
            .filter(|(_, piece)| piece.kind == Kind::Unknown)
            .map(|(id, _)| id);
        let unknown = match (unknown.next(), unknown.next()) {
            (Some(id), None) => id,
            (None, _) => return Err("it has no piece for unknown text".to_string()),
            (Some(_), Some(_)) => return Err("it has two pieces for unknown text".to_string()),
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
        let normal = file
            .pieces
            .iter()
            .filter(|piece| piece.kind == Kind::Normal);
        Ok(Self {
            trie: Trie::new(&strings),
            scores: file.pieces.iter().map(|piece| piece.score).collect(),
            kinds: file.pieces.iter().map(|piece| piece.kind).collect(),
            unknown,
            least_score: normal.map(|piece| piece.score).fold(f32::MAX, f32::min),
        })
    }

    /// Returns the id of the unknown piece.
    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Returns a piece's kind. The id is one of the vocabulary's.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds[id as usize]
    }

    /// Returns a piece's score. The id is one of the vocabulary's.
    pub(super) fn score(&self, id: u32) -> f32 {
        self.scores[id as usize]
    }

    /// Returns the minimum score of a normal piece.
    pub(super) fn least_score(&self) -> f32 {
        self.least_score
    }

    /// Returns the id of a piece with a text.
    pub(super) fn id(&self, piece: &str) -> Option<u32> {
        self.trie.get(piece)
    }

    /// Returns the length in bytes of the longest user-defined symbol at the start of a text.
    pub(super) fn user_defined_len(&self, text: &[u8]) -> Option<usize> {
        let (mut node, mut longest) = (ROOT, None);
        for (index, &byte) in text.iter().enumerate() {
            let Some(next) = self.trie.step(node, byte) else {
                break;
            };
            node = next;
            let id = self.trie.value(node);
            if id.is_some_and(|id| self.kind(id) == Kind::UserDefined) {
                longest = Some(index + 1);
            }
        }
        longest
    }
}

/// Returns the length in bytes of the character that starts with `byte`.
pub(super) fn width(byte: u8) -> usize {
    match byte {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model_file::tests::{UNKNOWN, model};
    use super::*;

    #[test]
    fn a_vocabulary_needs_one_unknown_piece_and_different_texts() {
        let refusal = |pieces: &[(&str, f32, u8)]| {
            Pieces::new(&ModelFile::parse(&model(pieces, b"")).unwrap()).unwrap_err()
        };
        assert_eq!(
            refusal(&[("a", 0.0, 1)]),
            "it has no piece for unknown text"
        );
        assert_eq!(
            refusal(&[UNKNOWN, ("x", 0.0, 2)]),
            "it has two pieces for unknown text"
        );
        assert_eq!(
            refusal(&[UNKNOWN, ("a", 0.0, 1), ("a", 0.0, 4)]),
            "it has the piece `a` twice"
        );
    }

    #[test]
    fn the_longest_user_defined_symbol_is_found() {
        let pieces = [UNKNOWN, ("a", 0.0, 4), ("ab", 0.0, 1), ("abc", 0.0, 4)];
        let pieces = Pieces::new(&ModelFile::parse(&model(&pieces, b"")).unwrap()).unwrap();
        for (text, len) in [("abcd", Some(3)), ("abd", Some(1)), ("b", None)] {
            assert_eq!(pieces.user_defined_len(text.as_bytes()), len, "{text}");
        }
    }
}

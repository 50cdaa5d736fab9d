//! The pieces of a Unigram model: all texts in one string, read without copying each.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The texts and scores of the pieces, by id.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// All texts in a row.
    texts: String,
    /// The end of each text.
    ends: Vec<u32>,
    pub(super) scores: Vec<f64>,
}

impl Pieces {
    /// Returns the text of a piece.
    pub(super) fn text(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        self.texts.get(start..end)
    }

    /// Returns the texts in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).filter_map(|index| self.text(index))
    }
}

impl<'de> Deserialize<'de> for Pieces {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PiecesVisitor)
    }
}

struct PiecesVisitor;

impl<'de> Visitor<'de> for PiecesVisitor {
    type Value = Pieces;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of pieces with their scores")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pieces, A::Error> {
        let mut pieces = Pieces::default();
        while list.next_element_seed(PieceSeed(&mut pieces))?.is_some() {}
        Ok(pieces)
    }
}

/// Appends a piece, which the file gives as its text and its score.
struct PieceSeed<'a>(&'a mut Pieces);

impl<'de> DeserializeSeed<'de> for PieceSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_tuple(2, self)
    }
}

impl<'de> Visitor<'de> for PieceSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a piece and its score")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<(), A::Error> {
        let missing = |at| A::Error::invalid_length(at, &"a piece and its score");
        let pieces = self.0;
        pair.next_element_seed(TextSeed(&mut pieces.texts))?
            .ok_or_else(|| missing(0))?;
        let score = pair.next_element()?.ok_or_else(|| missing(1))?;
        let end = u32::try_from(pieces.texts.len())
            .map_err(|_| A::Error::custom("the pieces are longer than 4 GiB"))?;
        pieces.ends.push(end);
        pieces.scores.push(score);
        Ok(())
    }
}

/// Appends a text.
struct TextSeed<'a>(&'a mut String);

impl<'de> DeserializeSeed<'de> for TextSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for TextSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text of a piece")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push_str(text);
        Ok(())
    }
}

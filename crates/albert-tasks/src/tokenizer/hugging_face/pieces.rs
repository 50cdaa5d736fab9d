//! The pieces of a Unigram model, read without copying each.

use std::fmt;

use serde::de::{DeserializeSeed, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::texts::{TextSeed, Texts};

/// The texts and scores of the pieces, by id.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) texts: Texts,
    pub(super) scores: Vec<f64>,
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
        pieces.scores.push(score);
        Ok(())
    }
}

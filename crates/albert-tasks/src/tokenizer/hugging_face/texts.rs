//! The texts of a vocabulary in one string, which takes one allocation and not one for each piece.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, Visitor};

/// Texts by index.
#[derive(Debug, Default)]
pub(super) struct Texts {
    joined: String,
    /// The end of each text.
    ends: Vec<u32>,
}

impl Texts {
    /// Returns a text.
    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = match index.checked_sub(1) {
            Some(before) => self.ends[before] as usize,
            None => 0,
        };
        self.joined.get(start..end)
    }

    /// Returns the number of texts.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Iterates over the texts.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// Returns the distinct texts in ascending order with their indices, of equal ones the last.
    pub(super) fn distinct(&self) -> Vec<(&str, u32)> {
        let mut texts: Vec<(&str, u32)> = self.iter().zip(0..).collect();
        texts.sort_unstable();
        texts.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 = next.1;
            }
            is_same
        });
        texts
    }
}

/// Appends a text that the file gives as a string.
pub(super) struct TextSeed<'a>(pub(super) &'a mut Texts);

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

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        let Texts { joined, ends } = self.0;
        joined.push_str(text);
        let end = u32::try_from(joined.len())
            .map_err(|_| E::custom("the pieces are longer than 4 GiB"))?;
        ends.push(end);
        Ok(())
    }
}

//! Token ids of many sequences, close together.

use std::ops::Range;

use albert_tasks::albert_model::train::TrainingBatch;
use albert_tasks::tokenizer::Encoding;

/// Sequences of token ids and token types.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequences {
    ids: Vec<u32>,
    types: Vec<u32>,
    /// The end of each sequence.
    ends: Vec<usize>,
}

impl Sequences {
    pub(super) fn from_encodings<'a>(encodings: impl IntoIterator<Item = &'a Encoding>) -> Self {
        let mut sequences = Self::default();
        for encoding in encodings {
            sequences.push(&encoding.ids, &encoding.type_ids);
        }
        sequences
    }

    pub(super) fn push(&mut self, ids: &[u32], types: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.types.extend_from_slice(types);
        self.ends.push(self.ids.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the ids and the types of a sequence.
    pub(super) fn at(&self, index: usize) -> (&[u32], &[u32]) {
        let rows = self.rows(index);
        (&self.ids[rows.clone()], &self.types[rows])
    }

    /// Returns a batch of some sequences.
    pub(super) fn batch(&self, indices: &[usize]) -> TrainingBatch {
        let mut batch = TrainingBatch::new();
        for &index in indices {
            let (ids, types) = self.at(index);
            batch.push(ids, types);
        }
        batch
    }

    fn rows(&self, index: usize) -> Range<usize> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        start..self.ends[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_come_back_as_they_were() {
        let mut sequences = Sequences::default();
        sequences.push(&[2, 7, 3], &[0, 0, 1]);
        sequences.push(&[2, 3], &[0, 0]);
        assert_eq!(sequences.at(0), (&[2, 7, 3][..], &[0, 0, 1][..]));
        assert_eq!(sequences.at(1), (&[2, 3][..], &[0, 0][..]));
        assert_eq!(sequences.len(), 2);
    }
}

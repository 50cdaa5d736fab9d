//! Sequences of a step, and their division into bundles.

use std::ops::Range;

use crate::config::AlbertConfig;
use crate::train::error::{Result, TrainError};
use crate::train::flat::{FlatLayout, FlatParameters};
use crate::train::objective::Objective;

/// Sequences without padding, one after another. A *row* is a token's index in the whole batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrainingBatch {
    ids: Vec<u32>,
    types: Vec<u32>,
    /// The end of each sequence.
    ends: Vec<usize>,
    /// The end of each unit; a unit is sequences that stay together.
    units: Vec<usize>,
}

impl TrainingBatch {
    /// Creates a batch without sequences.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a sequence and returns its index.
    ///
    /// # Panics
    /// If there are not as many types as ids.
    pub fn push(&mut self, ids: &[u32], types: &[u32]) -> usize {
        self.push_together([(ids, types)]).start
    }

    /// Adds sequences that one loss compares, such as the choices of a question, and returns their
    /// indices.
    ///
    /// # Panics
    /// If a sequence has not as many types as ids.
    pub fn push_together<'a>(
        &mut self,
        sequences: impl IntoIterator<Item = (&'a [u32], &'a [u32])>,
    ) -> Range<usize> {
        let start = self.ends.len();
        for (ids, types) in sequences {
            assert!(
                ids.len() == types.len(),
                "{} token types, found {}",
                ids.len(),
                types.len()
            );
            self.ids.extend_from_slice(ids);
            self.types.extend_from_slice(types);
            self.ends.push(self.ids.len());
        }
        if self.ends.len() > start {
            self.units.push(self.ends.len());
        }
        start..self.ends.len()
    }

    /// Returns the number of sequences.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns true if there are no sequences.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Returns the number of tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Returns the rows of a sequence.
    ///
    /// # Panics
    /// If there is no such sequence.
    pub fn rows(&self, sequence: usize) -> Range<usize> {
        let start = sequence
            .checked_sub(1)
            .map_or(0, |before| self.ends[before]);
        start..self.ends[sequence]
    }

    /// Sequences that stay together.
    pub(super) fn units(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let starts = std::iter::once(0).chain(self.units.iter().copied());
        starts.zip(&self.units).map(|(start, end)| start..*end)
    }

    pub(super) fn ids(&self, rows: Range<usize>) -> &[u32] {
        &self.ids[rows]
    }

    pub(super) fn types(&self, rows: Range<usize>) -> &[u32] {
        &self.types[rows]
    }

    /// Checks that parameters, batch and targets fit each other.
    pub(super) fn check_step(
        &self,
        layout: &FlatLayout,
        parameters: &FlatParameters,
        objectives: &[&dyn Objective],
    ) -> Result<()> {
        if parameters.values().len() != layout.len() {
            return Err(TrainError::Parameters {
                expected: layout.len(),
                found: parameters.values().len(),
            });
        }
        self.check(layout.config())?;
        objectives
            .iter()
            .try_for_each(|objective| objective.check(self))
    }

    /// Checks that the model has an embedding for everything.
    fn check(&self, config: &AlbertConfig) -> Result<()> {
        for sequence in 0..self.len() {
            let rows = self.rows(sequence);
            if rows.is_empty() {
                return Err(TrainError::EmptySequence { sequence });
            }
            let largest = |values: &[u32]| values.iter().max().map_or(0, |x| *x as usize);
            for (what, found, count) in [
                (
                    "token id",
                    largest(self.ids(rows.clone())),
                    config.vocab_size,
                ),
                (
                    "token type",
                    largest(self.types(rows.clone())),
                    config.type_vocab_size,
                ),
                ("position", rows.len() - 1, config.max_position_embeddings),
            ] {
                if found >= count {
                    return Err(TrainError::OutOfRange {
                        sequence,
                        what,
                        found,
                        count,
                    });
                }
            }
        }
        Ok(())
    }

    /// Divides the sequences into bundles of about `together` tokens: as many for each of the
    /// slots, and as even as whole units allow. The result depends on the lengths and the slots
    /// alone.
    pub(super) fn bundles(&self, slots: usize, together: usize) -> Vec<Vec<usize>> {
        let count = slots * self.tokens().div_ceil(slots * together);
        let count = count
            .min(self.tokens().div_ceil(SHORTEST_BUNDLE.min(together)))
            .max(1);
        let tokens =
            |unit: &Range<usize>| self.rows(unit.end - 1).end - self.rows(unit.start).start;
        let mut units: Vec<_> = self.units().collect();
        units.sort_by_key(|unit| std::cmp::Reverse(tokens(unit)));
        let mut bundles = vec![Vec::new(); count];
        let mut loads = vec![0; count];
        for unit in units {
            let lightest = (0..count)
                .min_by_key(|bundle| loads[*bundle])
                .expect("one bundle at least");
            loads[lightest] += tokens(&unit);
            bundles[lightest].extend(unit);
        }
        bundles.iter_mut().for_each(|bundle| bundle.sort_unstable());
        bundles.retain(|bundle| !bundle.is_empty());
        bundles
    }
}

/// A bundle of fewer tokens reads weights more than it uses them.
const SHORTEST_BUNDLE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lengths: &[usize]) -> TrainingBatch {
        let mut batch = TrainingBatch::new();
        for length in lengths {
            batch.push(&vec![7; *length], &vec![0; *length]);
        }
        batch
    }

    #[test]
    fn bundles_hold_every_sequence_once_and_are_even() {
        let batch = batch(&[200, 30, 40, 100, 100, 60, 512, 1, 90, 20]);
        for slots in [1, 2, 3, 8] {
            let bundles = batch.bundles(slots, 256);
            let mut all: Vec<usize> = bundles.concat();
            all.sort_unstable();
            assert_eq!(all, (0..10).collect::<Vec<_>>(), "{slots} slots");
        }
        assert_eq!(batch.bundles(1, 256).len(), 5);
    }

    #[test]
    fn choices_of_a_question_stay_in_one_bundle() {
        let mut batch = batch(&[100]);
        let (ids, types) = (vec![5; 90], vec![0; 90]);
        let choices = batch.push_together((0..4).map(|_| (&ids[..], &types[..])));
        assert_eq!(choices, 1..5);
        let bundles = batch.bundles(8, 64);
        assert!(bundles.contains(&vec![1, 2, 3, 4]), "{bundles:?}");
    }

    #[test]
    fn ids_types_and_positions_without_an_embedding_are_named() {
        let config = AlbertConfig {
            vocab_size: 8,
            max_position_embeddings: 3,
            ..AlbertConfig::default()
        };
        let message = |ids: &[u32], types: &[u32]| {
            let mut batch = TrainingBatch::new();
            batch.push(&[1], &[0]);
            batch.push(ids, types);
            batch
                .check(&config)
                .map_or_else(|error| error.to_string(), |()| String::new())
        };
        assert_eq!(message(&[7, 0, 1], &[0, 1, 1]), "");
        assert_eq!(
            message(&[8], &[0]),
            "sequence 1: expected a token id below 8, found 8"
        );
        assert_eq!(
            message(&[1], &[2]),
            "sequence 1: expected a token type below 2, found 2"
        );
        assert_eq!(
            message(&[1; 4], &[0; 4]),
            "sequence 1: expected a position below 3, found 3"
        );
        assert_eq!(message(&[], &[]), "sequence 1 has no tokens");
    }
}

//! A bundle: sequences whose forward and backward passes run together.

use crate::train::batch::TrainingBatch;
use crate::train::objective::{Objective, Reads};

/// A sequence of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The index of the sequence in the batch.
    pub(super) sequence: usize,
    /// Its first row in the bundle.
    pub(super) start: usize,
    pub(super) tokens: usize,
    /// Its first row in the last layer's output.
    pub(super) read_start: usize,
    /// Its rows in the last layer's output.
    pub(super) read: usize,
}

/// Sequences, and the rows of the last layer that are read.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) spans: Vec<Span>,
    /// All rows.
    pub(super) rows: usize,
    /// Each row's position in its sequence, `(rows)`
    pub(super) places: Vec<usize>,
    /// The rows that are read, `None` for all.
    pub(super) read_rows: Option<Vec<usize>>,
    /// The positions of the rows that are read.
    pub(super) read_places: Vec<usize>,
}

/// Marks a row that is not read.
const UNREAD: usize = usize::MAX;

impl Bundle {
    pub(super) fn new(
        batch: &TrainingBatch,
        sequences: &[usize],
        objectives: &[&dyn Objective],
        skip_unread_rows: bool,
    ) -> Self {
        let (mut spans, mut places, mut start) = (Vec::new(), Vec::new(), 0);
        for &sequence in sequences {
            let tokens = batch.rows(sequence).len();
            spans.push(Span {
                sequence,
                start,
                tokens,
                read_start: start,
                read: tokens,
            });
            places.extend(0..tokens);
            start += tokens;
        }
        let mut bundle = Self {
            spans,
            rows: start,
            read_rows: None,
            read_places: places.clone(),
            places,
        };
        if skip_unread_rows {
            bundle.select(batch, objectives);
        }
        bundle
    }

    fn select(&mut self, batch: &TrainingBatch, objectives: &[&dyn Objective]) {
        let mut is_read = vec![false; self.rows];
        for span in &self.spans {
            let is_read = &mut is_read[span.start..][..span.tokens];
            for objective in objectives
                .iter()
                .filter(|objective| objective.depth().is_none())
            {
                match objective.reads(batch, span.sequence) {
                    Reads::Nothing => {}
                    Reads::First => is_read[0] = true,
                    Reads::Tokens(tokens) => tokens.iter().for_each(|token| is_read[*token] = true),
                    Reads::All => is_read.fill(true),
                }
            }
        }
        if is_read.iter().all(|is_read| *is_read) {
            return;
        }
        let rows: Vec<usize> = (0..self.rows).filter(|row| is_read[*row]).collect();
        for span in &mut self.spans {
            span.read_start = rows.partition_point(|row| *row < span.start);
            let end = rows.partition_point(|row| *row < span.start + span.tokens);
            span.read = end - span.read_start;
        }
        self.read_places = rows.iter().map(|row| self.places[*row]).collect();
        self.read_rows = Some(rows);
    }

    /// Returns the number of rows that the last layer computes.
    pub(super) fn read_count(&self) -> usize {
        self.read_rows.as_ref().map_or(self.rows, Vec::len)
    }

    /// Returns, for each row, its position among the rows that are read.
    pub(super) fn indices(&self) -> Vec<usize> {
        match &self.read_rows {
            None => (0..self.rows).collect(),
            Some(rows) => {
                let mut indices = vec![UNREAD; self.rows];
                rows.iter()
                    .enumerate()
                    .for_each(|(index, row)| indices[*row] = index);
                indices
            }
        }
    }
}

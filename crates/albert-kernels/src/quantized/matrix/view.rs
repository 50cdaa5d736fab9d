//! A rectangle of a quantized matrix, as a product reads it.

use std::ops::Range;

use super::QuantizedMatrix;
use crate::gemm::Submatrix;
use crate::instruction_set::InstructionSet;
use crate::quantized::{SCALE_BLOCK, STEP};

/// A borrowed rectangle of a quantized matrix.
#[derive(Debug, Clone)]
pub struct QuantizedView<'a> {
    pub(super) matrix: &'a QuantizedMatrix,
    pub(super) submatrix: Submatrix,
}

impl<'a> QuantizedView<'a> {
    /// Returns a view of some rows, which start and end at scale blocks or at the end of the
    /// matrix.
    ///
    /// # Panics
    /// If the range is empty, exceeds the view, or splits a scale block.
    pub fn rows(self, rows: Range<usize>) -> Self {
        assert!(
            rows.start < rows.end,
            "{rows:?} of {:?}",
            self.submatrix.rows
        );
        let submatrix = self.submatrix.rows(rows);
        let Range { start, end } = submatrix.rows;
        let is_between = |row: usize| row.is_multiple_of(SCALE_BLOCK) || row == self.matrix.depth;
        assert!(
            is_between(start) && is_between(end),
            "rows {start} to {end} split a scale block"
        );
        Self { submatrix, ..self }
    }

    /// Returns a view of some columns, which start at a panel.
    ///
    /// # Panics
    /// If the range exceeds the view, or starts within a panel.
    pub fn columns(self, columns: Range<usize>) -> Self {
        Self {
            submatrix: self.submatrix.columns(columns),
            ..self
        }
    }

    pub(crate) fn instruction_set(&self) -> InstructionSet {
        self.matrix.instructions
    }

    pub(crate) fn submatrix(&self) -> &Submatrix {
        &self.submatrix
    }

    /// Returns the number of outliers before each scale block of the view, and before its end.
    #[inline(always)]
    pub(crate) fn channels_before(&self) -> &'a [usize] {
        let rows = &self.submatrix.rows;
        &self.matrix.channels_before[rows.start / SCALE_BLOCK..=rows.end.div_ceil(SCALE_BLOCK)]
    }

    /// Returns the rows that are outliers, relative to the view's first row.
    pub(crate) fn channels(&self) -> impl ExactSizeIterator<Item = usize> + use<'a> {
        let before = self.channels_before();
        let channels = &self.matrix.channels[before[0]..before[before.len() - 1]];
        let start = self.submatrix.rows.start;
        channels.iter().map(move |channel| channel - start)
    }

    /// Returns 0 for each row that is an outlier, else 1, for whole scale blocks.
    #[inline(always)]
    pub(crate) fn kept(&self) -> &'a [f32] {
        &self.matrix.kept
            [self.submatrix.rows.start..self.submatrix.rows.end.next_multiple_of(SCALE_BLOCK)]
    }

    /// Returns one panel from row `depth` on, a multiple of [`STEP`] or the end, as sets of four
    /// rows.
    #[inline(always)]
    pub(crate) fn quads(&self, panel: usize, depth: usize) -> &'a [i8] {
        let (width, len) = (self.matrix.panel_width, self.matrix.panel_len());
        let panel = &self.matrix.panels[(self.submatrix.first_panel() + panel) * len..][..len];
        let rows = &self.submatrix.rows;
        let end = rows.end.next_multiple_of(STEP);
        &panel[(rows.start + depth).next_multiple_of(STEP) * width..end * width]
    }

    /// Returns the scales of one panel, from the first scale block on.
    #[inline(always)]
    pub(crate) fn scales(&self, panel: usize) -> &'a [f32] {
        &self.matrix.scales[self.group_start(panel)..]
    }

    /// Returns the integers that cancel the offset of 128 in A, in the layout of the scales.
    #[inline(always)]
    pub(crate) fn offsets(&self, panel: usize) -> &'a [i32] {
        &self.matrix.offsets[self.group_start(panel)..]
    }

    #[inline(always)]
    fn group_start(&self, panel: usize) -> usize {
        let column = (self.submatrix.first_panel() + panel) * self.matrix.panel_width;
        self.submatrix.rows.start / SCALE_BLOCK * self.scales_stride() + column
    }

    /// Returns the distance between the scales of successive blocks.
    #[inline(always)]
    pub(crate) fn scales_stride(&self) -> usize {
        self.matrix.padded_columns()
    }

    /// Returns true if A must be rotated.
    pub(crate) fn is_rotated(&self) -> bool {
        self.matrix.is_rotated
    }

    /// Returns the weights of the outliers in one panel, row by row.
    #[inline(always)]
    pub(crate) fn outliers(&self, panel: usize) -> &'a [f32] {
        let width = self.matrix.panel_width;
        let panel = self.submatrix.first_panel() + panel;
        let outliers = self
            .matrix
            .outliers
            .as_ref()
            .map_or(&[][..], |outliers| outliers.panel(panel));
        &outliers[self.channels_before()[0] * width..]
    }
}

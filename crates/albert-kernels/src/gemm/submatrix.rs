//! A range of rows and columns of a packed matrix: the slicing that f32 and int8 views share.

use std::ops::Range;

/// A range of rows, and a range of columns that starts at a panel.
#[derive(Debug, Clone)]
pub(crate) struct Submatrix {
    pub(crate) rows: Range<usize>,
    columns: Range<usize>,
    panel_width: usize,
}

impl Submatrix {
    /// Returns the range of a whole matrix.
    pub(crate) fn whole([rows, columns]: [usize; 2], panel_width: usize) -> Self {
        Self {
            rows: 0..rows,
            columns: 0..columns,
            panel_width,
        }
    }

    /// Narrows the range to some rows.
    ///
    /// # Panics
    /// If the range exceeds it.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        Self {
            rows: within(&self.rows, rows),
            ..self
        }
    }

    /// Narrows the range to some columns.
    ///
    /// # Panics
    /// If the columns exceed it, or start within a panel.
    pub(crate) fn columns(self, columns: Range<usize>) -> Self {
        let columns = within(&self.columns, columns);
        assert!(
            columns.start.is_multiple_of(self.panel_width),
            "column {} is within a panel",
            columns.start
        );
        Self { columns, ..self }
    }

    /// Returns the number of rows.
    pub(crate) fn depth(&self) -> usize {
        self.rows.len()
    }

    /// Returns the number of columns.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// Returns the number of panels; the last may be partial.
    pub(crate) fn panel_count(&self) -> usize {
        self.columns.len().div_ceil(self.panel_width)
    }

    /// Returns the index of the first panel in the matrix.
    #[inline(always)]
    pub(crate) fn first_panel(&self) -> usize {
        self.columns.start / self.panel_width
    }
}

/// Translates a range relative to `whole` to absolute positions.
fn within(whole: &Range<usize>, part: Range<usize>) -> Range<usize> {
    assert!(
        part.start <= part.end && part.end <= whole.len(),
        "{part:?} of {whole:?}"
    );
    whole.start + part.start..whole.start + part.end
}

//! A part of a matrix that is packed in column panels.

use std::ops::Range;

/// Some rows and columns; the columns begin with a panel.
#[derive(Debug, Clone)]
pub(crate) struct Submatrix {
    pub(crate) rows: Range<usize>,
    columns: Range<usize>,
    panel_width: usize,
}

impl Submatrix {
    /// A whole matrix.
    pub(crate) fn whole([rows, columns]: [usize; 2], panel_width: usize) -> Self {
        Self {
            rows: 0..rows,
            columns: 0..columns,
            panel_width,
        }
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// If there are not as many.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        Self {
            rows: within(&self.rows, rows),
            ..self
        }
    }

    /// Some of its columns, from the start of a panel on.
    ///
    /// # Panics
    /// If there are not as many, or the first is within a panel.
    pub(crate) fn columns(self, columns: Range<usize>) -> Self {
        let columns = within(&self.columns, columns);
        assert!(
            columns.start.is_multiple_of(self.panel_width),
            "column {} is within a panel",
            columns.start
        );
        Self { columns, ..self }
    }

    /// How many rows.
    pub(crate) fn depth(&self) -> usize {
        self.rows.len()
    }

    /// How many columns.
    pub(crate) fn width(&self) -> usize {
        self.columns.len()
    }

    /// How many panels, the last of which may end within the matrix's.
    pub(crate) fn panel_count(&self) -> usize {
        self.columns.len().div_ceil(self.panel_width)
    }

    /// Which panel of the matrix is the first.
    #[inline(always)]
    pub(crate) fn first_panel(&self) -> usize {
        self.columns.start / self.panel_width
    }
}

/// A range within another, counted from the other's start.
fn within(whole: &Range<usize>, part: Range<usize>) -> Range<usize> {
    assert!(
        part.start <= part.end && part.end <= whole.len(),
        "{part:?} of {whole:?}"
    );
    whole.start + part.start..whole.start + part.end
}

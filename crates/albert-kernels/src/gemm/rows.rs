//! Strided rows of values, and their division into row tiles.

use std::ops::Range;

/// Strided rows of values, borrowed for reading.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

/// Strided rows of values, borrowed for writing.
#[derive(Debug)]
pub struct RowsMut<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    /// Creates `count` rows that begin `stride` values apart.
    ///
    /// # Panics
    /// If there are fewer values; the last row may be shorter.
    pub fn new(values: &'a [f32], count: usize, stride: usize) -> Self {
        assert!(fit(values, count, stride, 0), "{count} rows of {stride}");
        Self {
            values,
            count,
            stride,
        }
    }
}

impl<'a> RowsMut<'a> {
    /// Creates `count` rows that begin `stride` values apart.
    ///
    /// # Panics
    /// If there are fewer values; the last row may be shorter.
    pub fn new(values: &'a mut [f32], count: usize, stride: usize) -> Self {
        assert!(fit(values, count, stride, 0), "{count} rows of {stride}");
        Self {
            values,
            count,
            stride,
        }
    }
}

/// Returns true if `values` has `count` rows `stride` apart, the last of them `width` long. The
/// arithmetic is checked, because the kernels rely on the result.
pub(crate) fn fit(values: &[f32], count: usize, stride: usize, width: usize) -> bool {
    let Some(before_last) = count.checked_sub(1) else {
        return true;
    };
    let end = before_last
        .checked_mul(stride)
        .and_then(|start| start.checked_add(width));
    end.is_some_and(|end| end <= values.len())
}

/// Divides a range into `parts` ranges whose lengths differ by at most one.
#[inline(always)]
pub(crate) fn even(range: Range<usize>, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, len) = (range.start, range.len());
    (0..parts).map(move |part| start + len * part / parts..start + len * (part + 1) / parts)
}

/// The division of rows into row tiles, as even as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    rows: usize,
    pub(crate) count: usize,
}

impl RowTiles {
    /// Divides `rows` rows into tiles of at most `tile_rows`.
    pub(crate) fn new(rows: usize, tile_rows: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(tile_rows),
        }
    }

    /// Returns the rows of one tile.
    #[inline(always)]
    pub(crate) fn rows(self, row_tile: usize) -> Range<usize> {
        self.rows * row_tile / self.count..self.rows * (row_tile + 1) / self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "rows of")]
    fn rows_beyond_all_memory_are_refused() {
        // The product of the two is 2⁶⁴, which wraps to 0.
        let huge = 1 << (usize::BITS / 2);
        Rows::new(&[0.0], huge + 1, huge);
    }
}

//! Rows of values, and their division among threads and blocks.

use std::ops::Range;

/// Rows of values at a fixed distance.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

/// Rows of values at a fixed distance, to be written.
#[derive(Debug)]
pub struct RowsMut<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) count: usize,
    pub(crate) stride: usize,
}

impl<'a> Rows<'a> {
    /// `count` rows that begin `stride` values apart.
    ///
    /// # Panics
    /// If there are fewer values; the last row may be as short as it likes.
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
    /// `count` rows that begin `stride` values apart.
    ///
    /// # Panics
    /// If there are fewer values; the last row may be as short as it likes.
    pub fn new(values: &'a mut [f32], count: usize, stride: usize) -> Self {
        assert!(fit(values, count, stride, 0), "{count} rows of {stride}");
        Self {
            values,
            count,
            stride,
        }
    }
}

/// Whether there are `count` rows `stride` apart, the last of them `width` long. Nothing here may
/// wrap: the kernels trust the answer.
pub(crate) fn fit(values: &[f32], count: usize, stride: usize, width: usize) -> bool {
    let Some(before_last) = count.checked_sub(1) else {
        return true;
    };
    let end = before_last
        .checked_mul(stride)
        .and_then(|start| start.checked_add(width));
    end.is_some_and(|end| end <= values.len())
}

/// `parts` ranges that differ in length by one at most.
#[inline(always)]
pub(crate) fn even(range: Range<usize>, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, len) = (range.start, range.len());
    (0..parts).map(move |part| start + len * part / parts..start + len * (part + 1) / parts)
}

/// Rows in row_tiles that a tile takes at once, as even as can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowTiles {
    rows: usize,
    pub(crate) count: usize,
}

impl RowTiles {
    /// RowTiles of `tile_rows` rows at most.
    pub(crate) fn new(rows: usize, tile_rows: usize) -> Self {
        Self {
            rows,
            count: rows.div_ceil(tile_rows),
        }
    }

    /// The rows of one row_tile.
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

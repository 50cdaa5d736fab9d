//! Unchecked views of the rows that attention reads and writes.

use crate::attention::Heads;

/// Queries, keys and values of one sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Qkv {
    pub(super) heads: Heads,
    pub(super) tokens: usize,
    pub(super) first: *const f32,
}

impl Qkv {
    /// Returns the distance between tokens.
    pub(super) fn stride(self) -> usize {
        3 * self.heads.count * self.heads.size
    }

    /// Returns the values of one head in one token: `part` 0 is Q, 1 is K, 2 is V.
    ///
    /// # Safety
    /// `token` is one of the `tokens` rows, which are readable for as long as the result is used.
    #[inline(always)]
    pub(super) unsafe fn row<'a>(self, part: usize, head: usize, token: usize) -> &'a [f32] {
        let offset = token * self.stride() + (part * self.heads.count + head) * self.heads.size;
        // SAFETY: within the row, as the caller promises.
        unsafe { std::slice::from_raw_parts(self.first.add(offset), self.heads.size) }
    }
}

/// A strided view of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowsPtr {
    pub(super) first: *mut f32,
    pub(super) stride: usize,
}

//! Numbers that begin at a cache line.

use std::ops::{Deref, DerefMut};

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _numbers: [f32; 16],
}

const ZEROS: Line = Line { _numbers: [0.0; 16] };

/// A slice of f32 that starts at a multiple of 64 bytes, so that no vector of a packed panel lies
/// across two cache lines.
#[derive(Clone, Default)]
pub struct Aligned {
    lines: Vec<Line>,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self { lines: vec![ZEROS; len.div_ceil(16)], len }
    }

    /// Makes room for `len` numbers, whose values are whatever was there. Memory is only taken
    /// where it never was as large.
    pub fn resize(&mut self, len: usize) {
        if self.lines.len() < len.div_ceil(16) {
            // What was there is not worth a copy.
            self.lines = Vec::new();
            self.lines = vec![ZEROS; len.div_ceil(16)];
        }
        self.len = len;
    }
}

impl Deref for Aligned {
    type Target = [f32];

    #[inline]
    fn deref(&self) -> &[f32] {
        // SAFETY: lines are arrays of f32 without padding, and there are at least `len` numbers.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Aligned {
    #[inline]
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_a_cache_line_and_stay_where_memory_suffices() {
        let mut numbers = Aligned::zeros(100);
        assert_eq!((numbers.len(), numbers.as_ptr() as usize % 64), (100, 0));
        let before = numbers.as_ptr();
        numbers.resize(3);
        numbers.resize(112);
        assert_eq!((numbers.len(), numbers.as_ptr()), (112, before));
        numbers.resize(113);
        assert_eq!((numbers.len(), numbers.as_ptr() as usize % 64), (113, 0));
    }
}

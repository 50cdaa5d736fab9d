//! Slices that start at a cache line.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// Bytes in a cache line.
const LINE: usize = 64;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; LINE],
}

const ZEROS: Line = Line { _bytes: [0; LINE] };

/// A number type whose size divides that of a cache line.
///
/// # Safety
/// Every bit pattern is valid, and all zero bits are 0.
unsafe trait Number: Copy {}

// SAFETY: any four bytes are a number, zeros are 0.
unsafe impl Number for f32 {}
// SAFETY: as above.
unsafe impl Number for i32 {}
// SAFETY: any two bytes are a number.
unsafe impl Number for i16 {}
// SAFETY: any byte is a number.
unsafe impl Number for i8 {}
// SAFETY: any byte is a number.
unsafe impl Number for u8 {}

/// A slice of f32, i32, i16, i8 or u8 that starts at a multiple of 64 bytes, so that no vector of a
/// packed panel crosses a cache line.
#[derive(Clone)]
pub struct Aligned<T = f32> {
    lines: Vec<Line>,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Number> Default for Aligned<T> {
    /// Returns an empty slice.
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            len: 0,
            element: PhantomData,
        }
    }
}

#[expect(private_bounds, reason = "the documentation lists the types")]
impl<T: Number> Aligned<T> {
    const IN_A_LINE: usize = LINE / size_of::<T>();

    /// Creates a slice of `len` zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            lines: vec![ZEROS; len.div_ceil(Self::IN_A_LINE)],
            len,
            element: PhantomData,
        }
    }

    /// Sets the length to `len`; the values are unspecified. Allocates only beyond the largest
    /// length so far.
    pub fn resize(&mut self, len: usize) {
        let lines = len.div_ceil(Self::IN_A_LINE);
        if self.lines.len() < lines {
            // The old values need no copy. An allocation that fails leaves an empty slice.
            self.len = 0;
            self.lines = Vec::new();
            self.lines = vec![ZEROS; lines];
        }
        self.len = len;
    }
}

impl<T> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aligned({} values)", self.len)
    }
}

impl<T: Number> Deref for Aligned<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: lines are arrays of `Number`s, and there are at least `len`.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_start_at_a_cache_line_and_stay_where_memory_suffices() {
        let mut numbers = Aligned::<f32>::zeros(100);
        assert_eq!((numbers.len(), numbers.as_ptr() as usize % 64), (100, 0));
        let before = numbers.as_ptr();
        numbers.resize(3);
        numbers.resize(112);
        assert_eq!((numbers.len(), numbers.as_ptr()), (112, before));
        numbers.resize(113);
        assert_eq!((numbers.len(), numbers.as_ptr() as usize % 64), (113, 0));
        assert_eq!(
            Aligned::<i8>::zeros(65)
                .iter()
                .map(|x| i32::from(*x))
                .sum::<i32>(),
            0
        );
    }
}

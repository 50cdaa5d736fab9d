//! The innermost loops: a few rows times one panel, all sums in registers.

use crate::simd::{Kernel, MAX_LANES, Simd};

/// The most vectors that a panel is wide.
const MAX_VECTORS: usize = 3;

/// The most rows of a tile.
const MAX_ROWS: usize = 8;

/// The most numbers of a tile.
pub(crate) const MAX_TILE: usize = MAX_ROWS * MAX_VECTORS * MAX_LANES;

/// Steps over k between two prefetches.
const PREFETCH_STEPS: usize = 8;

/// Bytes in a cache line.
const LINE: usize = 64;

/// Bytes that will be read next, to be fetched from a farther cache meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ahead {
    /// Where they are; need not be valid.
    pub(crate) address: *const u8,
    /// How many.
    pub(crate) count: usize,
}

impl Ahead {
    /// Nothing.
    pub(crate) const NONE: Self = Self {
        address: std::ptr::null(),
        count: 0,
    };

    /// Calls `step` `steps` times, and asks for the bytes on the way.
    #[inline(always)]
    pub(crate) fn while_stepping<S: Simd>(self, s: S, steps: usize, mut step: impl FnMut()) {
        let chunks = steps.div_ceil(PREFETCH_STEPS).max(1);
        let lines = self.count.div_ceil(LINE).div_ceil(chunks);
        let (mut address, mut left) = (self.address, steps);
        while left > 0 {
            for _ in 0..lines {
                s.prefetch(address);
                address = address.wrapping_add(LINE);
            }
            let steps = left.min(PREFETCH_STEPS);
            left -= steps;
            for _ in 0..steps {
                step();
            }
        }
    }
}

/// Rows of C that a tile writes, in one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    /// [`Simd::TILE_ROWS`] at most.
    pub(crate) rows: usize,
    pub(crate) c: *mut f32,
    /// From a row of C to the next.
    pub(crate) c_stride: usize,
    /// A panel's width at most.
    pub(crate) columns: usize,
}

/// What is summed up for a [`Target`].
///
/// Every element of C is one sum in one order, however many rows there are: a row's result does not
/// depend on its neighbours.
pub(crate) trait Sums: Copy {
    /// Computes `ROWS` rows of `VECTORS` vectors at `c`.
    ///
    /// # Safety
    /// All that is summed up can be read; `c` has `ROWS` rows of `VECTORS` vectors that nothing
    /// else reads or writes.
    unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    );
}

/// A tile whose memory is there.
pub(crate) struct CheckedTile<T>(Target, T);

impl<T: Sums> CheckedTile<T> {
    /// # Safety
    /// Until it is computed, all that is summed up can be read, and `c` has `rows` rows of
    /// `columns` numbers that nothing else reads or writes.
    #[inline(always)]
    pub(crate) unsafe fn new(target: Target, sums: T) -> Self {
        Self(target, sums)
    }
}

impl<T: Sums> Kernel for CheckedTile<T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        macro_rules! sizes {
            ($($rows:literal)*) => {
                match (self.0.rows, self.0.columns.div_ceil(S::LANES)) {
                    $(
                        ($rows, 1) if S::TILE_ROWS >= $rows => self.sized::<S, $rows, 1>(s),
                        ($rows, 2) if S::TILE_ROWS >= $rows => self.sized::<S, $rows, 2>(s),
                        ($rows, 3) if S::TILE_ROWS >= $rows && S::PANEL_VECTORS >= 3 => {
                            self.sized::<S, $rows, 3>(s)
                        }
                    )*
                    (rows, vectors) => unreachable!("a tile of {rows} rows and {vectors} vectors"),
                }
            };
        }
        sizes!(1 2 3 4 5 6 7 8);
    }
}

impl<T: Sums> CheckedTile<T> {
    #[inline(always)]
    fn sized<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, s: S) {
        let Self(target, sums) = *self;
        if target.columns == VECTORS * S::LANES {
            // SAFETY: the tile was checked, and its vectors are whole.
            return unsafe { sums.write::<S, ROWS, VECTORS>(s, target.c, target.c_stride) };
        }
        // The matrix ends within a vector: its last columns are computed aside.
        const ASIDE: usize = MAX_VECTORS * MAX_LANES;
        let mut aside = [[0.0; ASIDE]; ROWS];
        let aside: *mut f32 = aside.as_mut_ptr().cast();
        // SAFETY: C has `ROWS` rows of `columns` numbers, and a row aside is as wide as any panel.
        unsafe {
            copy(
                target.c,
                target.c_stride,
                aside,
                ASIDE,
                ROWS,
                target.columns,
            );
            let columns = VECTORS * S::LANES;
            s.call(CheckedTile(
                Target {
                    c: aside,
                    c_stride: ASIDE,
                    columns,
                    ..target
                },
                sums,
            ));
            copy(
                aside,
                ASIDE,
                target.c,
                target.c_stride,
                ROWS,
                target.columns,
            );
        }
    }
}

/// `A B` or `C + A B` in f32, the sum over k in ascending order: `c = fma(a, b, c)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Products {
    pub(crate) depth: usize,
    pub(crate) a: *const f32,
    /// From a row of A to the next.
    pub(crate) a_stride: usize,
    /// `depth` short rows.
    pub(crate) panel: *const f32,
    /// From a short row to the next.
    pub(crate) panel_width: usize,
    /// Whether to add to what is in C.
    pub(crate) accumulate: bool,
    pub(crate) ahead: Ahead,
}

impl Sums for Products {
    #[inline(always)]
    unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    ) {
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        // SAFETY: all offsets are within the rows that the caller promises.
        unsafe {
            if self.accumulate {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = s.load_from(c.add(row * c_stride + v * S::LANES));
                    }
                }
            }
            let (mut a, mut panel) = (self.a, self.panel);
            self.ahead.while_stepping(
                s,
                self.depth,
                #[inline(always)]
                || {
                    let mut b = [s.splat(0.0); VECTORS];
                    for (v, b) in b.iter_mut().enumerate() {
                        *b = s.load_from(panel.add(v * S::LANES));
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let a = s.splat(*a.add(row * self.a_stride));
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = s.mul_add(a, *b, *sum);
                        }
                    }
                    a = a.add(1);
                    panel = panel.add(self.panel_width);
                },
            );
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store_to(c.add(row * c_stride + v * S::LANES), *sum);
                }
            }
        }
    }
}

/// Copies rows from one place to another.
///
/// # Safety
/// Both have `rows` rows of `columns` numbers, and do not overlap.
unsafe fn copy(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    rows: usize,
    columns: usize,
) {
    for row in 0..rows {
        // SAFETY: the caller's promise.
        unsafe {
            std::ptr::copy_nonoverlapping(
                from.add(row * from_stride),
                to.add(row * to_stride),
                columns,
            )
        }
    }
}

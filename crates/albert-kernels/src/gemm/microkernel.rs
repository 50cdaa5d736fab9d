//! The micro-kernel: multiplies a row tile of A by a panel of B, with all sums in registers.

use crate::simd::{Kernel, MAX_LANES, Simd};

/// The maximum number of vectors in the width of a panel.
const MAX_VECTORS: usize = 3;

/// Steps over k between two prefetches of an f32 product.
const PREFETCH_STEPS: usize = 8;

/// Bytes in a cache line.
const LINE: usize = 64;

/// The bytes that a later tile reads, to be fetched from an outer cache in the meantime.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefetch {
    /// The start, which need not be valid memory.
    pub(crate) address: *const u8,
    pub(crate) bytes: usize,
}

impl Prefetch {
    /// Fetches nothing.
    pub(crate) const NONE: Self = Self {
        address: std::ptr::null(),
        bytes: 0,
    };

    /// Calls `step` `steps` times, with the prefetches spread between groups of `group` calls.
    #[inline(always)]
    pub(crate) fn interleave<S: Simd>(
        self,
        s: S,
        steps: usize,
        group: usize,
        mut step: impl FnMut(),
    ) {
        let chunks = steps.div_ceil(group).max(1);
        let lines = self.bytes.div_ceil(LINE).div_ceil(chunks);
        let (mut address, mut left) = (self.address, steps);
        while left > 0 {
            for _ in 0..lines {
                s.prefetch(address);
                address = address.wrapping_add(LINE);
            }
            let steps = left.min(group);
            left -= steps;
            for _ in 0..steps {
                step();
            }
        }
    }
}

/// A tile of C: at most [`Simd::TILE_ROWS`] rows of one panel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tile {
    pub(crate) rows: usize,
    pub(crate) c: *mut f32,
    /// The distance between rows of C.
    pub(crate) c_stride: usize,
    /// At most the width of a panel.
    pub(crate) columns: usize,
}

/// The product of a row tile of A and a panel of B over one depth block.
///
/// Each element of C is a sum in a fixed order, independent of the number of rows: the result of a
/// row does not depend on its neighbors.
pub(crate) trait TileProduct: Copy {
    /// Computes `ROWS` rows of `VECTORS` vectors at `c`.
    ///
    /// # Safety
    /// The inputs of the product can be read; `c` has `ROWS` rows of `VECTORS` vectors that nothing
    /// else reads or writes.
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    );
}

/// Computes one tile, with code specialized for its number of rows and vectors.
pub(crate) struct Microkernel<P>(Tile, P);

impl<P: TileProduct> Microkernel<P> {
    /// # Safety
    /// Until it has run, the inputs of the product can be read, and `tile.c` has `rows` rows of
    /// `columns` values that nothing else reads or writes.
    #[inline(always)]
    pub(crate) unsafe fn new(tile: Tile, product: P) -> Self {
        Self(tile, product)
    }
}

impl<P: TileProduct> Kernel for Microkernel<P> {
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

impl<P: TileProduct> Microkernel<P> {
    #[inline(always)]
    fn sized<S: Simd, const ROWS: usize, const VECTORS: usize>(&self, s: S) {
        let Self(tile, product) = *self;
        if tile.columns == VECTORS * S::LANES {
            // SAFETY: the caller of `new` has promised it, and the vectors are whole.
            return unsafe { product.compute::<S, ROWS, VECTORS>(s, tile.c, tile.c_stride) };
        }
        // The matrix ends within a vector: the tile is computed in a buffer and copied.
        const STRIDE: usize = MAX_VECTORS * MAX_LANES;
        let mut buffer = [[0.0; STRIDE]; ROWS];
        let buffer: *mut f32 = buffer.as_mut_ptr().cast();
        let columns = tile.columns;
        // SAFETY: C has `ROWS` rows of `columns` values, and the buffer is as wide as any panel.
        unsafe {
            copy(tile.c, tile.c_stride, buffer, STRIDE, [ROWS, columns]);
            let whole = Tile {
                c: buffer,
                c_stride: STRIDE,
                columns: VECTORS * S::LANES,
                ..tile
            };
            s.call(Self(whole, product));
            copy(buffer, STRIDE, tile.c, tile.c_stride, [ROWS, columns]);
        }
    }
}

/// `A B` or `C + A B` in f32, the sum over k in ascending order: `c = fma(a, b, c)`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F32Product {
    /// KC
    pub(crate) depth: usize,
    pub(crate) a: *const f32,
    /// The distance between rows of A.
    pub(crate) a_stride: usize,
    /// `depth` rows of a panel.
    pub(crate) panel: *const f32,
    /// The distance between rows of the panel.
    pub(crate) panel_width: usize,
    /// True to add to the values in C.
    pub(crate) accumulate: bool,
    pub(crate) prefetch: Prefetch,
}

impl TileProduct for F32Product {
    #[inline(always)]
    unsafe fn compute<S: Simd, const ROWS: usize, const VECTORS: usize>(
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
            self.prefetch.interleave(
                s,
                self.depth,
                PREFETCH_STEPS,
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

/// Copies rows.
///
/// # Safety
/// Source and destination have `rows` rows of `columns` values and do not overlap.
unsafe fn copy(
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    [rows, columns]: [usize; 2],
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

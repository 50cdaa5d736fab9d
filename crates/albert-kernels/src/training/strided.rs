//! The small products of attention. A has any two strides, so it may be a part of a wider matrix,
//! or transposed.

use crate::gemm::PackedMatrix;
use crate::gemm::{Microkernel, Tile, TileProduct};
use crate::gemm::{RowTiles, RowsMut, fit};
use crate::simd::{Kernel, Simd};

/// A matrix `(rows, K)`: the element at row r and step k is `values[r * row + k * step]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strided<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    /// The distance between rows.
    pub(super) row: usize,
    /// The distance between columns.
    pub(super) step: usize,
}

impl<'a> Strided<'a> {
    /// Creates a view of rows, not transposed.
    pub(super) fn new(values: &'a [f32], rows: usize, stride: usize) -> Self {
        Self {
            values,
            rows,
            row: stride,
            step: 1,
        }
    }

    /// Creates a view of the transpose of rows of at least `columns` values, `stride` apart.
    pub(super) fn transposed(values: &'a [f32], columns: usize, stride: usize) -> Self {
        Self {
            values,
            rows: columns,
            row: 1,
            step: stride,
        }
    }
}

/// The effect of a product on C: it replaces C or is added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Replace,
    Add,
}

/// Computes `C = A B` or `C += A B`, with every sum in ascending order of k.
///
/// # Panics
/// If the shapes do not match.
pub(super) fn strided_product(a: Strided<'_>, b: &PackedMatrix, c: RowsMut<'_>, into: Into) {
    assert!(a.rows == c.count, "{} rows, found {}", a.rows, c.count);
    if a.rows == 0 || b.columns == 0 {
        return;
    }
    let last = (a.rows - 1) * a.row + b.depth.saturating_sub(1) * a.step;
    assert!(
        b.depth == 0 || last < a.values.len(),
        "{} rows of {} factors",
        a.rows,
        b.depth
    );
    assert!(
        c.stride >= b.columns && fit(c.values, c.count, c.stride, b.columns),
        "{} rows of {} sums",
        c.count,
        b.columns
    );
    b.instructions.run(Tiles { a, b, c, into });
}

struct Tiles<'a> {
    a: Strided<'a>,
    b: &'a PackedMatrix,
    c: RowsMut<'a>,
    into: Into,
}

impl Kernel for Tiles<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = S::PANEL_VECTORS * S::LANES;
        let strips = RowTiles::new(self.a.rows, S::TILE_ROWS);
        let (c, c_stride) = (self.c.values.as_mut_ptr(), self.c.stride);
        for panel in 0..self.b.columns.div_ceil(width) {
            for strip in 0..strips.count {
                let rows = strips.rows(strip);
                // SAFETY: `strided_product` has checked that A and C have these rows.
                unsafe {
                    let target = Tile {
                        rows: rows.len(),
                        c: c.add(rows.start * c_stride + panel * width),
                        c_stride,
                        columns: width.min(self.b.columns - panel * width),
                    };
                    let sums = StridedProducts {
                        depth: self.b.depth,
                        a: self.a.values.as_ptr().wrapping_add(rows.start * self.a.row),
                        a_row: self.a.row,
                        a_step: self.a.step,
                        panel: self.b.panel(panel).as_ptr(),
                        panel_width: width,
                        into: self.into,
                    };
                    s.call(Microkernel::new(target, sums));
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct StridedProducts {
    depth: usize,
    a: *const f32,
    a_row: usize,
    a_step: usize,
    panel: *const f32,
    panel_width: usize,
    into: Into,
}

impl TileProduct for StridedProducts {
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
            if self.into == Into::Add {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = s.load_from(c.add(row * c_stride + v * S::LANES));
                    }
                }
            }
            let (mut a, mut panel) = (self.a, self.panel);
            for _ in 0..self.depth {
                let mut b = [s.splat(0.0); VECTORS];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = s.load_from(panel.add(v * S::LANES));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = s.splat(*a.add(row * self.a_row));
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = s.mul_add(a, *b, *sum);
                    }
                }
                a = a.wrapping_add(self.a_step);
                panel = panel.add(self.panel_width);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store_to(c.add(row * c_stride + v * S::LANES), *sum);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Rows;
    use crate::instruction_set::InstructionSet;
    use crate::random::numbers;

    /// Relative to √K, the typical size of a sum of K products of values from -1 to 1.
    const TOLERANCE: f64 = 2e-6;

    #[test]
    fn both_orders_of_a_and_both_uses_of_c_give_the_sums_of_products() {
        for instructions in InstructionSet::available() {
            for (m, k, n) in [
                (1, 1, 1),
                (5, 3, 50),
                (17, 129, 33),
                (128, 64, 96),
                (3, 0, 4),
            ] {
                let (a, b, before) = (
                    numbers(m * k, 1),
                    numbers(k * n, 2),
                    numbers(m * (n + 3), 3),
                );
                let transposed: Vec<f32> = (0..m * k).map(|i| a[(i % m) * k + i / m]).collect();
                let mut packed = PackedMatrix::empty(instructions);
                packed.refill(Rows::new(&b, k, n), n);
                for left in [
                    Strided::new(&a, m, k),
                    Strided::transposed(&transposed, m, m),
                ] {
                    for into in [Into::Replace, Into::Add] {
                        let mut c = before.clone();
                        strided_product(left, &packed, RowsMut::new(&mut c, m, n + 3), into);
                        for (i, (c, before)) in c.iter().zip(&before).enumerate() {
                            let (row, column) = (i / (n + 3), i % (n + 3));
                            if column >= n {
                                assert_eq!(c, before, "a value next to the product changed");
                                continue;
                            }
                            let sum: f64 = (0..k)
                                .map(|j| f64::from(a[row * k + j]) * f64::from(b[j * n + column]))
                                .sum();
                            let added = if into == Into::Add {
                                f64::from(*before)
                            } else {
                                0.0
                            };
                            let error = (sum + added - f64::from(*c)).abs();
                            assert!(
                                error <= TOLERANCE * (k.max(1) as f64).sqrt(),
                                "{error:.1e} in {m}×{k}×{n} on {instructions}"
                            );
                        }
                    }
                }
            }
        }
    }
}

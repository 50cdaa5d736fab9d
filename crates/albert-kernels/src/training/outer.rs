//! The product that computes the gradient of a weight: `dW += dYᵀ X`.

use crate::aligned::Aligned;
use crate::gemm::PackedMatrix;
use crate::gemm::{Microkernel, Tile, TileProduct};
use crate::gemm::{RowTiles, Rows, even, fit};
use crate::simd::{Kernel, Simd};

/// MC, the rows of C in a block: their strips of A stay in L2 while all panels of B pass.
const BLOCK_ROWS: usize = 192;

/// KC, the rows of A and B in a block: a panel of B is at most 72 KiB.
const BLOCK_DEPTH: usize = 384;

/// The memory for A in strips (packed row panels), reused between calls.
#[derive(Debug, Default)]
pub struct OuterScratch(Aligned);

/// Computes `C += Aᵀ B`.
///
/// To every element of C a sum over M in ascending order is added, in blocks of a fixed size: equal
/// input gives equal bits.
///
/// # Shapes
/// - `a`: `(M, N)`, N is `columns`
/// - `b`: `(M, K)`
/// - `c`: `(N, K)`
///
/// # Panics
/// If the shapes do not match.
pub fn outer_product(
    a: Rows<'_>,
    columns: usize,
    b: &PackedMatrix,
    c: &mut [f32],
    scratch: &mut OuterScratch,
) {
    assert!(
        a.count == b.depth && fit(a.values, a.count, a.stride, columns),
        "{} rows of {columns} values, found {}",
        b.depth,
        a.count
    );
    assert!(
        c.len() == columns * b.columns,
        "{columns} × {} sums, found {}",
        b.columns,
        c.len()
    );
    scratch.0.resize(a.count * columns);
    b.instructions.run(Blocks {
        a,
        columns,
        b,
        c,
        strips: &mut scratch.0,
    });
}

struct Blocks<'a> {
    a: Rows<'a>,
    columns: usize,
    b: &'a PackedMatrix,
    c: &'a mut [f32],
    /// The strips of A one after another, each `(M, rows)`.
    strips: &'a mut [f32],
}

impl Blocks<'_> {
    #[inline(always)]
    fn pack<S: Simd>(&mut self, strips: RowTiles) {
        /// The number of rows of A that are read while their lines stay in L1.
        const TOGETHER: usize = 16;
        let depth = self.a.count;
        for start in (0..depth).step_by(TOGETHER) {
            let together = start..(start + TOGETHER).min(depth);
            for strip in 0..strips.count {
                let rows = strips.rows(strip);
                let width = rows.len();
                let to = &mut self.strips[rows.start * depth + start * width..];
                let lines = to.chunks_exact_mut(width).zip(together.clone());
                // A copy of constant length is a few instructions; any other is a function call.
                match width {
                    8 => lines.for_each(|(to, d)| {
                        let from = &self.a.values[d * self.a.stride + rows.start..][..8];
                        to.copy_from_slice(from);
                    }),
                    6 => lines.for_each(|(to, d)| {
                        let from = &self.a.values[d * self.a.stride + rows.start..][..6];
                        to.copy_from_slice(from);
                    }),
                    _ => lines.for_each(|(to, d)| {
                        let from = &self.a.values[d * self.a.stride + rows.start..][..width];
                        to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
                    }),
                }
            }
        }
    }
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) {
        let width = S::PANEL_VECTORS * S::LANES;
        let (depth, n, k) = (self.b.depth, self.columns, self.b.columns);
        let strips = RowTiles::new(n, S::TILE_ROWS);
        self.pack::<S>(strips);
        let row_blocks = strips.count.div_ceil(BLOCK_ROWS / S::TILE_ROWS).max(1);
        let depth_blocks = depth.div_ceil(BLOCK_DEPTH);
        let c = self.c.as_mut_ptr();
        for depths in even(0..depth, depth_blocks) {
            for block in even(0..strips.count, row_blocks) {
                for panel in 0..k.div_ceil(width) {
                    let short_rows = &self.b.panel(panel)[depths.start * width..];
                    for strip in block.clone() {
                        let rows = strips.rows(strip);
                        let from = rows.start * depth + depths.start * rows.len();
                        let a = &self.strips[from..][..depths.len() * rows.len()];
                        // SAFETY: C has the strip's rows from this panel's first column on, `a` and
                        // `short_rows` hold all depths, and C is borrowed exclusively.
                        unsafe {
                            let c = c.add(rows.start * k + panel * width);
                            let target = Tile {
                                rows: rows.len(),
                                c,
                                c_stride: k,
                                columns: width.min(k - panel * width),
                            };
                            let sums = StripProducts {
                                depth: depths.len(),
                                a: a.as_ptr(),
                                panel: short_rows.as_ptr(),
                                panel_width: width,
                                next: c.wrapping_add(rows.len() * k),
                            };
                            s.call(Microkernel::new(target, sums));
                        }
                    }
                }
            }
        }
    }
}

/// Computes `C + A B` for a strip of A, `(depth, ROWS)`: the products are summed first and then
/// added to C, which is fetched from an outer cache in the meantime.
#[derive(Clone, Copy)]
struct StripProducts {
    depth: usize,
    a: *const f32,
    panel: *const f32,
    panel_width: usize,
    /// The C of the next strip, to be prefetched; need not be valid.
    next: *const f32,
}

impl TileProduct for StripProducts {
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
            let (mut a, mut panel) = (self.a, self.panel);
            for row in 0..ROWS {
                s.prefetch(self.next.wrapping_add(row * c_stride).cast());
            }
            for _ in 0..self.depth {
                let mut b = [s.splat(0.0); VECTORS];
                for (v, b) in b.iter_mut().enumerate() {
                    *b = s.load_from(panel.add(v * S::LANES));
                }
                for (row, sums) in sums.iter_mut().enumerate() {
                    let a = s.splat(*a.add(row));
                    for (sum, b) in sums.iter_mut().zip(&b) {
                        *sum = s.mul_add(a, *b, *sum);
                    }
                }
                a = a.add(ROWS);
                panel = panel.add(self.panel_width);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    let c = c.add(row * c_stride + v * S::LANES);
                    s.store_to(c, s.add(s.load_from(c), *sum));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction_set::InstructionSet;
    use crate::random::numbers;

    /// Relative to √M, the typical size of a sum of M products of values from -1 to 1.
    const TOLERANCE: f64 = 2e-6;

    fn run(instructions: InstructionSet, a: &[f32], n: usize, b: &[f32], k: usize, c: &mut [f32]) {
        let mut packed = PackedMatrix::empty(instructions);
        packed.refill(Rows::new(b, a.len() / n, k), k);
        let rows = Rows::new(a, a.len() / n, n);
        outer_product(rows, n, &packed, c, &mut OuterScratch::default());
    }

    #[test]
    fn every_element_gains_the_sum_of_its_products() {
        for instructions in InstructionSet::available() {
            for (m, n, k) in [
                (1, 1, 1),
                (7, 3, 50),
                (300, 17, 33),
                (64, 40, 96),
                (20, 300, 13),
                (1000, 9, 47),
                (0, 5, 5),
            ] {
                let (a, b, before) = (numbers(m * n, 1), numbers(m * k, 2), numbers(n * k, 3));
                let mut c = before.clone();
                run(instructions, &a, n, &b, k, &mut c);
                for (i, c) in c.iter().enumerate() {
                    let products = (0..m)
                        .map(|row| f64::from(a[row * n + i / k]) * f64::from(b[row * k + i % k]));
                    let sum: f64 = f64::from(before[i]) + products.sum::<f64>();
                    let error = (sum - f64::from(*c)).abs();
                    assert!(
                        error <= TOLERANCE * (m.max(1) as f64).sqrt(),
                        "{error:.1e} in {m}×{n}×{k} on {instructions}"
                    );
                }
            }
        }
    }

    /// The gradient of a part of a weight equals that part of the whole gradient: no sum depends on
    /// its neighbors.
    #[test]
    fn parts_of_the_rows_of_c_have_the_bits_of_the_whole() {
        for instructions in InstructionSet::available() {
            let (m, n, k) = (270, 60, 100);
            let (a, b) = (numbers(m * n, 1), numbers(m * k, 2));
            let mut whole = vec![0.0; n * k];
            run(instructions, &a, n, &b, k, &mut whole);
            for columns in [0..1, 5..12, 30..60] {
                let part: Vec<f32> = a
                    .chunks(n)
                    .flat_map(|row| row[columns.clone()].to_vec())
                    .collect();
                let mut c = vec![0.0; columns.len() * k];
                run(instructions, &part, columns.len(), &b, k, &mut c);
                assert!(
                    c == whole[columns.start * k..columns.end * k],
                    "{columns:?} on {instructions}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "3 × 2 sums")]
    fn a_gradient_of_another_size_is_refused() {
        run(
            InstructionSet::available()[0],
            &[0.0; 6],
            3,
            &[0.0; 4],
            2,
            &mut [0.0; 5],
        );
    }
}

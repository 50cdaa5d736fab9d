//! Products of 8-bit activations with 8-bit weights.

use std::mem::MaybeUninit;
use std::sync::atomic::{Ordering, compiler_fence};

use crate::grid::{Factors, Part, Then, Threads, multiply};
use crate::level::Level;
use crate::quantized::{GROUP, QuantizedRows, QuantizedView, STEP};
use crate::rectangle::Rectangle;
use crate::rows::RowsMut;
use crate::simd::{Kernel, Simd};
use crate::tile::{Ahead, CheckedTile, MAX_TILE, Sums, Target};

/// `C = A B`, then what [`Then`] says, as [the module](crate::quantized) defines it.
///
/// # Shapes
/// - `a`: `(M, K)`, `b`: `(K, N)`, `c`: `(M, N)`
///
/// # Panics
/// If the shapes do not fit, or A was rounded for a matrix with other outliers.
pub fn quantized_product(
    a: &QuantizedRows,
    b: &QuantizedView<'_>,
    c: RowsMut<'_>,
    then: Then<'_>,
    threads: Threads,
) {
    let (rows, depth) = (a.rows(), b.part().depth());
    assert!(
        c.count == rows && a.depth() == depth,
        "{rows} rows of {depth} factors"
    );
    assert!(
        b.channels().eq(a.channels().iter().copied()),
        "rows that were rounded for other outliers"
    );
    // SAFETY: A has as many rows.
    unsafe { multiply(b.level(), Bytes { a, b }, c, then, threads) }
}

/// A and B in 8 bits.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    a: &'a QuantizedRows,
    b: &'a QuantizedView<'a>,
}

impl Factors for Bytes<'_> {
    fn part(&self) -> &Rectangle {
        self.b.part()
    }

    /// Groups follow each other while C is near.
    fn depth_blocks(&self) -> usize {
        1
    }

    #[inline(always)]
    fn address(&self, panel: usize, depth: usize) -> *const u8 {
        self.b.quads(panel, depth).as_ptr().cast()
    }

    #[inline(always)]
    fn run<K: Kernel>(level: Level, kernel: K) -> K::Output {
        level.run_on_bytes(kernel)
    }

    #[inline(always)]
    unsafe fn sum_up<S: Simd>(&self, s: S, part: Part, target: Target) {
        let mut totals = MaybeUninit::<Totals>::uninit();
        let sums = QuantizedSums {
            depth: part.depths.len(),
            a: self.a.bytes(part.strip).as_ptr(),
            row_scales: self.a.scales(part.strip).as_ptr(),
            outliers: self.a.outliers(part.strip).as_ptr(),
            outlier_count: self.a.channels().len(),
            panel: self.b.quads(part.panel, 0).as_ptr(),
            column_scales: self.b.scales(part.panel).as_ptr(),
            column_offsets: self.b.offsets(part.panel).as_ptr(),
            groups_stride: self.b.groups_stride(),
            outlier_panel: self.b.outliers(part.panel).as_ptr(),
            accumulate: part.accumulate,
            totals: totals.as_mut_ptr().cast(),
            ahead: part.ahead,
        };
        // SAFETY: A has these rows and B this panel; C is the caller's promise; there is a total
        // for every element of a tile.
        unsafe { s.call(CheckedTile::new(target, sums)) }
    }
}

/// Sums of one tile while they are added up.
#[repr(C, align(64))]
struct Totals([f32; MAX_TILE]);

/// `Σ_o x_o w_o`, then `Σ_g s_mg s_gn Σ_k q r` group by group.
///
/// A's numbers are those of a strip, as [`QuantizedRows`] has them.
#[derive(Debug, Clone, Copy)]
struct QuantizedSums {
    depth: usize,
    a: *const u8,
    row_scales: *const f32,
    outliers: *const f32,
    /// Of a row.
    outlier_count: usize,
    /// Four short rows, as wide as a panel, at a time.
    panel: *const i8,
    /// For each group, a scale for each column.
    column_scales: *const f32,
    /// What a sum begins with.
    column_offsets: *const i32,
    /// From the scales of a group to those of the next.
    groups_stride: usize,
    /// Short rows, as many as a row of A has outliers.
    outlier_panel: *const f32,
    /// Whether to add to what is in C.
    accumulate: bool,
    totals: *mut f32,
    ahead: Ahead,
}

impl QuantizedSums {
    /// The outliers' sums, with what is in C where they are added to it.
    ///
    /// # Safety
    /// As [`Sums::write`].
    #[inline(always)]
    unsafe fn outlying<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *const f32,
        c_stride: usize,
    ) -> [[S::V; VECTORS]; ROWS] {
        let mut sums = [[s.splat(0.0); VECTORS]; ROWS];
        // SAFETY: all offsets are within the strip and the panel that the caller promises.
        unsafe {
            if self.accumulate {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = s.load_from(c.add(row * c_stride + v * S::LANES));
                    }
                }
            }
            let (mut a, mut panel) = (self.outliers, self.outlier_panel);
            for _ in 0..self.outlier_count {
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
                a = a.add(S::TILE_ROWS);
                panel = panel.add(S::PANEL_VECTORS * S::LANES);
            }
        }
        sums
    }
}

impl Sums for QuantizedSums {
    #[inline(always)]
    unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    ) {
        let width = S::PANEL_VECTORS * S::LANES;
        let groups = self.depth.div_ceil(GROUP);
        let part = self.ahead.count.div_ceil(groups);
        let total = |row: usize, v: usize| self.totals.wrapping_add((row * VECTORS + v) * S::LANES);
        // SAFETY: all offsets are within the strip and the panels that the caller promises.
        unsafe {
            let sums = self.outlying::<S, ROWS, VECTORS>(s, c, c_stride);
            for (row, sums) in sums.iter().enumerate() {
                for (v, sum) in sums.iter().enumerate() {
                    s.store_to(total(row, v), *sum);
                }
            }
            let (mut a, mut panel) = (self.a, self.panel);
            let (mut row_scales, mut column_scales) = (self.row_scales, self.column_scales);
            let mut column_offsets = self.column_offsets;
            for group in 0..groups {
                let depth = GROUP.min(self.depth - group * GROUP);
                let ahead = Ahead {
                    address: self.ahead.address.wrapping_add(group * part),
                    count: part,
                };
                let mut offsets = [s.splat_quad([0; 4]); VECTORS];
                for (v, offset) in offsets.iter_mut().enumerate() {
                    *offset = s.load_quads_from(column_offsets.add(v * S::LANES).cast());
                }
                let mut sums = [offsets; ROWS];
                ahead.while_stepping(s, depth.div_ceil(STEP), || {
                    for quad in 0..STEP / 4 {
                        let mut b = [s.splat_quad([0; 4]); VECTORS];
                        for (v, b) in b.iter_mut().enumerate() {
                            *b = s.load_quads_from(panel.add(4 * (quad * width + v * S::LANES)));
                        }
                        for (row, sums) in sums.iter_mut().enumerate() {
                            let a =
                                s.splat_quad(a.add(row * STEP + 4 * quad).cast::<[u8; 4]>().read());
                            for (sum, b) in sums.iter_mut().zip(&b) {
                                *sum = s.dot(*sum, a, *b);
                            }
                        }
                    }
                    a = a.add(STEP * S::TILE_ROWS);
                    panel = panel.add(STEP * width);
                });
                // Totals stay in memory: registers are full of the integers' sums.
                compiler_fence(Ordering::SeqCst);
                let is_last = group + 1 == groups;
                let (to, to_stride) = if is_last {
                    (c, c_stride)
                } else {
                    (self.totals, VECTORS * S::LANES)
                };
                for v in 0..VECTORS {
                    let column_scale = s.load_from(column_scales.add(v * S::LANES));
                    for (row, sums) in sums.iter().enumerate() {
                        let scale = s.mul(column_scale, s.splat(*row_scales.add(row)));
                        // An integer below 2²⁴: exact.
                        let sum = s.mul_add(s.to_f32(sums[v]), scale, s.load_from(total(row, v)));
                        s.store_to(to.add(row * to_stride + v * S::LANES), sum);
                    }
                }
                row_scales = row_scales.add(S::TILE_ROWS);
                column_scales = column_scales.add(self.groups_stride);
                column_offsets = column_offsets.add(self.groups_stride);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::quantized::{QuantizedMatrix, QuantizedPart, quantize_weights, rotate_weights};
    use crate::random::numbers;
    use crate::rows::Rows;

    /// Of f32 sums of four terms at most, which are exact before they are scaled; relative to the
    /// result's largest number. Seen: 5.0e-7.
    const ROUNDING: f64 = 1e-6;

    fn pack(level: Level, depth: usize, weights: &[f32], channels: &[usize]) -> QuantizedMatrix {
        let outliers: Vec<f32> = weights
            .chunks(depth)
            .flat_map(|row| channels.iter().map(|&c| row[c]))
            .collect();
        let mut weights = weights.to_vec();
        weights
            .chunks_mut(depth)
            .for_each(|row| channels.iter().for_each(|&channel| row[channel] = 0.0));
        rotate_weights(&mut weights, depth);
        let (rounded, scales) = quantize_weights(&weights, depth);
        let part = QuantizedPart {
            rounded: &rounded,
            scales: &scales,
            outliers: &outliers,
        };
        QuantizedMatrix::from_transposed(level, depth, &[part], channels, true)
    }

    fn run(
        a: &[f32],
        matrix: &QuantizedMatrix,
        rows: usize,
        then: Then<'_>,
        threads: Threads,
    ) -> Vec<f32> {
        let (mut quantized, depth) = (QuantizedRows::default(), matrix.depth());
        quantized.quantize(Rows::new(a, rows, depth), &matrix.view(), threads);
        let mut c = vec![f32::NAN; rows * matrix.columns()];
        let target = RowsMut::new(&mut c, rows, matrix.columns());
        quantized_product(&quantized, &matrix.view(), target, then, threads);
        c
    }

    /// What the numbers stand for, multiplied in f64.
    fn exact(a: &[f32], matrix: &QuantizedMatrix) -> Vec<f64> {
        let depth = matrix.depth();
        let weights = matrix.to_transposed();
        let mut quantized = QuantizedRows::default();
        quantized.quantize(
            Rows::new(a, a.len() / depth, depth),
            &matrix.view(),
            Threads::One,
        );
        let mut products = Vec::new();
        for row in 0..a.len() / depth {
            let mut xs: Vec<f32> = (0..depth)
                .map(|k| {
                    let (scale, q) = quantized.get(row, k);
                    scale * q as f32
                })
                .collect();
            // Weights are as they were before they were rotated, and so must these be.
            rotate_weights(&mut xs, depth);
            let mut xs: Vec<f64> = xs.into_iter().map(f64::from).collect();
            matrix
                .view()
                .channels()
                .for_each(|k| xs[k] = f64::from(a[row * depth + k]));
            let dot = |weights: &[f32]| {
                xs.iter()
                    .zip(weights)
                    .map(|(x, w)| x * f64::from(*w))
                    .sum::<f64>()
            };
            products.extend(weights.chunks(depth).map(dot));
        }
        products
    }

    #[test]
    fn every_element_is_the_sum_of_what_the_integers_stand_for() {
        for level in Level::available() {
            for (m, k, n, channels) in [
                (1, 1, 1, vec![]),
                (3, 7, 50, vec![2]),
                (17, 300, 33, vec![0, 256, 299]),
                (40, 64, 96, vec![]),
                (9, 1000, 47, vec![1, 2, 3, 4, 5, 6, 7]),
            ] {
                let (mut a, weights, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                for row in a.chunks_mut(k) {
                    channels
                        .iter()
                        .for_each(|&channel: &usize| row[channel] *= 100.0);
                }
                let matrix = pack(level, k, &weights, &channels);
                let c = run(
                    &a,
                    &matrix,
                    m,
                    Then::Activate(&bias, Activation::Relu),
                    Threads::One,
                );
                let exact = exact(&a, &matrix);
                let scale = exact.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
                for (i, (exact, c)) in exact.iter().zip(&c).enumerate() {
                    let error =
                        ((exact + f64::from(bias[i % n])).max(0.0) - f64::from(*c)).abs() / scale;
                    assert!(error <= ROUNDING, "{error:.1e} in {m}×{k}×{n} on {level}");
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads() {
        for level in Level::available() {
            let (m, k, n) = (270, 520, 200);
            let (a, weights, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let matrix = pack(level, k, &weights, &[5, 300]);
            let then = Then::Activate(&bias, Activation::GeluTanh);
            let whole = run(&a, &matrix, m, then, Threads::One);
            for rows in [0..1, 5..6, 7..20, 269..270, 100..257] {
                let alone = run(
                    &a[rows.start * k..rows.end * k],
                    &matrix,
                    rows.len(),
                    then,
                    Threads::One,
                );
                assert_eq!(
                    alone,
                    whole[rows.start * n..rows.end * n],
                    "{rows:?} on {level}"
                );
            }
            for threads in [1, 2, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .build()
                    .unwrap();
                let split = pool.install(|| run(&a, &matrix, m, then, Threads::All));
                assert!(split == whole, "{threads} threads on {level}");
            }
        }
    }

    #[test]
    fn instructions_of_one_kind_of_rounding_give_the_same_bits() {
        let (m, k, n) = (20, 520, 100);
        let (a, weights) = (numbers(m * k, 1), numbers(n * k, 2));
        let levels = Level::available()
            .into_iter()
            .filter(|level| level.to_string() != "portable");
        let results: Vec<_> = levels
            .map(|level| {
                run(
                    &a,
                    &pack(level, k, &weights, &[9]),
                    m,
                    Then::Nothing,
                    Threads::One,
                )
            })
            .collect();
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn parts_of_a_product_make_the_whole() {
        for level in Level::available() {
            let (m, k, n) = (10, 600, 150);
            let (a, weights) = (numbers(m * k, 1), numbers(n * k, 2));
            let matrix = pack(level, k, &weights, &[3, 250, 256, 599]);
            let whole = run(&a, &matrix, m, Then::Nothing, Threads::One);
            let mut summed = vec![f32::NAN; m * n];
            let mut quantized = QuantizedRows::default();
            for (rows, then) in [(0..256, Then::Nothing), (256..k, Then::Accumulate)] {
                let part = Rows::new(&a[rows.start..], m, k);
                let view = matrix.view().rows(rows);
                quantized.quantize(part, &view, Threads::One);
                quantized_product(
                    &quantized,
                    &view,
                    RowsMut::new(&mut summed, m, n),
                    then,
                    Threads::One,
                );
            }
            let largest = whole.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            for (whole, summed) in whole.iter().zip(&summed) {
                // What is in f32 comes before each part and not all of it before the first.
                assert!(
                    f64::from((whole - summed).abs() / largest) <= ROUNDING,
                    "{level}"
                );
            }
            quantized.quantize(Rows::new(&a, m, k), &matrix.view(), Threads::One);
            let cut = 2 * matrix.panel_width();
            for columns in [0..cut, cut..n] {
                let mut part = vec![f32::NAN; m * columns.len()];
                let view = matrix.view().columns(columns.clone());
                let target = RowsMut::new(&mut part, m, columns.len());
                quantized_product(&quantized, &view, target, Then::Nothing, Threads::One);
                for (part, whole) in part.chunks(columns.len()).zip(whole.chunks(n)) {
                    assert_eq!(part, &whole[columns.clone()], "{level}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for level in Level::available() {
            let mut a = numbers(2 * 20, 1);
            a[25] = f32::NAN;
            let c = run(
                &a,
                &pack(level, 20, &numbers(30 * 20, 2), &[]),
                2,
                Then::Nothing,
                Threads::One,
            );
            assert!(
                c[..30].iter().all(|x| x.is_finite()) && c[30..].iter().all(|x| x.is_nan()),
                "{level}"
            );
        }
    }
}

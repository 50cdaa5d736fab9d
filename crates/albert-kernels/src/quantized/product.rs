//! Products of 8-bit activations with 8-bit weights.

use crate::grid::{Factors, Part, Then, Threads, multiply};
use crate::level::Level;
use crate::quantized::{GROUP, QuantizedRows, QuantizedView};
use crate::rows::RowsMut;
use crate::simd::{Kernel, Simd};
use crate::tile::{Ahead, CheckedTile, Products, Sums, Target};

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
    let (rows, depth) = (a.rows(), b.depth());
    assert!(c.count == rows && a.depth() == depth, "{rows} rows of {depth} factors");
    assert!(b.channels().eq(a.channels().iter().copied()), "rows that were rounded for other outliers");
    let has_all = a.bytes().len() == rows * a.stride()
        && a.scales().len() == rows * a.groups()
        && a.floats().len() == rows * a.floats_stride();
    assert!(has_all, "bytes, scales and outliers of {rows} rows");
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
    fn depth(&self) -> usize {
        self.b.depth()
    }

    fn columns(&self) -> usize {
        self.b.width()
    }

    fn panel_count(&self) -> usize {
        self.b.panel_count()
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
        let floats = self.a.floats_stride();
        let products = Products {
            depth: floats,
            a: self.a.floats()[part.row * floats..].as_ptr(),
            a_stride: floats,
            panel: self.b.floats(part.panel).as_ptr(),
            accumulate: part.accumulate,
            ahead: Ahead::NONE,
        };
        let sums = GroupSums {
            depth: part.depths.len(),
            a: self.a.bytes()[part.row * self.a.stride()..].as_ptr(),
            a_stride: self.a.stride(),
            row_scales: self.a.scales()[part.row * self.a.groups()..].as_ptr(),
            panel: self.b.quads(part.panel, 0).as_ptr(),
            column_scales: self.b.scales(part.panel).as_ptr(),
            column_scales_stride: self.b.scales_stride(),
            ahead: part.ahead,
        };
        // SAFETY: A has these rows and B this panel; C is the caller's promise.
        unsafe {
            s.call(CheckedTile::new(target, products));
            s.call(CheckedTile::new(target, sums));
        }
    }
}

/// `C + Σ_g s_mg s_gn Σ_k q r`, group by group.
#[derive(Debug, Clone, Copy)]
struct GroupSums {
    depth: usize,
    a: *const u8,
    /// From a row of A to the next.
    a_stride: usize,
    /// A scale and a zero for each group of each row of A.
    row_scales: *const [f32; 2],
    /// Four short rows, as wide as a panel, at a time.
    panel: *const i8,
    /// For each group, a scale for each column.
    column_scales: *const f32,
    /// From the scales of a group to those of the next.
    column_scales_stride: usize,
    ahead: Ahead,
}

impl Sums for GroupSums {
    #[inline(always)]
    unsafe fn write<S: Simd, const ROWS: usize, const VECTORS: usize>(
        &self,
        s: S,
        c: *mut f32,
        c_stride: usize,
    ) {
        let width = 4 * S::PANEL_VECTORS * S::LANES;
        let groups = self.depth.div_ceil(GROUP);
        let part = self.ahead.count.div_ceil(groups);
        let (mut a, mut panel) = (self.a, self.panel);
        for group in 0..groups {
            let depth = GROUP.min(self.depth - group * GROUP);
            let ahead = Ahead { address: self.ahead.address.wrapping_add(group * part), count: part };
            let mut sums = [[s.splat_quad([0; 4]); VECTORS]; ROWS];
            // SAFETY: all offsets are within the rows and panels that the caller promises. Rows are filled up
            // to whole quads, and so is the panel.
            unsafe {
                ahead.while_stepping(s, depth.div_ceil(4), || {
                    let mut b = [s.splat_quad([0; 4]); VECTORS];
                    for (v, b) in b.iter_mut().enumerate() {
                        *b = s.load_quads_from(panel.add(v * 4 * S::LANES));
                    }
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let a = s.splat_quad(a.add(row * self.a_stride).cast::<[u8; 4]>().read());
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = s.dot(*sum, a, *b);
                        }
                    }
                    a = a.add(4);
                    panel = panel.add(width);
                });
                for v in 0..VECTORS {
                    let column = group * self.column_scales_stride + v * S::LANES;
                    let column_scale = s.load_from(self.column_scales.add(column));
                    for (row, sums) in sums.iter().enumerate() {
                        let [row_scale, _] = *self.row_scales.add(row * groups + group);
                        let scale = s.mul(column_scale, s.splat(row_scale));
                        let c = c.add(row * c_stride + v * S::LANES);
                        // An integer below 2²⁴: exact.
                        s.store_to(c, s.mul_add(s.to_f32(sums[v]), scale, s.load_from(c)));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::quantized::{QuantizedMatrix, QuantizedPart, quantize_weights};
    use crate::random::numbers;
    use crate::rows::Rows;

    /// Of f32 sums of four terms at most, which are exact before they are scaled; relative to the result's
    /// largest number. Seen: 3.1e-7.
    const ROUNDING: f64 = 1e-6;

    fn pack(level: Level, depth: usize, weights: &[f32], channels: &[usize]) -> QuantizedMatrix {
        let (rounded, scales) = quantize_weights(weights, depth);
        let outliers: Vec<f32> =
            weights.chunks(depth).flat_map(|row| channels.iter().map(|&c| row[c])).collect();
        let part = QuantizedPart { rounded: &rounded, scales: &scales, outliers: &outliers };
        QuantizedMatrix::from_transposed(level, depth, &[part], channels)
    }

    fn run(a: &[f32], matrix: &QuantizedMatrix, rows: usize, then: Then<'_>, threads: Threads) -> Vec<f32> {
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
        quantized.quantize(Rows::new(a, a.len() / depth, depth), &matrix.view(), Threads::One);
        let mut products = Vec::new();
        for row in 0..a.len() / depth {
            let xs: Vec<f64> = (0..depth)
                .map(|k| {
                    let [scale, zero] = quantized.scales()[row * quantized.groups() + k / GROUP];
                    let byte = quantized.bytes()[row * quantized.stride() + k];
                    match matrix.view().channels().any(|channel| channel == k) {
                        true => f64::from(a[row * depth + k]),
                        false => f64::from(scale) * f64::from(f32::from(byte) - zero),
                    }
                })
                .collect();
            let dot = |weights: &[f32]| xs.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum::<f64>();
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
                    channels.iter().for_each(|&channel: &usize| row[channel] *= 100.0);
                }
                let matrix = pack(level, k, &weights, &channels);
                let c = run(&a, &matrix, m, Then::Activate(&bias, Activation::Relu), Threads::One);
                let exact = exact(&a, &matrix);
                let scale = exact.iter().fold(1.0, |scale: f64, x| scale.max(x.abs()));
                for (i, (exact, c)) in exact.iter().zip(&c).enumerate() {
                    let error = ((exact + f64::from(bias[i % n])).max(0.0) - f64::from(*c)).abs() / scale;
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
                let alone = run(&a[rows.start * k..rows.end * k], &matrix, rows.len(), then, Threads::One);
                assert_eq!(alone, whole[rows.start * n..rows.end * n], "{rows:?} on {level}");
            }
            for threads in [1, 2, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let split = pool.install(|| run(&a, &matrix, m, then, Threads::All));
                assert!(split == whole, "{threads} threads on {level}");
            }
        }
    }

    #[test]
    fn instructions_of_one_kind_of_rounding_give_the_same_bits() {
        let (m, k, n) = (20, 520, 100);
        let (a, weights) = (numbers(m * k, 1), numbers(n * k, 2));
        let levels = Level::available().into_iter().filter(|level| level.to_string() != "portable");
        let results: Vec<_> = levels
            .map(|level| run(&a, &pack(level, k, &weights, &[9]), m, Then::Nothing, Threads::One))
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
                quantized_product(&quantized, &view, RowsMut::new(&mut summed, m, n), then, Threads::One);
            }
            let largest = whole.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            for (whole, summed) in whole.iter().zip(&summed) {
                // What is in f32 comes before each part and not all of it before the first.
                assert!(f64::from((whole - summed).abs() / largest) <= ROUNDING, "{level}");
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
            let c = run(&a, &pack(level, 20, &numbers(30 * 20, 2), &[]), 2, Then::Nothing, Threads::One);
            assert!(c[..30].iter().all(|x| x.is_finite()) && c[30..].iter().all(|x| x.is_nan()), "{level}");
        }
    }
}

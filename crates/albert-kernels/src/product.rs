//! Products of activations with packed weights, in f32.

use crate::grid::{Factors, Part, Then, Threads, multiply};
use crate::level::Level;
use crate::packed::PackedView;
use crate::rectangle::Rectangle;
use crate::rows::{Rows, RowsMut, fit};
use crate::simd::{Kernel, Simd};
use crate::tile::{CheckedTile, Products, Target};

/// Rows of B in a block at most: of one panel 144 KiB, which streams from the second cache. A block
/// more is one more round of loading and storing C, which is what smaller blocks lose by.
const BLOCK_DEPTH: usize = 768;

/// `C = A B`, then what [`Then`] says.
///
/// Element by element the sum over K runs in ascending order, one fused multiply-add after another,
/// whatever the number of rows, the blocks and the threads: the same row gives the same bits.
///
/// # Shapes
/// - `a`: `(M, K)`, `b`: `(K, N)`, `c`: `(M, N)`
///
/// # Panics
/// If the shapes do not fit.
pub fn product(a: Rows<'_>, b: &PackedView<'_>, c: RowsMut<'_>, then: Then<'_>, threads: Threads) {
    let (rows, depth) = (a.count, b.part().depth());
    assert!(c.count == rows, "{rows} rows, found {}", c.count);
    assert!(
        rows == 0 || fit(a.numbers, rows, a.stride, depth),
        "{rows} rows of {depth} factors"
    );
    let factors = Floats {
        a: a.numbers.as_ptr(),
        a_stride: a.stride,
        b,
    };
    // SAFETY: A was checked.
    unsafe { multiply(b.level(), factors, c, then, threads) }
}

/// A and B in f32.
#[derive(Clone, Copy)]
struct Floats<'a> {
    a: *const f32,
    a_stride: usize,
    b: &'a PackedView<'a>,
}

// SAFETY: A is borrowed for as long as the product runs, and only read.
unsafe impl Send for Floats<'_> {}
// SAFETY: as above.
unsafe impl Sync for Floats<'_> {}

impl Factors for Floats<'_> {
    fn part(&self) -> &Rectangle {
        self.b.part()
    }

    fn depth_blocks(&self) -> usize {
        self.b.part().depth().div_ceil(BLOCK_DEPTH).max(1)
    }

    #[inline(always)]
    fn address(&self, panel: usize, depth: usize) -> *const u8 {
        self.b.short_rows(panel, depth).as_ptr().cast()
    }

    #[inline(always)]
    fn run<K: Kernel>(level: Level, kernel: K) -> K::Output {
        level.run(kernel)
    }

    #[inline(always)]
    unsafe fn sum_up<S: Simd>(&self, s: S, part: Part, target: Target) {
        // SAFETY: the caller's promise.
        unsafe {
            let products = Products {
                depth: part.depths.len(),
                a: self.a.add(part.row * self.a_stride + part.depths.start),
                a_stride: self.a_stride,
                panel: self.b.short_rows(part.panel, part.depths.start).as_ptr(),
                panel_width: S::PANEL_VECTORS * S::LANES,
                accumulate: part.accumulate,
                ahead: part.ahead,
            };
            s.call(CheckedTile::new(target, products));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::level::Level;
    use crate::packed::PackedMatrix;
    use crate::random::numbers;

    /// Relative to √K, the size of a sum of K products of numbers from -1 to 1. Seen: 6.8e-7.
    const TOLERANCE: f64 = 2e-6;

    fn run(
        a: &[f32],
        b: &PackedView<'_>,
        rows: usize,
        then: Then<'_>,
        threads: Threads,
    ) -> Vec<f32> {
        let mut c = vec![f32::NAN; rows * b.part().width()];
        product(
            Rows::new(a, rows, b.part().depth()),
            b,
            RowsMut::new(&mut c, rows, b.part().width()),
            then,
            threads,
        );
        c
    }

    #[test]
    fn every_element_is_the_sum_of_its_products() {
        for level in Level::available() {
            for (m, k, n) in [
                (1, 1, 1),
                (3, 7, 50),
                (17, 300, 33),
                (40, 64, 96),
                (300, 20, 13),
                (9, 1000, 47),
            ] {
                let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let b = PackedMatrix::from_transposed(level, k, &[&weight]);
                let c = run(
                    &a,
                    &b.view(),
                    m,
                    Then::Activate(&bias, Activation::Relu),
                    Threads::One,
                );
                for (row, c) in c.chunks(n).enumerate() {
                    for (column, c) in c.iter().enumerate() {
                        let products = a[row * k..][..k].iter().zip(&weight[column * k..][..k]);
                        let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let error =
                            ((sum + f64::from(bias[column])).max(0.0) - f64::from(*c)).abs();
                        assert!(
                            error <= TOLERANCE * (k as f64).sqrt(),
                            "{error:.1e} in {m}×{k}×{n} on {level}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_in_any_company_and_on_any_number_of_threads() {
        for level in Level::available() {
            let (m, k, n) = (270, 520, 200);
            let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
            let b = PackedMatrix::from_transposed(level, k, &[&weight]);
            let then = Then::Activate(&bias, Activation::GeluTanh);
            let whole = run(&a, &b.view(), m, then, Threads::One);
            for rows in [0..1, 5..6, 7..20, 269..270, 100..257] {
                let alone = run(
                    &a[rows.start * k..],
                    &b.view(),
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
                let split = pool.install(|| run(&a, &b.view(), m, then, Threads::All));
                assert!(split == whole, "{threads} threads on {level}");
            }
        }
    }

    #[test]
    fn parts_of_a_product_make_the_whole_bit_for_bit() {
        for level in Level::available() {
            let (m, k, n) = (10, 400, 150);
            let (a, weight) = (numbers(m * k, 1), numbers(n * k, 2));
            let b = PackedMatrix::from_transposed(level, k, &[&weight]);
            let whole = run(&a, &b.view(), m, Then::Nothing, Threads::One);
            let mut summed = vec![f32::NAN; m * n];
            for (rows, then) in [
                (0..70, Then::Nothing),
                (70..71, Then::Accumulate),
                (71..k, Then::Accumulate),
            ] {
                let a = Rows::new(&a[rows.start..], m, k);
                product(
                    a,
                    &b.view().rows(rows),
                    RowsMut::new(&mut summed, m, n),
                    then,
                    Threads::One,
                );
            }
            assert_eq!(summed, whole, "{level}");
            let cut = 2 * b.panel_width();
            for columns in [0..cut, cut..n] {
                let part = run(
                    &a,
                    &b.view().columns(columns.clone()),
                    m,
                    Then::Nothing,
                    Threads::One,
                );
                for (part, whole) in part.chunks(columns.len()).zip(whole.chunks(n)) {
                    assert_eq!(part, &whole[columns.clone()], "{level}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of 8 factors")]
    fn too_few_numbers_are_refused() {
        let b = PackedMatrix::from_transposed(Level::available()[0], 8, &[&[0.0; 8]]);
        product(
            Rows::new(&[0.0; 15], 2, 8),
            &b.view(),
            RowsMut::new(&mut [0.0; 2], 2, 1),
            Then::Nothing,
            Threads::One,
        );
    }
}

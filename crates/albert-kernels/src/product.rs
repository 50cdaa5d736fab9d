//! Products of activations with packed weights.

use std::ops::Range;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::packed::PackedView;
use crate::simd::{Kernel, Simd};
use crate::tile::{Ahead, Tile};

/// Rows of numbers at a fixed distance.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    numbers: &'a [f32],
    count: usize,
    stride: usize,
}

/// Rows of numbers at a fixed distance, to be written.
#[derive(Debug)]
pub struct RowsMut<'a> {
    numbers: &'a mut [f32],
    count: usize,
    stride: usize,
}

impl<'a> Rows<'a> {
    /// `count` rows that begin `stride` numbers apart.
    ///
    /// # Panics
    /// If there are fewer numbers; the last row may be as short as it likes.
    pub fn new(numbers: &'a [f32], count: usize, stride: usize) -> Self {
        assert!(fit(numbers, count, stride, 0), "{count} rows of {stride}");
        Self { numbers, count, stride }
    }
}

impl<'a> RowsMut<'a> {
    /// `count` rows that begin `stride` numbers apart.
    ///
    /// # Panics
    /// If there are fewer numbers; the last row may be as short as it likes.
    pub fn new(numbers: &'a mut [f32], count: usize, stride: usize) -> Self {
        assert!(fit(numbers, count, stride, 0), "{count} rows of {stride}");
        Self { numbers, count, stride }
    }
}

/// Whether there are `count` rows `stride` apart, the last of them `width` long. Nothing here may wrap: the
/// kernels trust the answer.
fn fit(numbers: &[f32], count: usize, stride: usize, width: usize) -> bool {
    let Some(before_last) = count.checked_sub(1) else { return true };
    let end = before_last.checked_mul(stride).and_then(|start| start.checked_add(width));
    end.is_some_and(|end| end <= numbers.len())
}

/// What becomes of a sum over K.
#[derive(Debug, Clone, Copy)]
pub enum Then<'a> {
    /// It replaces what was there.
    Nothing,
    /// It is added to what was there, which was a sum over the columns of A before these.
    Accumulate,
    /// The bias of its column is added, and the activation computed.
    Activate(&'a [f32], Activation),
}

/// Who computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The calling thread alone.
    One,
    /// All threads of the current rayon pool.
    All,
}

/// Rows of B in a block at most: of one panel 144 KiB, which streams from the second cache. A block
/// more is one more round of loading and storing C, which is what smaller blocks lose by.
const BLOCK_DEPTH: usize = 768;

/// Rows of A in a block at most: with [`BLOCK_DEPTH`] numbers each, 768 KiB of the second cache.
const BLOCK_ROWS: usize = 256;

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
    let (depth, columns, rows) = (b.depth(), b.width(), a.count);
    assert!(c.count == rows && c.stride >= columns, "{rows} rows of {columns} columns");
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(fit(a.numbers, rows, a.stride, depth), "{rows} rows of {depth} factors");
    assert!(fit(c.numbers, rows, c.stride, columns), "{rows} rows of {columns} sums");
    if let Then::Activate(bias, _) = then {
        assert!(bias.len() == columns, "a bias of {columns} numbers, found {}", bias.len());
    }
    let whole = Blocks {
        a: a.numbers.as_ptr(),
        a_stride: a.stride,
        b,
        c: c.numbers.as_mut_ptr(),
        c_stride: c.stride,
        then,
        rows: 0..rows,
        panels: 0..b.panel_count(),
    };
    let level = b.level();
    match threads {
        Threads::One => level.run(whole),
        Threads::All => {
            whole.split(rayon::current_num_threads()).into_par_iter().for_each(|part| level.run(part));
        }
    }
}

/// A rectangle of C that one thread computes.
#[derive(Clone)]
struct Blocks<'a> {
    a: *const f32,
    a_stride: usize,
    b: &'a PackedView<'a>,
    c: *mut f32,
    c_stride: usize,
    then: Then<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
}

// SAFETY: `product` borrows A and C for as long as its threads run, and gives each a rectangle of C of
// its own.
unsafe impl Send for Blocks<'_> {}

impl Blocks<'_> {
    /// Splits over columns first, so that each thread reads its own part of B, then over rows.
    fn split(&self, threads: usize) -> Vec<Self> {
        const PANELS: usize = 2;
        const ROWS: usize = 32;
        let across = threads.min(self.panels.len().div_ceil(PANELS)).max(1);
        let down = (threads / across).min(self.rows.len().div_ceil(ROWS)).max(1);
        let mut parts = Vec::with_capacity(across * down);
        for rows in even(self.rows.clone(), down) {
            for panels in even(self.panels.clone(), across) {
                parts.push(Self { rows: rows.clone(), panels, ..self.clone() });
            }
        }
        parts
    }
}

impl Kernel for Blocks<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let width = S::PANEL_VECTORS * S::LANES;
        let row_blocks = self.rows.len().div_ceil(BLOCK_ROWS);
        let depth_blocks = self.b.depth().div_ceil(BLOCK_DEPTH).max(1);
        for block in even(self.rows.clone(), row_blocks) {
            for depths in even(0..self.b.depth(), depth_blocks) {
                for panel in self.panels.clone() {
                    let columns = panel * width..((panel + 1) * width).min(self.b.width());
                    // SAFETY: `product` has checked the shapes, and no other thread has this part.
                    unsafe { self.panel(s, block.clone(), depths.clone(), panel, columns) }
                }
            }
        }
    }
}

impl Blocks<'_> {
    /// Some rows of C in one panel, summed over some of K.
    ///
    /// # Safety
    /// All rows of A and C are there, and no other thread has this part of C.
    #[inline(always)]
    unsafe fn panel<S: Simd>(
        &self,
        s: S,
        rows: Range<usize>,
        depths: Range<usize>,
        panel: usize,
        columns: Range<usize>,
    ) {
        let width = S::PANEL_VECTORS * S::LANES;
        let short_rows = depths.start * width..depths.end * width;
        let strips = rows.len().div_ceil(S::TILE_ROWS);
        // While this panel is used, the next one comes from a farther cache, a part by each strip.
        let ahead = self.after(panel, &short_rows);
        let part = short_rows.len().div_ceil(strips);
        for (strip, rows) in even(rows, strips).enumerate() {
            // SAFETY: these rows of A and C are there.
            let (a, c) = unsafe {
                let a = self.a.add(rows.start * self.a_stride + depths.start);
                (a, self.c.add(rows.start * self.c_stride + columns.start))
            };
            let tile = Tile {
                rows: rows.len(),
                depth: depths.len(),
                a,
                a_stride: self.a_stride,
                panel: self.b.panel(panel)[short_rows.clone()].as_ptr(),
                c,
                c_stride: self.c_stride,
                columns: columns.len(),
                accumulate: depths.start > 0 || matches!(self.then, Then::Accumulate),
                ahead: Ahead { address: ahead.wrapping_add(strip * part), count: part },
            };
            // SAFETY: as above.
            s.call(unsafe { tile.checked() });
            if let Then::Activate(bias, activation) = self.then
                && depths.end == self.b.depth()
            {
                for row in 0..rows.len() {
                    // SAFETY: as above.
                    let numbers =
                        unsafe { std::slice::from_raw_parts_mut(c.add(row * self.c_stride), columns.len()) };
                    activation.apply(s, numbers, &bias[columns.clone()]);
                }
            }
        }
    }

    /// What is read after these short rows of a panel.
    fn after(&self, panel: usize, short_rows: &Range<usize>) -> *const f32 {
        if panel + 1 < self.panels.end {
            self.b.panel(panel + 1)[short_rows.start..].as_ptr()
        } else {
            self.b.panel(self.panels.start)[short_rows.end..].as_ptr()
        }
    }
}

/// `parts` ranges that differ in length by one at most.
#[inline(always)]
pub(crate) fn even(range: Range<usize>, parts: usize) -> impl Iterator<Item = Range<usize>> {
    let (start, len) = (range.start, range.len());
    (0..parts).map(move |part| start + len * part / parts..start + len * (part + 1) / parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::packed::PackedMatrix;
    use crate::random::numbers;

    /// Relative to √K, the size of a sum of K products of numbers from -1 to 1. Seen: 6.8e-7.
    const TOLERANCE: f64 = 2e-6;

    fn run(a: &[f32], b: &PackedView<'_>, rows: usize, then: Then<'_>, threads: Threads) -> Vec<f32> {
        let mut c = vec![f32::NAN; rows * b.width()];
        product(Rows::new(a, rows, b.depth()), b, RowsMut::new(&mut c, rows, b.width()), then, threads);
        c
    }

    #[test]
    fn every_element_is_the_sum_of_its_products() {
        for level in Level::available() {
            for (m, k, n) in
                [(1, 1, 1), (3, 7, 50), (17, 300, 33), (40, 64, 96), (300, 20, 13), (9, 1000, 47)]
            {
                let (a, weight, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
                let b = PackedMatrix::from_transposed(level, k, &[&weight]);
                let c = run(&a, &b.view(), m, Then::Activate(&bias, Activation::Relu), Threads::One);
                for (row, c) in c.chunks(n).enumerate() {
                    for (column, c) in c.iter().enumerate() {
                        let products = a[row * k..][..k].iter().zip(&weight[column * k..][..k]);
                        let sum: f64 = products.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                        let error = ((sum + f64::from(bias[column])).max(0.0) - f64::from(*c)).abs();
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
                let alone = run(&a[rows.start * k..], &b.view(), rows.len(), then, Threads::One);
                assert_eq!(alone, whole[rows.start * n..rows.end * n], "{rows:?} on {level}");
            }
            for threads in [1, 2, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
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
            for (rows, then) in
                [(0..70, Then::Nothing), (70..71, Then::Accumulate), (71..k, Then::Accumulate)]
            {
                let a = Rows::new(&a[rows.start..], m, k);
                product(a, &b.view().rows(rows), RowsMut::new(&mut summed, m, n), then, Threads::One);
            }
            assert_eq!(summed, whole, "{level}");
            let cut = 2 * b.panel_width();
            for columns in [0..cut, cut..n] {
                let part = run(&a, &b.view().columns(columns.clone()), m, Then::Nothing, Threads::One);
                for (part, whole) in part.chunks(columns.len()).zip(whole.chunks(n)) {
                    assert_eq!(part, &whole[columns.clone()], "{level}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of")]
    fn rows_beyond_all_memory_are_refused() {
        // The product of the two is 2⁶⁴, which wraps to 0.
        let huge = 1 << (usize::BITS / 2);
        Rows::new(&[0.0], huge + 1, huge);
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

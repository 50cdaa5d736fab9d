//! Activations rounded to 8 bits as they come.

use rayon::prelude::*;

use crate::aligned::Aligned;
use crate::grid::Threads;
use crate::quantized::{GROUP, QuantizedView};
use crate::rows::{Rows, fit};
use crate::simd::{Kernel, MAX_LANES, Simd};

/// The largest of the integers that activations become.
const LARGEST: f32 = 255.0;

/// Rows of A for products with a [`QuantizedMatrix`](crate::QuantizedMatrix), in memory that is used again from call to call.
///
/// ```text
/// s = (max x - min x) / 255,   z = round(-min x / s),   q = round(x / s + z)
/// ```
///
/// for each row and each [`GROUP`] of its columns; min and max are at most and at least 0, which so becomes
/// 0 again. Outliers do not count.
#[derive(Default)]
pub struct QuantizedRows {
    rows: usize,
    depth: usize,
    /// `(M, K)`, the rows filled up to whole vectors.
    bytes: Aligned<u8>,
    /// A scale and a zero for each row and group.
    scales: Vec<[f32; 2]>,
    /// For each row and group, its outliers, and its zero times the negative of its scale.
    floats: Aligned<f32>,
    /// How many a row has.
    floats_stride: usize,
    /// The columns that are outliers.
    channels: Vec<usize>,
}

/// Rows that a thread takes at a time.
const ROWS_AT_ONCE: usize = 32;

impl QuantizedRows {
    /// Rounds rows for products with `matrix`.
    ///
    /// A group with a number that is not finite makes its row of the product NaN.
    ///
    /// # Shapes
    /// - `xs`: `(M, K)`, `matrix`: `(K, N)`
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn quantize(&mut self, xs: Rows<'_>, matrix: &QuantizedView<'_>, threads: Threads) {
        let depth = matrix.depth();
        assert!(xs.count == 0 || fit(xs.numbers, xs.count, xs.stride, depth), "{} rows of {depth}", xs.count);
        // Nothing is claimed before there is memory for it.
        self.rows = 0;
        self.depth = depth;
        self.channels.clear();
        self.channels.extend(matrix.channels());
        let (stride, groups) = (self.stride(), self.groups());
        let of_rows = |width: usize| xs.count.checked_mul(width).expect("rows that fit into memory");
        self.bytes.resize(of_rows(stride));
        self.floats_stride = matrix.channels().len() + groups;
        self.floats.resize(of_rows(self.floats_stride));
        self.scales.resize(of_rows(groups), [0.0; 2]);
        self.rows = xs.count;

        let (level, kept) = (matrix.level(), matrix.kept());
        let portion = |(index, (bytes, scales)): (usize, (&mut [u8], &mut [[f32; 2]]))| {
            let rows = Rows { numbers: &xs.numbers[index * ROWS_AT_ONCE * xs.stride..], ..xs };
            level.run(Round { rows, kept, bytes, stride, scales, groups });
        };
        let (bytes, scales) = (ROWS_AT_ONCE * stride, ROWS_AT_ONCE * groups);
        match threads {
            Threads::One => {
                let portions = self.bytes.chunks_mut(bytes).zip(self.scales.chunks_mut(scales));
                portions.enumerate().for_each(portion);
            }
            Threads::All => {
                let portions = self.bytes.par_chunks_mut(bytes).zip(self.scales.par_chunks_mut(scales));
                portions.enumerate().for_each(portion);
            }
        }
        let floats = self.floats.chunks_exact_mut(self.floats_stride).zip(self.scales.chunks_exact(groups));
        for (row, (floats, scales)) in floats.enumerate() {
            let xs = &xs.numbers[row * xs.stride..][..depth];
            let (mut floats, mut channels) = (floats.iter_mut(), matrix.channels().peekable());
            for (group, [scale, zero]) in scales.iter().enumerate() {
                while let Some(channel) = channels.next_if(|channel| channel / GROUP == group) {
                    *floats.next().expect("one for each outlier") = xs[channel];
                }
                *floats.next().expect("one for each group") = -scale * zero;
            }
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Bytes from a row to the next.
    pub(crate) fn stride(&self) -> usize {
        self.depth.next_multiple_of(MAX_LANES)
    }

    /// Groups of a row.
    pub(crate) fn groups(&self) -> usize {
        self.depth.div_ceil(GROUP)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A scale and a zero for each row and group.
    pub(crate) fn scales(&self) -> &[[f32; 2]] {
        &self.scales
    }

    /// For each row and group, its outliers, and its zero times the negative of its scale.
    pub(crate) fn floats(&self) -> &[f32] {
        &self.floats
    }

    /// The columns that are outliers.
    pub(crate) fn channels(&self) -> &[usize] {
        &self.channels
    }

    /// From a row of these to the next.
    pub(crate) fn floats_stride(&self) -> usize {
        self.floats_stride
    }
}

/// As many rows as there are bytes and scales for.
struct Round<'a> {
    rows: Rows<'a>,
    kept: &'a [f32],
    bytes: &'a mut [u8],
    stride: usize,
    scales: &'a mut [[f32; 2]],
    groups: usize,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let portions =
            self.bytes.chunks_exact_mut(self.stride).zip(self.scales.chunks_exact_mut(self.groups));
        for (row, (bytes, scales)) in portions.enumerate() {
            let xs = &self.rows.numbers[row * self.rows.stride..][..self.kept.len()];
            let groups = xs.chunks(GROUP).zip(self.kept.chunks(GROUP)).zip(bytes.chunks_mut(GROUP));
            for (((xs, kept), bytes), scale) in groups.zip(scales) {
                *scale = round(s, xs, kept, bytes);
            }
        }
    }
}

/// Rounds one group of one row; returns scale and zero.
#[inline(always)]
fn round<S: Simd>(s: S, xs: &[f32], kept: &[f32], bytes: &mut [u8]) -> [f32; 2] {
    let zero = s.splat(0.0);
    let (mut least, mut most, mut poison) = (zero, zero, zero);
    for (xs, kept) in xs.chunks(S::LANES).zip(kept.chunks(S::LANES)) {
        let x = s.mul(s.load(xs), s.load(kept));
        (least, most) = (s.min(x, least), s.max(x, most));
        // What is not finite is NaN from here on; min and max pass over a NaN.
        poison = s.mul_add(x, zero, poison);
    }
    let (least, most) = (-s.largest_number(s.sub(zero, least)), s.largest_number(most));
    let scale = (most - least) / LARGEST;
    // A row of zeros, or of numbers so small that their scale is none, is all zeros.
    let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
    let offset = (-least * inverse).round_ties_even();
    let (factor, shift, largest) = (s.splat(inverse), s.splat(offset), s.splat(LARGEST));
    for (vector, xs) in xs.chunks(S::LANES).enumerate() {
        // Outliers end up at either end; their weights here are 0.
        let q = s.mul_add(s.load(xs), factor, shift);
        let q = s.min(s.max(q, zero), largest);
        let to = &mut bytes[vector * S::LANES..][..S::LANES];
        // SAFETY: the slice has as many bytes.
        unsafe { s.store_bytes_to(to.as_mut_ptr(), q) };
    }
    [scale + s.sum(poison), offset]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::quantized::{QuantizedMatrix, QuantizedPart};
    use crate::random::numbers;

    /// Without weights: what rows are rounded for.
    fn empty(level: Level, depth: usize, channels: &[usize]) -> QuantizedMatrix {
        let part = QuantizedPart { rounded: &[], scales: &[], outliers: &[] };
        QuantizedMatrix::from_transposed(level, depth, &[part], channels)
    }

    #[test]
    fn numbers_are_within_a_step_and_zero_is_zero() {
        for level in Level::available() {
            for depth in [1, 5, 16, 100, 256, 300, 768] {
                let mut xs = numbers(3 * depth, 1);
                xs[0] = 0.0;
                let mut rows = QuantizedRows::default();
                rows.quantize(Rows::new(&xs, 3, depth), &empty(level, depth, &[]).view(), Threads::One);
                for (i, x) in xs.iter().enumerate() {
                    let (row, column) = (i / depth, i % depth);
                    let [scale, zero] = rows.scales()[row * rows.groups() + column / GROUP];
                    let restored = scale * (f32::from(rows.bytes()[row * rows.stride() + column]) - zero);
                    // Half a step each for the number and for the zero, where it clips.
                    assert!((x - restored).abs() <= 1.01 * scale, "{x} became {restored} on {level}");
                    if *x == 0.0 {
                        assert_eq!(restored, 0.0, "{level}");
                    }
                }
            }
        }
    }

    #[test]
    fn threads_and_instructions_with_one_rounding_give_the_same_bytes() {
        let (depth, xs) = (300, numbers(70 * 300, 3));
        let round = |level, threads| {
            let mut rows = QuantizedRows::default();
            rows.quantize(Rows::new(&xs, 70, depth), &empty(level, depth, &[7]).view(), threads);
            let bytes = rows.bytes().chunks(rows.stride()).flat_map(|row| row[..depth].to_vec());
            (bytes.collect::<Vec<_>>(), rows.scales().to_vec(), rows.floats().to_vec())
        };
        let levels = Level::available();
        let first = round(levels[0], Threads::One);
        for level in levels {
            let alone = round(level, Threads::One);
            // Without fused multiply-adds `x / s + z` is rounded twice.
            assert!(alone == first || level.to_string() == "portable", "{level}");
            assert!(round(level, Threads::All) == alone, "{level}");
        }
    }

    #[test]
    fn outliers_stand_apart_and_take_no_part_in_the_scale() {
        for level in Level::available() {
            let mut rows = QuantizedRows::default();
            let xs = [1.0, 500.0, -0.5, 0.25];
            rows.quantize(Rows::new(&xs, 1, 4), &empty(level, 4, &[1]).view(), Threads::One);
            let [scale, zero] = rows.scales()[0];
            assert_eq!((rows.floats(), scale), (&[500.0, -scale * zero][..], 1.5 / 255.0), "{level}");
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for level in Level::available() {
            let mut rows = QuantizedRows::default();
            // Too small for a scale: zeros, and not what their inverse would be.
            rows.quantize(Rows::new(&[1e-38, -1e-39], 1, 2), &empty(level, 2, &[]).view(), Threads::One);
            assert!(rows.floats()[0].is_finite(), "{level}");
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (mut rows, xs) = (QuantizedRows::default(), [1.0, bad, 3.0]);
                rows.quantize(Rows::new(&xs, 1, 3), &empty(level, 3, &[]).view(), Threads::One);
                assert!(rows.scales()[0][0].is_nan(), "{bad} on {level}");
            }
        }
    }
}

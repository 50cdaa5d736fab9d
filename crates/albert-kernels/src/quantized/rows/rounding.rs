//! The kernel that rounds rows to bytes, one scale block after another.

use super::{Layout, QuantizedRows};
use crate::gemm::Rows;
use crate::quantized::rotation::rotate;
use crate::quantized::{QuantizedView, SCALE_BLOCK, STEP, STEP_WITH_SIGNS};
use crate::simd::{Kernel, Simd, each_vector};

/// The largest integer to which an activation is rounded.
pub(super) const LARGEST: f32 = 127.0;

/// Added to the integers of A, because dot products of bytes (VNNI) take them as unsigned.
pub(super) const OFFSET: u8 = 128;

/// The memory of some row tiles.
pub(super) struct Memory<'a> {
    bytes: &'a mut [u8],
    offsets: &'a mut [i32],
    scales: &'a mut [f32],
    outliers: &'a mut [f32],
}

pub(super) type Zipped<'a> = (
    ((&'a mut [u8], &'a mut [i32]), &'a mut [f32]),
    &'a mut [f32],
);

impl<'a> Memory<'a> {
    pub(super) fn new((((bytes, offsets), scales), outliers): Zipped<'a>) -> Self {
        Self {
            bytes,
            offsets,
            scales,
            outliers,
        }
    }
}

/// Quantizes the rows of the row tiles in its memory.
pub(super) struct Quantize<'a> {
    pub(super) xs: Rows<'a>,
    pub(super) matrix: &'a QuantizedView<'a>,
    pub(super) layout: Layout,
    pub(super) first_row_tile: usize,
    pub(super) memory: Memory<'a>,
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Layout {
            row_tiles, depth, ..
        } = self.layout;
        let (kept, is_rotated) = (self.matrix.kept(), self.matrix.is_rotated());
        let row_step = QuantizedRows::row_step(S::SIGN_MAGNITUDE);
        let step_columns = QuantizedRows::step(S::SIGN_MAGNITUDE);
        let block_len = SCALE_BLOCK / step_columns * row_step * S::INT8_TILE_ROWS;
        let [bytes_len, scales_len, outliers_len] = [
            self.layout.bytes_len(),
            self.layout.scales_len(),
            self.layout.outliers_len(),
        ];
        let bytes = self.memory.bytes.chunks_exact_mut(bytes_len);
        let offsets = self.memory.offsets.chunks_exact_mut(scales_len);
        let scales = self.memory.scales.chunks_exact_mut(scales_len);
        let outliers = self.memory.outliers.chunks_exact_mut(outliers_len);
        let tiles = bytes.zip(offsets).zip(scales.zip(outliers));
        let mut block = Block([0.0; SCALE_BLOCK]);
        for (index, ((bytes, offsets), (scales, outliers))) in tiles.enumerate() {
            for (within, row) in row_tiles.rows(self.first_row_tile + index).enumerate() {
                let xs = &self.xs.values[row * self.xs.stride..][..depth];
                for (channel, outlier) in self
                    .matrix
                    .channels()
                    .zip(outliers[within..].iter_mut().step_by(S::INT8_TILE_ROWS))
                {
                    *outlier = xs[channel];
                }
                let blocks = bytes
                    .chunks_exact_mut(block_len)
                    .zip(kept.chunks_exact(SCALE_BLOCK));
                for (index, (xs, (bytes, kept))) in xs.chunks(SCALE_BLOCK).zip(blocks).enumerate() {
                    let block = &mut block.0;
                    each_vector!(S, xs.len(), |at, _sum| {
                        let x = s.mul(s.load(&xs[at.clone()]), s.load(&kept[at.clone()]));
                        s.store(&mut block[at], x);
                    });
                    block[xs.len()..].fill(0.0);
                    if is_rotated {
                        rotate(s, &mut block[..xs.len()]);
                    }
                    let mut integers = Integers([OFFSET; SCALE_BLOCK]);
                    let at = index * S::INT8_TILE_ROWS + within;
                    scales[at] = round(s, block, &mut integers.0);
                    let steps = bytes.chunks_exact_mut(row_step * S::INT8_TILE_ROWS);
                    let steps = steps.map(|step| &mut step[row_step * within..][..row_step]);
                    if S::SIGN_MAGNITUDE {
                        let mut signs = Integers([0; SCALE_BLOCK]);
                        offsets[at] = split_signs(&mut integers, &mut signs);
                        let magnitudes = integers.0.as_chunks::<STEP_WITH_SIGNS>().0;
                        let signs = signs.0.as_chunks::<STEP_WITH_SIGNS>().0;
                        for ((magnitudes, signs), step) in magnitudes.iter().zip(signs).zip(steps) {
                            step[..STEP_WITH_SIGNS].copy_from_slice(magnitudes);
                            step[STEP_WITH_SIGNS..].copy_from_slice(signs);
                        }
                    } else {
                        for (integers, step) in integers.0.as_chunks::<STEP>().0.iter().zip(steps) {
                            step.copy_from_slice(integers);
                        }
                    }
                }
            }
        }
    }
}

/// The values of one row and one scale block.
#[repr(align(64))]
struct Block([f32; SCALE_BLOCK]);

/// The integers of one row and one scale block, plus [`OFFSET`].
#[repr(align(64))]
struct Integers([u8; SCALE_BLOCK]);

/// Replaces integers plus [`OFFSET`] by their magnitudes, and sets the sign masks: all bits for a
/// negative integer, else none. Returns the sum of the magnitudes of the negative integers.
#[inline(always)]
fn split_signs(integers: &mut Integers, signs: &mut Integers) -> i32 {
    let mut negative = 0;
    for (byte, sign) in integers.0.iter_mut().zip(&mut signs.0) {
        let integer = byte.wrapping_sub(OFFSET) as i8;
        *byte = integer.unsigned_abs();
        *sign = (integer >> 7) as u8;
        negative += i32::from(*byte & *sign);
    }
    negative
}

/// Rounds one scale block of one row to integers plus [`OFFSET`]; returns the scale.
#[inline(always)]
fn round<S: Simd>(s: S, xs: &[f32; SCALE_BLOCK], integers: &mut [u8; SCALE_BLOCK]) -> f32 {
    let zero = s.splat(0.0);
    let (mut largest, mut poison) = ([zero; 4], [zero; 4]);
    each_vector!(S, SCALE_BLOCK, |at, one| {
        let x = s.load(&xs[at]);
        largest[one] = s.max(s.abs(x), largest[one]);
        // Becomes NaN at the first value that is not finite, which `largest` would ignore.
        poison[one] = s.mul_add(x, zero, poison[one]);
    });
    let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));
    let largest = s.max_lane(largest);
    let poison = s.sum(s.add(s.add(poison[0], poison[1]), s.add(poison[2], poison[3])));
    let scale = largest * (1.0 / LARGEST);
    // Zeros, and values so small that their scale is subnormal, become zeros.
    let inverse = if scale >= f32::MIN_POSITIVE {
        LARGEST / largest
    } else {
        0.0
    };
    let (factor, offset) = (s.splat(inverse), s.splat(f32::from(OFFSET)));
    for at in (0..SCALE_BLOCK).step_by(S::LANES) {
        let q = s.mul_add(s.load(&xs[at..][..S::LANES]), factor, offset);
        let to = &mut integers[at..][..S::LANES];
        // SAFETY: the slice has as many bytes.
        unsafe { s.store_u8_to(to.as_mut_ptr(), q) };
    }
    scale + poison
}

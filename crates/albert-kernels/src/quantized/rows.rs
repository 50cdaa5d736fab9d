//! Activations rounded to 8 bits as they come.

use rayon::prelude::*;

use crate::aligned::Aligned;
use crate::gemm::Threads;
use crate::gemm::{RowTiles, Rows, fit};
use crate::quantized::rotation::rotate;
use crate::quantized::{QuantizedView, SCALE_BLOCK, STEP};
use crate::simd::{Kernel, Simd, each_vector};

/// The largest of the integers that activations become.
const LARGEST: f32 = 127.0;

/// What is added to them: the instructions for products of bytes take those of A without a sign.
const OFFSET: f32 = 128.0;

/// Rows of A for products with a [`QuantizedMatrix`](crate::QuantizedMatrix), in memory that is
/// used again from call to call.
///
/// ```text
/// s = max |x| / 127,   q = round(x / s)
/// ```
///
/// for each row and each [`SCALE_BLOCK`] of its columns, rotated where the matrix is. Outliers are 0
/// there and stand aside in f32.
///
/// What a tile of the product reads together lies together: the rows are in row_tiles, and within a
/// row_tile the rows' numbers side by side.
#[derive(Default)]
pub struct QuantizedRows {
    layout: Layout,
    /// [`STEP`] columns of each row of a row_tile, then the next.
    bytes: Aligned<u8>,
    /// For each group, a scale of each row of a row_tile.
    scales: Aligned<f32>,
    /// For each outlier, a number of each row of a row_tile.
    outliers: Aligned<f32>,
    /// The columns that are outliers.
    channels: Vec<usize>,
}

/// Where numbers of a row_tile lie.
#[derive(Debug, Clone, Copy)]
struct Layout {
    row_tiles: RowTiles,
    rows: usize,
    depth: usize,
    /// Rows that a row_tile has room for.
    tile_rows: usize,
    /// Of a row.
    outliers: usize,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            row_tiles: RowTiles::new(0, 1),
            rows: 0,
            depth: 0,
            tile_rows: 1,
            outliers: 0,
        }
    }
}

impl Layout {
    fn groups(&self) -> usize {
        self.depth.div_ceil(SCALE_BLOCK)
    }

    fn bytes_len(&self) -> usize {
        self.groups() * SCALE_BLOCK * self.tile_rows
    }

    fn scales_len(&self) -> usize {
        self.groups() * self.tile_rows
    }

    /// Not nothing where there are none: it is a step.
    fn outliers_len(&self) -> usize {
        self.outliers.max(1) * self.tile_rows
    }
}

/// RowTiles that a thread takes at a time.
const ROW_TILES_AT_ONCE: usize = 4;

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
        let (depth, instructions) = (matrix.submatrix().depth(), matrix.instruction_set());
        assert!(
            xs.count == 0 || fit(xs.values, xs.count, xs.stride, depth),
            "{} rows of {depth}",
            xs.count
        );
        // Nothing is claimed before there is memory for it.
        self.layout = Layout::default();
        self.channels.clear();
        self.channels.extend(matrix.channels());
        let layout = Layout {
            row_tiles: RowTiles::new(xs.count, instructions.tile_rows()),
            rows: xs.count,
            depth,
            tile_rows: instructions.tile_rows(),
            outliers: self.channels.len(),
        };
        let of_row_tiles = |len: usize| {
            layout
                .row_tiles
                .count
                .checked_mul(len)
                .expect("rows that fit into memory")
        };
        self.bytes.resize(of_row_tiles(layout.bytes_len()));
        self.scales.resize(of_row_tiles(layout.scales_len()));
        self.outliers.resize(of_row_tiles(layout.outliers_len()));
        self.layout = layout;

        let portion = |(index, memory): (usize, Memory<'_>)| {
            instructions.run(Round {
                xs,
                matrix,
                layout,
                row_tile: index * ROW_TILES_AT_ONCE,
                memory,
            });
        };
        let lens = [
            layout.bytes_len(),
            layout.scales_len(),
            layout.outliers_len(),
        ];
        let [bytes, scales, outliers] = lens.map(|len| ROW_TILES_AT_ONCE * len);
        match threads {
            Threads::One => {
                let portions = self
                    .bytes
                    .chunks_mut(bytes)
                    .zip(self.scales.chunks_mut(scales));
                let portions = portions
                    .zip(self.outliers.chunks_mut(outliers))
                    .map(Memory::new);
                portions.enumerate().for_each(portion);
            }
            Threads::All => {
                let portions = self
                    .bytes
                    .par_chunks_mut(bytes)
                    .zip(self.scales.par_chunks_mut(scales));
                let portions = portions
                    .zip(self.outliers.par_chunks_mut(outliers))
                    .map(Memory::new);
                portions.enumerate().for_each(portion);
            }
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.layout.rows
    }

    pub(crate) fn depth(&self) -> usize {
        self.layout.depth
    }

    /// [`STEP`] columns of each row of a row_tile, then the next.
    #[inline(always)]
    pub(crate) fn bytes(&self, row_tile: usize) -> &[u8] {
        &self.bytes[row_tile * self.layout.bytes_len()..][..self.layout.bytes_len()]
    }

    /// For each group, a scale of each row of a row_tile.
    #[inline(always)]
    pub(crate) fn scales(&self, row_tile: usize) -> &[f32] {
        &self.scales[row_tile * self.layout.scales_len()..][..self.layout.scales_len()]
    }

    /// For each outlier, a number of each row of a row_tile.
    #[inline(always)]
    pub(crate) fn outliers(&self, row_tile: usize) -> &[f32] {
        &self.outliers[row_tile * self.layout.outliers_len()..][..self.layout.outliers_len()]
    }

    /// The columns that are outliers.
    pub(crate) fn channels(&self) -> &[usize] {
        &self.channels
    }
}

#[cfg(test)]
impl QuantizedRows {
    /// The scale of a number's group, and what the number became.
    pub(crate) fn get(&self, row: usize, column: usize) -> (f32, i32) {
        let (row_tile, within) = self.place(row);
        let tile_rows = self.layout.tile_rows;
        let byte =
            self.bytes(row_tile)[(column / STEP * tile_rows + within) * STEP + column % STEP];
        (
            self.scales(row_tile)[column / SCALE_BLOCK * tile_rows + within],
            i32::from(byte) - 128,
        )
    }

    fn outliers_of(&self, row: usize) -> Vec<f32> {
        let (row_tile, within) = self.place(row);
        let outliers = self.outliers(row_tile)[within..]
            .iter()
            .step_by(self.layout.tile_rows);
        outliers.take(self.layout.outliers).copied().collect()
    }

    /// A row's row_tile, and its place in it.
    fn place(&self, row: usize) -> (usize, usize) {
        let row_tiles = self.layout.row_tiles;
        let row_tile = (0..row_tiles.count)
            .find(|&row_tile| row_tiles.rows(row_tile).contains(&row))
            .expect("a row");
        (row_tile, row - row_tiles.rows(row_tile).start)
    }
}

/// Where some row_tiles go.
struct Memory<'a> {
    bytes: &'a mut [u8],
    scales: &'a mut [f32],
    outliers: &'a mut [f32],
}

impl<'a> Memory<'a> {
    fn new(((bytes, scales), outliers): ((&'a mut [u8], &'a mut [f32]), &'a mut [f32])) -> Self {
        Self {
            bytes,
            scales,
            outliers,
        }
    }
}

/// As many row_tiles as there is memory for.
struct Round<'a> {
    xs: Rows<'a>,
    matrix: &'a QuantizedView<'a>,
    layout: Layout,
    /// The first of them.
    row_tile: usize,
    memory: Memory<'a>,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Layout {
            row_tiles, depth, ..
        } = self.layout;
        let (kept, is_rotated) = (self.matrix.kept(), self.matrix.is_rotated());
        let bytes = self.memory.bytes.chunks_exact_mut(self.layout.bytes_len());
        let scales = self
            .memory
            .scales
            .chunks_exact_mut(self.layout.scales_len());
        let outliers = self
            .memory
            .outliers
            .chunks_exact_mut(self.layout.outliers_len());
        let mut aside = Group([0.0; SCALE_BLOCK]);
        for (index, ((bytes, scales), outliers)) in bytes.zip(scales).zip(outliers).enumerate() {
            for (within, row) in row_tiles.rows(self.row_tile + index).enumerate() {
                let xs = &self.xs.values[row * self.xs.stride..][..depth];
                for (channel, outlier) in self
                    .matrix
                    .channels()
                    .zip(outliers[within..].iter_mut().step_by(S::TILE_ROWS))
                {
                    *outlier = xs[channel];
                }
                let groups = bytes
                    .chunks_exact_mut(SCALE_BLOCK * S::TILE_ROWS)
                    .zip(kept.chunks_exact(SCALE_BLOCK));
                for (group, (xs, (bytes, kept))) in xs.chunks(SCALE_BLOCK).zip(groups).enumerate() {
                    let aside = &mut aside.0;
                    each_vector!(S, xs.len(), |at, _sum| {
                        let x = s.mul(s.load(&xs[at.clone()]), s.load(&kept[at.clone()]));
                        s.store(&mut aside[at], x);
                    });
                    aside[xs.len()..].fill(0.0);
                    if is_rotated {
                        rotate(s, &mut aside[..xs.len()]);
                    }
                    scales[group * S::TILE_ROWS + within] =
                        round(s, aside, &mut bytes[STEP * within..]);
                }
            }
        }
    }
}

/// Numbers of a group.
#[repr(align(64))]
struct Group([f32; SCALE_BLOCK]);

/// Rounds one group of one row, the bytes of each step a row_tile apart; returns the scale.
#[inline(always)]
fn round<S: Simd>(s: S, xs: &[f32; SCALE_BLOCK], bytes: &mut [u8]) -> f32 {
    let bytes = &mut bytes[..(SCALE_BLOCK - STEP) * S::TILE_ROWS + STEP];
    let zero = s.splat(0.0);
    let (mut largest, mut poison) = ([zero; 4], [zero; 4]);
    each_vector!(S, SCALE_BLOCK, |at, one| {
        let x = s.load(&xs[at]);
        largest[one] = s.max(s.abs(x), largest[one]);
        // What is not finite is NaN from here on; the largest passes over a NaN.
        poison[one] = s.mul_add(x, zero, poison[one]);
    });
    let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));
    let largest = s.max_lane(largest);
    let poison = s.sum(s.add(s.add(poison[0], poison[1]), s.add(poison[2], poison[3])));
    let scale = largest * (1.0 / LARGEST);
    // Zeros, or numbers so small that their scale is none, are all zeros.
    let inverse = if scale >= f32::MIN_POSITIVE {
        LARGEST / largest
    } else {
        0.0
    };
    let (factor, offset) = (s.splat(inverse), s.splat(OFFSET));
    for at in (0..SCALE_BLOCK).step_by(S::LANES) {
        let q = s.mul_add(s.load(&xs[at..][..S::LANES]), factor, offset);
        let to = &mut bytes[at / STEP * STEP * S::TILE_ROWS + at % STEP..][..S::LANES];
        // SAFETY: the slice has as many bytes.
        unsafe { s.store_u8_to(to.as_mut_ptr(), q) };
    }
    scale + poison
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction_set::InstructionSet;
    use crate::quantized::{QuantizedMatrix, QuantizedPart};
    use crate::random::numbers;

    /// Without weights: what rows are rounded for.
    fn empty(
        instructions: InstructionSet,
        depth: usize,
        channels: &[usize],
        is_rotated: bool,
    ) -> QuantizedMatrix {
        let part = QuantizedPart {
            rounded: &[],
            scales: &[],
            outliers: &[],
        };
        QuantizedMatrix::from_transposed(instructions, depth, &[part], channels, is_rotated)
    }

    #[test]
    fn numbers_are_within_half_a_step_and_zero_is_zero() {
        for instructions in InstructionSet::available() {
            for depth in [1, 5, 16, 100, 256, 300, 768] {
                let mut xs = numbers(3 * depth, 1);
                xs[0] = 0.0;
                let mut rows = QuantizedRows::default();
                rows.quantize(
                    Rows::new(&xs, 3, depth),
                    &empty(instructions, depth, &[], false).view(),
                    Threads::One,
                );
                for (i, x) in xs.iter().enumerate() {
                    let (scale, q) = rows.get(i / depth, i % depth);
                    let restored = scale * q as f32;
                    assert!(
                        (x - restored).abs() <= 0.500_1 * scale,
                        "{x} became {restored} on {instructions}"
                    );
                    assert!(*x != 0.0 || q == 0, "{instructions}");
                }
            }
        }
    }

    #[test]
    fn threads_and_instructions_with_one_rounding_give_the_same_bytes() {
        let (depth, xs) = (300, numbers(70 * 300, 3));
        let round = |instructions, threads| {
            let mut rows = QuantizedRows::default();
            rows.quantize(
                Rows::new(&xs, 70, depth),
                &empty(instructions, depth, &[7], true).view(),
                threads,
            );
            let all = (0..70 * depth).map(|i| rows.get(i / depth, i % depth));
            (
                all.collect::<Vec<_>>(),
                (0..70)
                    .flat_map(|row| rows.outliers_of(row))
                    .collect::<Vec<_>>(),
            )
        };
        let instruction_sets = InstructionSet::available();
        let first = round(instruction_sets[0], Threads::One);
        for instructions in instruction_sets {
            let alone = round(instructions, Threads::One);
            // Without fused multiply-adds `x / s + 128` is rounded twice.
            assert!(
                alone == first || instructions.to_string() == "portable",
                "{instructions}"
            );
            assert!(round(instructions, Threads::All) == alone, "{instructions}");
        }
    }

    #[test]
    fn outliers_stand_apart_and_take_no_part_in_the_scale() {
        for instructions in InstructionSet::available() {
            let mut rows = QuantizedRows::default();
            let xs = [1.0, 500.0, -0.5, 0.25];
            rows.quantize(
                Rows::new(&xs, 1, 4),
                &empty(instructions, 4, &[1], false).view(),
                Threads::One,
            );
            assert_eq!(rows.outliers_of(0), [500.0], "{instructions}");
            let found = [0, 1, 2, 3].map(|column| rows.get(0, column));
            assert_eq!(
                found,
                [127, 0, -64, 32].map(|q| (1.0 / LARGEST, q)),
                "{instructions}"
            );
        }
    }

    #[test]
    fn what_is_not_finite_is_not_hidden() {
        for instructions in InstructionSet::available() {
            let mut rows = QuantizedRows::default();
            // Too small for a scale: zeros, and not what their inverse would be.
            rows.quantize(
                Rows::new(&[1e-38, -1e-39], 1, 2),
                &empty(instructions, 2, &[], false).view(),
                Threads::One,
            );
            assert_eq!(
                [0, 1].map(|column| rows.get(0, column).1),
                [0, 0],
                "{instructions}"
            );
            for (bad, is_rotated) in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY]
                .into_iter()
                .flat_map(|bad| [(bad, false), (bad, true)])
            {
                let (mut rows, xs) = (QuantizedRows::default(), [1.0, bad, 3.0]);
                rows.quantize(
                    Rows::new(&xs, 1, 3),
                    &empty(instructions, 3, &[], is_rotated).view(),
                    Threads::One,
                );
                assert!(rows.get(0, 0).0.is_nan(), "{bad} on {instructions}");
            }
        }
    }
}

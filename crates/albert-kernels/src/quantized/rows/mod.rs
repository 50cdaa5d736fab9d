//! Quantizes activations to 8 bits at run time, row by row.

mod rounding;

use rayon::prelude::*;

use crate::aligned::Aligned;
use crate::gemm::{RowTiles, Rows, Threads, fit};
use crate::quantized::rows::rounding::{Memory, Quantize};
use crate::quantized::{QuantizedView, SCALE_BLOCK, STEP, STEP_WITH_SIGNS};

/// Quantized rows of A for products with a [`QuantizedMatrix`](crate::QuantizedMatrix). Calls reuse
/// the memory.
///
/// ```text
/// s = max |x| / 127,   q = round(x / s)
/// ```
///
/// for each row and each [`SCALE_BLOCK`] of its columns, which are rotated first if the matrix is.
/// Outliers are 0 in the integers and are stored separately in f32.
///
/// The layout follows the micro-kernel: values that a tile reads together are stored together. For
/// each step of a few columns, a row tile holds the bytes of one row after another.
///
/// The form of the bytes depends on the instruction set. With a dot product of bytes they are `q +
/// 128`, which the product corrects with a sum over each column of B. Without one they are `|q|`
/// and a sign mask, because `vpmaddubsw` would saturate with larger bytes:
///
/// ```text
/// Σ q r = Σ |q| (r ⊕ m) + Σ_{q < 0} |q|,   m = -1 where q < 0, else 0;   r ⊕ -1 = -r - 1
/// ```
///
/// The last sum only depends on the row. Either way the sums are exact, so all instruction sets
/// agree.
#[derive(Default)]
pub struct QuantizedRows {
    layout: Layout,
    /// For each row tile, for each step, the bytes of each row.
    bytes: Aligned<u8>,
    /// `Σ_{q < 0} |q|` for each row of each scale block of a row tile.
    offsets: Aligned<i32>,
    /// For each scale block, the scale of each row of a row tile.
    scales: Aligned<f32>,
    /// For each outlier, the value of each row of a row tile.
    outliers: Aligned<f32>,
    /// The columns that are outliers.
    channels: Vec<usize>,
}

/// The layout of a row tile.
#[derive(Debug, Clone, Copy)]
struct Layout {
    row_tiles: RowTiles,
    rows: usize,
    depth: usize,
    /// The number of rows in a row tile.
    tile_rows: usize,
    /// The number of outliers in a row.
    outliers: usize,
    sign_magnitude: bool,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            row_tiles: RowTiles::new(0, 1),
            rows: 0,
            depth: 0,
            tile_rows: 1,
            outliers: 0,
            sign_magnitude: false,
        }
    }
}

impl Layout {
    fn scale_blocks(&self) -> usize {
        self.depth.div_ceil(SCALE_BLOCK)
    }

    fn bytes_len(&self) -> usize {
        let steps = self.scale_blocks() * (SCALE_BLOCK / QuantizedRows::step(self.sign_magnitude));
        steps * QuantizedRows::row_step(self.sign_magnitude) * self.tile_rows
    }

    fn scales_len(&self) -> usize {
        self.scale_blocks() * self.tile_rows
    }

    /// Returns the number of outlier values, at least one per row, because slices cannot be split
    /// into chunks of length 0.
    fn outliers_len(&self) -> usize {
        self.outliers.max(1) * self.tile_rows
    }
}

/// The number of row tiles that a thread takes at a time.
const ROW_TILES_AT_ONCE: usize = 4;

impl QuantizedRows {
    /// Quantizes rows for products with `matrix`.
    ///
    /// A value that is not finite makes its row of the product NaN.
    ///
    /// # Shapes
    /// - `xs`: `(M, K)`, `matrix`: `(K, N)`
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn quantize(&mut self, xs: Rows<'_>, matrix: &QuantizedView<'_>, threads: Threads) {
        let (depth, instructions) = (matrix.submatrix().depth(), matrix.instruction_set());
        assert!(
            xs.count == 0 || fit(xs.values, xs.count, xs.stride, depth),
            "{} rows of {depth}",
            xs.count
        );
        // The rows only count once their memory is allocated.
        self.layout = Layout::default();
        self.channels.clear();
        self.channels.extend(matrix.channels());
        let layout = Layout {
            row_tiles: RowTiles::new(xs.count, instructions.int8_tile_rows()),
            rows: xs.count,
            depth,
            tile_rows: instructions.int8_tile_rows(),
            outliers: self.channels.len(),
            sign_magnitude: instructions.sign_magnitude(),
        };
        let of_row_tiles = |len: usize| {
            let count = layout.row_tiles.count;
            count.checked_mul(len).expect("rows that fit into memory")
        };
        self.bytes.resize(of_row_tiles(layout.bytes_len()));
        self.offsets.resize(of_row_tiles(layout.scales_len()));
        self.scales.resize(of_row_tiles(layout.scales_len()));
        self.outliers.resize(of_row_tiles(layout.outliers_len()));
        self.layout = layout;

        let portion = |(index, memory): (usize, Memory<'_>)| {
            instructions.run_integer(Quantize {
                xs,
                matrix,
                layout,
                first_row_tile: index * ROW_TILES_AT_ONCE,
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
                let portions = self.bytes.chunks_mut(bytes);
                let portions = portions.zip(self.offsets.chunks_mut(scales));
                let portions = portions.zip(self.scales.chunks_mut(scales));
                let portions = portions.zip(self.outliers.chunks_mut(outliers));
                portions.map(Memory::new).enumerate().for_each(portion);
            }
            Threads::All => {
                let portions = self.bytes.par_chunks_mut(bytes);
                let portions = portions.zip(self.offsets.par_chunks_mut(scales));
                let portions = portions.zip(self.scales.par_chunks_mut(scales));
                let portions = portions.zip(self.outliers.par_chunks_mut(outliers));
                portions.map(Memory::new).enumerate().for_each(portion);
            }
        }
    }

    /// Returns the number of columns in one step of the micro-kernel.
    #[inline(always)]
    pub(crate) const fn step(sign_magnitude: bool) -> usize {
        if sign_magnitude {
            STEP_WITH_SIGNS
        } else {
            STEP
        }
    }

    /// Returns the number of bytes of one row in one step: its integers, or its magnitudes followed
    /// by its sign masks.
    #[inline(always)]
    pub(crate) const fn row_step(sign_magnitude: bool) -> usize {
        let step = Self::step(sign_magnitude);
        if sign_magnitude { 2 * step } else { step }
    }

    pub(crate) fn rows(&self) -> usize {
        self.layout.rows
    }

    pub(crate) fn depth(&self) -> usize {
        self.layout.depth
    }

    /// Returns the bytes of a row tile: for each step, those of one row after another.
    #[inline(always)]
    pub(crate) fn bytes(&self, row_tile: usize) -> &[u8] {
        &self.bytes[row_tile * self.layout.bytes_len()..][..self.layout.bytes_len()]
    }

    /// Returns, for each scale block, the offset of each row of a row tile.
    #[inline(always)]
    pub(crate) fn offsets(&self, row_tile: usize) -> &[i32] {
        &self.offsets[row_tile * self.layout.scales_len()..][..self.layout.scales_len()]
    }

    /// For each scale block, the scale of each row of a row tile.
    #[inline(always)]
    pub(crate) fn scales(&self, row_tile: usize) -> &[f32] {
        &self.scales[row_tile * self.layout.scales_len()..][..self.layout.scales_len()]
    }

    /// For each outlier, the value of each row of a row tile.
    #[inline(always)]
    pub(crate) fn outliers(&self, row_tile: usize) -> &[f32] {
        &self.outliers[row_tile * self.layout.outliers_len()..][..self.layout.outliers_len()]
    }

    /// Returns the columns that are outliers.
    pub(crate) fn channels(&self) -> &[usize] {
        &self.channels
    }
}

#[cfg(test)]
impl QuantizedRows {
    /// Returns the scale and the integer of a value.
    pub(crate) fn get(&self, row: usize, column: usize) -> (f32, i32) {
        let (row_tile, within) = self.place(row);
        let Layout {
            tile_rows,
            sign_magnitude,
            ..
        } = self.layout;
        let columns = Self::step(sign_magnitude);
        let step = (column / columns * tile_rows + within) * Self::row_step(sign_magnitude);
        let bytes = &self.bytes(row_tile)[step + column % columns..];
        let integer = if sign_magnitude {
            let magnitude = i32::from(bytes[0]);
            if bytes[columns] == 0 {
                magnitude
            } else {
                -magnitude
            }
        } else {
            i32::from(bytes[0]) - i32::from(rounding::OFFSET)
        };
        (
            self.scales(row_tile)[column / SCALE_BLOCK * tile_rows + within],
            integer,
        )
    }

    fn outliers_of(&self, row: usize) -> Vec<f32> {
        let (row_tile, within) = self.place(row);
        let outliers = self.outliers(row_tile)[within..]
            .iter()
            .step_by(self.layout.tile_rows);
        outliers.take(self.layout.outliers).copied().collect()
    }

    /// Returns the row tile of a row, and the row's index in it.
    fn place(&self, row: usize) -> (usize, usize) {
        let row_tiles = self.layout.row_tiles;
        let row_tile = (0..row_tiles.count)
            .find(|&row_tile| row_tiles.rows(row_tile).contains(&row))
            .expect("a row");
        (row_tile, row - row_tiles.rows(row_tile).start)
    }
}

#[cfg(test)]
mod tests {
    use super::rounding::LARGEST;
    use super::*;
    use crate::instruction_set::InstructionSet;
    use crate::quantized::{QuantizedMatrix, QuantizedPart};
    use crate::random::numbers;

    /// Returns a matrix of zeros to quantize rows for.
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
            // Values too small for a scale become zeros, because their inverse would be infinite.
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

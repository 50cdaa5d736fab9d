//! A matrix of 8-bit weights, packed once for the micro-kernel.

mod view;

use std::fmt;

use crate::aligned::Aligned;
use crate::gemm::PackedMatrix;
use crate::gemm::Submatrix;
use crate::instruction_set::InstructionSet;
use crate::quantized::{SCALE_BLOCK, STEP, unrotate_weights};

pub use view::QuantizedView;

/// The weights of a dense layer, `w ≈ scale · rounded`, as returned by
/// [`quantize_weights`](crate::quantize_weights), rotated or not, and the weights of its outliers.
#[derive(Debug, Clone, Copy)]
pub struct QuantizedPart<'a> {
    /// `(N, K)`, 0 at outliers.
    pub rounded: &'a [i8],
    /// `(N, ⌈K / SCALE_BLOCK⌉)`
    pub scales: &'a [f32],
    /// `(N, O)`
    pub outliers: &'a [f32],
}

/// A K×N matrix of 8-bit weights in column panels, with a few of its rows in f32.
///
/// A panel is as wide as that of a [`PackedMatrix`]. It holds four rows at a time, with the four
/// weights of a column next to each other, as dot product instructions for bytes need them.
///
/// ```text
/// B (K, N)  →  ⌈N / W⌉ panels (K / 4, W, 4), K padded to whole steps
/// ```
#[derive(Clone)]
pub struct QuantizedMatrix {
    instructions: InstructionSet,
    depth: usize,
    columns: usize,
    panel_width: usize,
    panels: Aligned<i8>,
    /// For each scale block of rows, one scale per column of all panels.
    scales: Aligned<f32>,
    /// The integers that cancel the offset of 128 in A, `-128 Σ r`, in the same layout.
    offsets: Aligned<i32>,
    is_rotated: bool,
    /// The rows that are outliers, in ascending order.
    channels: Vec<usize>,
    /// The number of outliers before each scale block, and in total.
    channels_before: Vec<usize>,
    /// 0 for a row that is an outlier, else 1; `(K)`, padded to whole scale blocks.
    kept: Aligned<f32>,
    /// The weights of the outliers, `(O, N)`.
    outliers: Option<PackedMatrix>,
}

impl QuantizedMatrix {
    /// Packs the transposed weights of dense layers with the same input, side by side.
    ///
    /// # Shapes
    /// - `parts`: each `(Nᵢ, K)`, K is `depth`
    /// - `channels`: the O outliers, a subset of `0..K` in ascending order
    /// - `is_rotated`: true if the weights were rotated by
    ///   [`rotate_weights`](crate::rotate_weights) before rounding; A is then rotated too
    /// - returns `(K, N)`, N the sum of all Nᵢ
    ///
    /// # Panics
    /// If lengths do not match, channels are not ascending or not below `depth`, or `depth` is 0.
    pub fn from_transposed(
        instructions: InstructionSet,
        depth: usize,
        parts: &[QuantizedPart<'_>],
        channels: &[usize],
        is_rotated: bool,
    ) -> Self {
        let groups = depth.div_ceil(SCALE_BLOCK);
        let fits = |part: &QuantizedPart<'_>| {
            let rows = part.rounded.len() / depth.max(1);
            part.rounded.len() == rows * depth
                && part.scales.len() == rows * groups
                && part.outliers.len() == rows * channels.len()
        };
        assert!(
            depth > 0 && parts.iter().all(fits),
            "rows of {depth} weights, scales and outliers for each"
        );
        let ascend = channels.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(
            ascend && channels.last().is_none_or(|&last| last < depth),
            "ascending outliers below {depth}"
        );
        let before =
            |group: usize| channels.partition_point(|&channel| channel < group * SCALE_BLOCK);
        let rows: Vec<&[i8]> = parts
            .iter()
            .flat_map(|part| part.rounded.chunks_exact(depth))
            .collect();
        let (columns, width) = (rows.len(), instructions.panel_width());
        let mut kept = Aligned::zeros(groups * SCALE_BLOCK);
        kept[..depth].fill(1.0);
        channels.iter().for_each(|&channel| kept[channel] = 0.0);

        let padded = columns.next_multiple_of(width);
        let panel_len = depth.next_multiple_of(STEP) * width;
        let mut panels = Aligned::zeros(columns.div_ceil(width) * panel_len);
        let (mut scales, mut offsets) = (
            Aligned::zeros(groups * padded),
            Aligned::zeros(groups * padded),
        );
        for (column, row) in rows.iter().enumerate() {
            let panel = &mut panels[column / width * panel_len..][..panel_len];
            let at = column % width * 4;
            let (quads, rest) = row.as_chunks::<4>();
            let mut steps = panel.chunks_exact_mut(4 * width);
            for (quad, step) in quads.iter().zip(&mut steps) {
                step[at..at + 4].copy_from_slice(quad);
            }
            if let Some(step) = steps.next() {
                step[at..at + rest.len()].copy_from_slice(rest);
            }
            for (group, block) in row.chunks(SCALE_BLOCK).enumerate() {
                let sum: i32 = block.iter().map(|&weight| i32::from(weight)).sum();
                offsets[group * padded + column] = -128 * sum;
            }
        }
        let of_parts = parts
            .iter()
            .flat_map(|part| part.scales.chunks_exact(groups));
        for (column, row) in of_parts.enumerate() {
            row.iter()
                .enumerate()
                .for_each(|(group, scale)| scales[group * padded + column] = *scale);
        }
        let outliers: Vec<&[f32]> = parts.iter().map(|part| part.outliers).collect();
        let outliers = (!channels.is_empty())
            .then(|| PackedMatrix::from_transposed(instructions, channels.len(), &outliers));
        Self {
            instructions,
            depth,
            columns,
            panel_width: width,
            panels,
            scales,
            offsets,
            is_rotated,
            channels: channels.to_vec(),
            channels_before: (0..=groups).map(before).collect(),
            kept,
            outliers,
        }
    }

    /// Returns the transposed matrix in f32, `(N, K)`, in row-major order, with the rotation
    /// undone.
    pub fn to_transposed(&self) -> Vec<f32> {
        let (width, panel_len) = (self.panel_width, self.panel_len());
        let mut rows = vec![0.0; self.columns * self.depth];
        for (column, row) in rows.chunks_exact_mut(self.depth).enumerate() {
            let panel = &self.panels[column / width * panel_len..][..panel_len];
            for (k, x) in row.iter_mut().enumerate() {
                let scale = self.scales[k / SCALE_BLOCK * self.padded_columns() + column];
                *x = f32::from(panel[(k / 4 * width + column % width) * 4 + k % 4]) * scale;
            }
        }
        if self.is_rotated {
            unrotate_weights(&mut rows, self.depth);
        }
        if let Some(outliers) = &self.outliers {
            let outliers = outliers.to_transposed();
            let outliers = outliers.chunks_exact(self.channels.len());
            for (row, outliers) in rows.chunks_exact_mut(self.depth).zip(outliers) {
                self.channels
                    .iter()
                    .zip(outliers)
                    .for_each(|(&channel, x)| row[channel] = *x);
            }
        }
        rows
    }

    /// Returns the instruction set that the matrix is packed for.
    pub fn instruction_set(&self) -> InstructionSet {
        self.instructions
    }

    /// Returns K.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Returns N.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Returns the number of columns of a panel.
    pub fn panel_width(&self) -> usize {
        self.panel_width
    }

    /// Returns a view of the whole matrix.
    pub fn view(&self) -> QuantizedView<'_> {
        let submatrix = Submatrix::whole([self.depth, self.columns], self.panel_width);
        QuantizedView {
            matrix: self,
            submatrix,
        }
    }

    fn padded_columns(&self) -> usize {
        self.columns.next_multiple_of(self.panel_width)
    }

    fn panel_len(&self) -> usize {
        self.depth.next_multiple_of(STEP) * self.panel_width
    }
}

impl fmt::Debug for QuantizedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            depth,
            columns,
            channels,
            instructions,
            ..
        } = self;
        write!(
            f,
            "QuantizedMatrix({depth} × {columns}, {} outliers, {instructions})",
            channels.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantized::{dequantize_weights, quantize_weights, rotate_weights};
    use crate::random::numbers;

    #[test]
    fn unpacking_gives_the_parts_back() {
        for instructions in InstructionSet::available() {
            for (depth, counts, channels) in [
                (1, [1, 2], vec![]),
                (7, [3, 5], vec![6]),
                (300, [33, 40], vec![0, 256, 299]),
            ] {
                let mut weights = numbers(depth * (counts[0] + counts[1]), 1);
                let mut outliers = Vec::new();
                for row in weights.chunks_mut(depth) {
                    outliers.extend(
                        channels
                            .iter()
                            .map(|&channel: &usize| std::mem::take(&mut row[channel])),
                    );
                }
                for is_rotated in [false, true] {
                    let mut weights = weights.clone();
                    if is_rotated {
                        rotate_weights(&mut weights, depth);
                    }
                    let (rounded, scales) = quantize_weights(&weights, depth);
                    let (r, s, o) = (
                        rounded.split_at(depth * counts[0]),
                        scales.split_at(counts[0] * depth.div_ceil(SCALE_BLOCK)),
                        outliers.split_at(counts[0] * channels.len()),
                    );
                    let parts = [
                        QuantizedPart {
                            rounded: r.0,
                            scales: s.0,
                            outliers: o.0,
                        },
                        QuantizedPart {
                            rounded: r.1,
                            scales: s.1,
                            outliers: o.1,
                        },
                    ];
                    let matrix = QuantizedMatrix::from_transposed(
                        instructions,
                        depth,
                        &parts,
                        &channels,
                        is_rotated,
                    );
                    let mut expected = dequantize_weights(&rounded, &scales, depth);
                    if is_rotated {
                        unrotate_weights(&mut expected, depth);
                    }
                    let rows = expected
                        .chunks_mut(depth)
                        .zip(outliers.chunks(channels.len().max(1)));
                    for (row, outliers) in rows {
                        channels
                            .iter()
                            .zip(outliers)
                            .for_each(|(&channel, x)| row[channel] = *x);
                    }
                    assert_eq!(
                        matrix.to_transposed(),
                        expected,
                        "{instructions} {depth} {counts:?}"
                    );
                }
            }
        }
    }
}

//! Packed matrices that are refilled, with weights after each step and with activations in each
//! layer.

use crate::aligned::Aligned;
use crate::gemm::PackedMatrix;
use crate::gemm::{Rows, fit};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

impl PackedMatrix {
    /// Creates an empty matrix, to be refilled.
    pub fn empty(instructions: InstructionSet) -> Self {
        Self {
            instructions,
            depth: 0,
            columns: 0,
            panel_width: instructions.panel_width(),
            panels: Aligned::default(),
        }
    }

    /// Packs a matrix. Memory is only allocated if the matrix is larger than ever before.
    ///
    /// # Shapes
    /// - `rows`: `(K, N)`; N is `columns`
    ///
    /// # Panics
    /// If a row is shorter than `columns`.
    pub fn refill(&mut self, rows: Rows<'_>, columns: usize) {
        assert!(
            fit(rows.values, rows.count, rows.stride, columns),
            "{} rows of {columns} values",
            rows.count
        );
        self.reserve(rows.count, columns);
        self.instructions.run(Copy { matrix: self, rows });
    }

    /// Packs the transpose of a matrix. Memory is only allocated if the matrix is larger than ever
    /// before.
    ///
    /// # Shapes
    /// - `rows`: `(N, K)`, as checkpoints store weights; K is `depth`
    ///
    /// # Panics
    /// If a row is shorter than `depth`.
    pub fn refill_transposed(&mut self, rows: Rows<'_>, depth: usize) {
        assert!(
            fit(rows.values, rows.count, rows.stride, depth),
            "{} rows of {depth} values",
            rows.count
        );
        self.reserve(depth, rows.count);
        self.instructions.run(Transpose { matrix: self, rows });
    }

    fn reserve(&mut self, depth: usize, columns: usize) {
        (self.depth, self.columns) = (depth, columns);
        let width = self.panel_width;
        self.panels.resize(columns.div_ceil(width) * width * depth);
    }
}

struct Copy<'a> {
    matrix: &'a mut PackedMatrix,
    rows: Rows<'a>,
}

impl Kernel for Copy<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        /// The number of rows that are read while their parts of all panels stay in L1.
        const TOGETHER: usize = 8;
        let width = S::PANEL_VECTORS * S::LANES;
        let (depth, columns) = (self.matrix.depth, self.matrix.columns);
        let whole = columns / width;
        for start in (0..depth).step_by(TOGETHER) {
            let together = start..(start + TOGETHER).min(depth);
            for panel in 0..columns.div_ceil(width) {
                for d in together.clone() {
                    let row = &self.rows.values[d * self.rows.stride..][..columns];
                    let from = &row[panel * width..];
                    let to = &mut self.matrix.panels[(panel * depth + d) * width..][..width];
                    if panel < whole {
                        for v in 0..S::PANEL_VECTORS {
                            let at = v * S::LANES..(v + 1) * S::LANES;
                            s.store(&mut to[at.clone()], s.load(&from[at]));
                        }
                    } else {
                        to[..from.len()].copy_from_slice(from);
                        to[from.len()..].fill(0.0);
                    }
                }
            }
        }
    }
}

struct Transpose<'a> {
    matrix: &'a mut PackedMatrix,
    rows: Rows<'a>,
}

impl Kernel for Transpose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        /// The side of the squares that are transposed in registers.
        const SIDE: usize = 4;
        let width = S::PANEL_VECTORS * S::LANES;
        let (depth, columns) = (self.matrix.depth, self.matrix.columns);
        if depth == 0 {
            return;
        }
        let row = |column: usize| &self.rows.values[column * self.rows.stride..][..depth];
        let panels = self.matrix.panels.chunks_exact_mut(width * depth);
        for (index, panel) in panels.enumerate() {
            let first = index * width;
            let count = width.min(columns - first);
            if count < width {
                panel.fill(0.0);
            }
            let whole = count / SIDE * SIDE;
            for column in (0..whole).step_by(SIDE) {
                let rows = [0, 1, 2, 3].map(|i| row(first + column + i).as_chunks::<SIDE>());
                for d in 0..depth / SIDE {
                    let square: [[f32; SIDE]; SIDE] = rows.map(|(chunks, _)| chunks[d]);
                    for i in 0..SIDE {
                        let to = &mut panel[(SIDE * d + i) * width + column..][..SIDE];
                        to.copy_from_slice(&square.map(|row| row[i]));
                    }
                }
                for (i, (_, rest)) in rows.into_iter().enumerate() {
                    for (d, x) in (depth / SIDE * SIDE..depth).zip(rest) {
                        panel[d * width + column + i] = *x;
                    }
                }
            }
            for column in whole..count {
                for (d, x) in row(first + column).iter().enumerate() {
                    panel[d * width + column] = *x;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    #[test]
    fn a_refilled_matrix_equals_one_packed_anew() {
        for instructions in InstructionSet::available() {
            let mut matrix = PackedMatrix::empty(instructions);
            for (n, k, stride) in [
                (1, 1, 1),
                (50, 7, 9),
                (33, 300, 300),
                (96, 64, 70),
                (3, 2, 5),
            ] {
                let rows = numbers(n * stride, 1);
                let weight: Vec<f32> = rows
                    .chunks(stride)
                    .flat_map(|row| row[..k].to_vec())
                    .collect();
                let expected = PackedMatrix::from_transposed(instructions, k, &[&weight]);
                matrix.refill_transposed(Rows::new(&rows, n, stride), k);
                assert_eq!(
                    matrix.to_transposed(),
                    expected.to_transposed(),
                    "{instructions} {n}×{k}"
                );
                assert_eq!(
                    &matrix.panels[..],
                    &expected.panels[..],
                    "{instructions} {n}×{k}"
                );

                let transposed: Vec<f32> =
                    (0..k * n).map(|i| weight[(i % n) * k + i / n]).collect();
                matrix.refill(Rows::new(&transposed, k, n), n);
                assert_eq!(
                    &matrix.panels[..],
                    &expected.panels[..],
                    "{instructions} {n}×{k}"
                );
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows of 3 values")]
    fn short_rows_are_refused() {
        let mut matrix = PackedMatrix::empty(InstructionSet::available()[0]);
        matrix.refill(Rows::new(&[0.0; 4], 2, 2), 3);
    }
}

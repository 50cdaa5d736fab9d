//! Packs weights into panels, once, for the micro-kernel.

use std::fmt;
use std::ops::Range;

use crate::aligned::Aligned;
use crate::gemm::Submatrix;
use crate::instruction_set::InstructionSet;

/// A K×N matrix in column panels.
///
/// A panel is as wide as a tile (NR) and holds its K rows one after another, so that the
/// micro-kernel reads it sequentially. The last panel is padded with zeros.
///
/// ```text
/// B (K, N)  →  ⌈N / W⌉ panels (K, W)
/// ```
#[derive(Clone)]
pub struct PackedMatrix {
    pub(crate) instructions: InstructionSet,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) panel_width: usize,
    pub(crate) panels: Aligned,
}

impl PackedMatrix {
    /// Packs the transposed weights of dense layers, side by side.
    ///
    /// # Shapes
    /// - `parts`: each `(Nᵢ, K)` in row-major order, as in checkpoints; K is `depth`
    /// - returns `(K, N)`, N the sum of all Nᵢ
    ///
    /// # Panics
    /// If a part's length is not a multiple of `depth`, or `depth` is 0.
    pub fn from_transposed(instructions: InstructionSet, depth: usize, parts: &[&[f32]]) -> Self {
        let fits = |part: &&[f32]| part.len().is_multiple_of(depth);
        assert!(
            depth > 0 && parts.iter().all(fits),
            "rows of {depth} values"
        );
        let rows: Vec<&[f32]> = parts
            .iter()
            .flat_map(|part| part.chunks_exact(depth))
            .collect();
        let width = instructions.panel_width();
        let mut panels = Aligned::zeros(rows.len().div_ceil(width) * width * depth);
        for (rows, panel) in rows
            .chunks(width)
            .zip(panels.chunks_exact_mut(width * depth))
        {
            // Copies square blocks that fit L1: one side is read and the other written by whole
            // cache lines.
            for start in (0..depth).step_by(width) {
                for (column, row) in rows.iter().enumerate() {
                    let square = panel[start * width..].chunks_exact_mut(width);
                    for (x, packed) in row[start..].iter().zip(square).take(width) {
                        packed[column] = *x;
                    }
                }
            }
        }
        Self {
            instructions,
            depth,
            columns: rows.len(),
            panel_width: width,
            panels,
        }
    }

    /// Returns the transposed matrix, `(N, K)`, in row-major order.
    pub fn to_transposed(&self) -> Vec<f32> {
        let mut rows = vec![0.0; self.columns * self.depth];
        for (column, row) in rows.chunks_exact_mut(self.depth).enumerate() {
            let panel = self.panel(column / self.panel_width());
            let numbers = panel[column % self.panel_width()..]
                .iter()
                .step_by(self.panel_width());
            row.iter_mut()
                .zip(numbers)
                .for_each(|(x, packed)| *x = *packed);
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
    pub fn view(&self) -> PackedView<'_> {
        let submatrix = Submatrix::whole([self.depth, self.columns], self.panel_width);
        PackedView {
            matrix: self,
            submatrix,
        }
    }

    /// Returns one panel, row by row.
    pub(crate) fn panel(&self, index: usize) -> &[f32] {
        let len = self.panel_width() * self.depth;
        &self.panels[index * len..][..len]
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "PackedMatrix({} × {}, {})",
            self.depth, self.columns, self.instructions
        )
    }
}

/// A borrowed rectangle of a packed matrix.
#[derive(Debug, Clone)]
pub struct PackedView<'a> {
    matrix: &'a PackedMatrix,
    submatrix: Submatrix,
}

impl<'a> PackedView<'a> {
    /// Returns a view of some rows.
    ///
    /// # Panics
    /// If the range exceeds the view.
    pub fn rows(self, rows: Range<usize>) -> Self {
        Self {
            submatrix: self.submatrix.rows(rows),
            ..self
        }
    }

    /// Returns a view of some columns, which start at a panel.
    ///
    /// # Panics
    /// If the range exceeds the view, or starts within a panel.
    pub fn columns(self, columns: Range<usize>) -> Self {
        Self {
            submatrix: self.submatrix.columns(columns),
            ..self
        }
    }

    pub(crate) fn instruction_set(&self) -> InstructionSet {
        self.matrix.instructions
    }

    pub(crate) fn submatrix(&self) -> &Submatrix {
        &self.submatrix
    }

    /// Returns one panel from row `depth` on, row by row.
    #[inline(always)]
    pub(crate) fn panel_rows(&self, panel: usize, depth: usize) -> &'a [f32] {
        let width = self.matrix.panel_width();
        let (rows, panel) = (
            &self.submatrix.rows,
            self.matrix.panel(self.submatrix.first_panel() + panel),
        );
        &panel[(rows.start + depth) * width..rows.end * width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpacking_gives_the_parts_back() {
        for instructions in InstructionSet::available() {
            for (depth, counts) in [(1, [1, 0]), (3, [2, 5]), (40, [33, 32]), (100, [7, 90])] {
                let numbers: Vec<f32> = (0..depth * (counts[0] + counts[1]))
                    .map(|i| i as f32)
                    .collect();
                let (first, second) = numbers.split_at(depth * counts[0]);
                let packed = PackedMatrix::from_transposed(instructions, depth, &[first, second]);
                assert_eq!(packed.columns(), counts[0] + counts[1]);
                assert_eq!(
                    packed.to_transposed(),
                    numbers,
                    "{instructions} {depth} {counts:?}"
                );
            }
        }
    }
}

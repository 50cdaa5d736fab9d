//! Orthogonalizes the updates of Muon by a Newton-Schulz iteration.

use crate::aligned::Aligned;
use crate::gemm::PackedMatrix;
use crate::gemm::product;
use crate::gemm::{Epilogue, Threads};
use crate::gemm::{Rows, RowsMut};
use crate::instruction_set::InstructionSet;
use crate::training::elementwise::{add_scaled, scale, square_sum};

/// The coefficients of the quintic, which increase small singular values quickly; all end between
/// about 0.7 and 1.2.
///
/// Source: K. Jordan et al. 2024, "Muon"; `torch.optim.Muon`.
const COEFFICIENTS: [f32; 3] = [3.4445, -4.7750, 2.0315];

/// The lower bound of the norm.
const EPSILON: f32 = 1e-7;

/// Makes a matrix nearly orthogonal: its singular values become about 1, and its singular vectors
/// do not change.
///
/// ```text
/// X ← X / ‖X‖;   X ← a X + (b A + c A²) X,  A = X Xᵀ,  repeated `steps` times
/// ```
#[derive(Debug)]
pub struct NewtonSchulz {
    instructions: InstructionSet,
    packed: PackedMatrix,
    transposed: Aligned,
    /// A
    gram: Aligned,
    /// b A + c A²
    polynomial: Aligned,
    next: Aligned,
}

impl NewtonSchulz {
    /// Creates empty memory, which grows on first use.
    pub fn new(instructions: InstructionSet) -> Self {
        Self {
            instructions,
            packed: PackedMatrix::empty(instructions),
            transposed: Aligned::default(),
            gram: Aligned::default(),
            polynomial: Aligned::default(),
            next: Aligned::default(),
        }
    }

    /// Replaces a matrix by its orthogonalization.
    ///
    /// # Shapes
    /// - `xs`: `(rows, columns)`
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn orthogonalize(
        &mut self,
        xs: &mut [f32],
        rows: usize,
        columns: usize,
        steps: usize,
        threads: Threads,
    ) {
        assert!(xs.len() == rows * columns, "{rows} × {columns} values");
        if xs.is_empty() {
            return;
        }
        let norm = square_sum(self.instructions, xs).sqrt() as f32;
        scale(self.instructions, norm.max(EPSILON).recip(), xs);
        if rows <= columns {
            return self.iterate(xs, rows, columns, steps, threads);
        }
        // A has the size of the smaller side.
        let mut turned = std::mem::take(&mut self.transposed);
        turned.resize(xs.len());
        transpose(xs, rows, columns, &mut turned);
        self.iterate(&mut turned, columns, rows, steps, threads);
        transpose(&turned, columns, rows, xs);
        self.transposed = turned;
    }

    fn iterate(
        &mut self,
        xs: &mut [f32],
        rows: usize,
        columns: usize,
        steps: usize,
        threads: Threads,
    ) {
        let [a, b, c] = COEFFICIENTS;
        self.gram.resize(rows * rows);
        self.polynomial.resize(rows * rows);
        self.next.resize(rows * columns);
        for _ in 0..steps {
            self.packed
                .refill_transposed(Rows::new(xs, rows, columns), columns);
            let gram = RowsMut::new(&mut self.gram, rows, rows);
            product(
                Rows::new(xs, rows, columns),
                &self.packed.view(),
                gram,
                Epilogue::Store,
                threads,
            );
            self.packed.refill(Rows::new(&self.gram, rows, rows), rows);
            let squared = RowsMut::new(&mut self.polynomial, rows, rows);
            let gram = Rows::new(&self.gram, rows, rows);
            product(gram, &self.packed.view(), squared, Epilogue::Store, threads);
            scale(self.instructions, c, &mut self.polynomial);
            add_scaled(self.instructions, b, &self.gram, &mut self.polynomial);
            self.packed.refill(Rows::new(xs, rows, columns), columns);
            let next = RowsMut::new(&mut self.next, rows, columns);
            let polynomial = Rows::new(&self.polynomial, rows, rows);
            product(
                polynomial,
                &self.packed.view(),
                next,
                Epilogue::Store,
                threads,
            );
            add_scaled(self.instructions, a, xs, &mut self.next);
            xs.copy_from_slice(&self.next);
        }
    }
}

/// Transposes `(rows, columns)` to `(columns, rows)`.
fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    for (row, from) in from.chunks_exact(columns).enumerate() {
        for (column, x) in from.iter().enumerate() {
            to[column * rows + row] = *x;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 products of up to 40 terms, five times in sequence.
    const TOLERANCE: f64 = 1e-4;

    /// Computes the iteration in f64, by plain loops.
    fn exact(xs: &[f32], rows: usize, columns: usize, steps: usize) -> Vec<f64> {
        let norm = xs.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let mut xs: Vec<f64> = xs.iter().map(|x| f64::from(*x) / norm).collect();
        let [a, b, c] = COEFFICIENTS.map(f64::from);
        for _ in 0..steps {
            let dot = |i: usize, j: usize| -> f64 {
                (0..columns)
                    .map(|k| xs[i * columns + k] * xs[j * columns + k])
                    .sum()
            };
            let gram: Vec<f64> = (0..rows * rows)
                .map(|at| dot(at / rows, at % rows))
                .collect();
            let polynomial: Vec<f64> = (0..rows * rows)
                .map(|at| {
                    let (i, j) = (at / rows, at % rows);
                    let square: f64 = (0..rows)
                        .map(|k| gram[i * rows + k] * gram[k * rows + j])
                        .sum();
                    b * gram[at] + c * square
                })
                .collect();
            xs = (0..rows * columns)
                .map(|at| {
                    let (i, j) = (at / columns, at % columns);
                    let sum: f64 = (0..rows)
                        .map(|k| polynomial[i * rows + k] * xs[k * columns + j])
                        .sum();
                    a * xs[at] + sum
                })
                .collect();
        }
        xs
    }

    #[test]
    fn five_steps_are_those_of_the_formula_and_singular_values_are_near_one() {
        for instructions in InstructionSet::available() {
            for (rows, columns) in [(1, 5), (7, 20), (16, 16), (9, 40)] {
                let xs = numbers(rows * columns, 1);
                let expected = exact(&xs, rows, columns, 5);
                let mut found = xs.clone();
                NewtonSchulz::new(instructions).orthogonalize(
                    &mut found,
                    rows,
                    columns,
                    5,
                    Threads::One,
                );
                for (expected, found) in expected.iter().zip(&found) {
                    assert!(
                        (expected - f64::from(*found)).abs() <= TOLERANCE,
                        "{instructions}"
                    );
                }
                // The transposed matrix gives the transposed result.
                let mut turned = vec![0.0; xs.len()];
                transpose(&xs, rows, columns, &mut turned);
                NewtonSchulz::new(instructions).orthogonalize(
                    &mut turned,
                    columns,
                    rows,
                    5,
                    Threads::One,
                );
                let mut back = vec![0.0; xs.len()];
                transpose(&turned, columns, rows, &mut back);
                for (back, found) in back.iter().zip(&found) {
                    assert!((back - found).abs() <= 1e-5, "{instructions}");
                }
            }
        }
    }
}

//! Muon: momentum, orthogonalized by Newton and Schulz's iteration.

use albert_kernels::{Epilogue, InstructionSet, PackedMatrix, Rows, RowsMut, Threads, product};

use super::Update;
use super::clip::global_norm;
use super::groups::Tensor;

/// The decay of the momentum: torch's default and the author's advice.
const MOMENTUM: f32 = 0.95;

/// Iterations, and the coefficients of each.
const ITERATIONS: usize = 5;
const COEFFICIENTS: (f32, f32, f32) = (3.4445, -4.7750, 2.0315);

/// The least norm that a matrix is divided by.
const EPSILON: f64 = 1e-7;

/// The usual root mean square of an update by AdamW, to which Muon's is scaled, so that both take
/// the same learning rate.
const ADAMW_RMS: f64 = 0.2;

/// Updates a matrix of shape (out, in).
///
/// ```text
/// m ← μ m + (1 - μ) g;   u = (1 - μ) g + μ m;   o = orthogonalized(u)
/// w ← w (1 - η λ) - η 0.2 √max(out, in) o
/// ```
///
/// The iteration runs in f32; torch's runs in bf16.
///
/// Source: `torch.optim.Muon` of PyTorch 2.15 with Nesterov momentum and
/// `adjust_lr_fn="match_rms_adamw"`; Jordan et al. 2024; Liu et al. 2025 (arXiv 2502.16982).
pub(super) fn update(state: Update<'_>, tensor: &Tensor) {
    let &[rows, columns] = tensor.shape.as_slice() else {
        unreachable!("`{}` is a matrix", tensor.name);
    };
    let mixed = |from: f32, to: f32, weight: f32| from + weight * (to - from);
    let momentum = state.first.iter_mut().zip(state.gradients);
    let update: Vec<f32> = momentum
        .map(|(m, &g)| {
            *m = mixed(*m, g, 1.0 - MOMENTUM);
            mixed(g, *m, MOMENTUM)
        })
        .collect();
    let update = orthogonalized(update, rows, columns);
    let keep = (1.0 - state.learning_rate * state.weight_decay) as f32;
    let scale = ADAMW_RMS * (rows.max(columns) as f64).sqrt();
    let rate = (state.learning_rate * scale) as f32;
    for (w, o) in state.parameters.iter_mut().zip(&update) {
        *w = *w * keep - rate * o;
    }
}

/// Moves the singular values of a matrix near 1 and keeps its singular vectors.
fn orthogonalized(matrix: Vec<f32>, rows: usize, columns: usize) -> Vec<f32> {
    let is_tall = rows > columns;
    let (m, n) = if is_tall {
        (columns, rows)
    } else {
        (rows, columns)
    };
    let mut x = if is_tall {
        transposed(&matrix, rows, columns)
    } else {
        matrix
    };
    let norm = global_norm(&x).max(EPSILON) as f32;
    for value in &mut x {
        *value /= norm;
    }
    let (a, b, c) = COEFFICIENTS;
    for _ in 0..ITERATIONS {
        // Both Gram matrices are symmetric: as packed weights they are their own transposes.
        let gram = product_of(&x, &x, m, n, m);
        let mut polynomial = product_of(&gram, &gram, m, m, m);
        for (p, &g) in polynomial.iter_mut().zip(&gram) {
            *p = b * g + c * *p;
        }
        let step = product_of(&polynomial, &transposed(&x, m, n), m, m, n);
        for (value, s) in x.iter_mut().zip(&step) {
            *value = a * *value + s;
        }
    }
    if is_tall { transposed(&x, m, n) } else { x }
}

/// Returns `A Bᵀ` of `a` (rows, depth) and `b` (columns, depth).
fn product_of(a: &[f32], b: &[f32], rows: usize, depth: usize, columns: usize) -> Vec<f32> {
    // Only an unknown instruction set named by the environment fails, and the model fails first.
    let instructions =
        InstructionSet::current().expect("the instruction set that the model runs on");
    let packed = PackedMatrix::from_transposed(instructions, depth, &[b]);
    let mut c = vec![0.0; rows * columns];
    product(
        Rows::new(a, rows, depth),
        &packed.view(),
        RowsMut::new(&mut c, rows, columns),
        Epilogue::Store,
        Threads::All,
    );
    c
}

fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut turned = vec![0.0; matrix.len()];
    for (row, values) in matrix.chunks_exact(columns).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            turned[column * rows + row] = value;
        }
    }
    turned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn singular_values_move_near_1() {
        for (rows, columns) in [(3, 5), (5, 3), (4, 4)] {
            let matrix: Vec<f32> = (0..rows * columns)
                .map(|i| ((i * i) as f32 * 1.7).sin())
                .collect();
            let x = orthogonalized(matrix, rows, columns);
            let x = if rows > columns {
                transposed(&x, rows, columns)
            } else {
                x
            };
            let (m, n) = (rows.min(columns), rows.max(columns));
            let gram = product_of(&x, &x, m, n, m);
            let trace: f32 = (0..m).map(|i| gram[i * m + i]).sum();
            // The coefficients leave singular values between 0.7 and 1.2 (Jordan et al.).
            assert!((0.49..1.44).contains(&(trace / m as f32)), "{trace}");
        }
    }
}

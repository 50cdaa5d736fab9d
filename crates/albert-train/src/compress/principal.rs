//! Principal axes: the eigenvectors of a covariance matrix.

/// Rotations are skipped below this share of the matrix's norm.
const NEGLIGIBLE: f64 = 1e-15;

/// Passes over all pairs of rows; the method converges quadratically, in fewer than 15.
const MOST_SWEEPS: usize = 60;

/// Returns the eigenvalues of a symmetric matrix, the largest first, and the unit eigenvector of
/// each as a row.
///
/// Jacobi's method: rotations that each set one element off the diagonal to 0.
///
/// Source: Golub and Van Loan, "Matrix Computations", 4th edition, section 8.5.
pub(super) fn eigen(mut matrix: Vec<f64>, n: usize) -> Vec<(f64, Vec<f64>)> {
    let mut vectors: Vec<f64> = (0..n * n)
        .map(|index| f64::from(u8::from(index / n == index % n)))
        .collect();
    let norm = matrix.iter().map(|x| x * x).sum::<f64>().sqrt();
    for _ in 0..MOST_SWEEPS {
        let mut is_diagonal = true;
        for p in 0..n {
            for q in p + 1..n {
                if matrix[p * n + q].abs() > NEGLIGIBLE * norm {
                    is_diagonal = false;
                    rotate(&mut matrix, &mut vectors, n, (p, q));
                }
            }
        }
        if is_diagonal {
            break;
        }
    }
    let rows = vectors.chunks_exact(n).map(<[f64]>::to_vec);
    let mut pairs: Vec<_> = (0..n).map(|i| matrix[i * n + i]).zip(rows).collect();
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    pairs
}

/// Rotates rows and columns p < q such that their element becomes 0.
fn rotate(matrix: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let (app, aqq, apq) = (matrix[p * n + p], matrix[q * n + q], matrix[p * n + q]);
    let tau = (aqq - app) / (2.0 * apq);
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    rotate_rows(matrix, n, (p, q), (c, s));
    for row in matrix.chunks_exact_mut(n) {
        let (x, y) = (row[p], row[q]);
        row[p] = c * x - s * y;
        row[q] = s * x + c * y;
    }
    matrix[p * n + q] = 0.0;
    matrix[q * n + p] = 0.0;
    rotate_rows(vectors, n, (p, q), (c, s));
}

fn rotate_rows(matrix: &mut [f64], n: usize, (p, q): (usize, usize), (c, s): (f64, f64)) {
    let (upper, lower) = matrix.split_at_mut(q * n);
    let (first, second) = (&mut upper[p * n..][..n], &mut lower[..n]);
    for (x, y) in first.iter_mut().zip(second) {
        (*x, *y) = (c * *x - s * *y, s * *x + c * *y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{Draws, Purpose};

    #[test]
    fn eigenvectors_give_the_matrix_back() {
        let n = 20;
        let mut draws = Draws::new(1, Purpose::Weights, &[]);
        let a: Vec<f64> = (0..n * n).map(|_| draws.normal()).collect();
        let mut matrix = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..n {
                matrix[i * n + j] = (0..n).map(|k| a[i * n + k] * a[j * n + k]).sum();
            }
        }
        let pairs = eigen(matrix.clone(), n);
        assert!(pairs.is_sorted_by(|a, b| a.0 >= b.0));
        for (value, vector) in pairs {
            let length: f64 = vector.iter().map(|x| x * x).sum();
            assert!((length - 1.0).abs() < 1e-12);
            for i in 0..n {
                let product: f64 = (0..n).map(|j| matrix[i * n + j] * vector[j]).sum();
                assert!((product - value * vector[i]).abs() < 1e-10);
            }
        }
    }
}

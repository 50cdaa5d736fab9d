//! Muon: momentum, orthogonalized by Newton and Schulz's iteration.

use albert_kernels::Threads;
use albert_kernels::training::NewtonSchulz;

use super::Update;
use super::groups::Tensor;

/// The decay of the momentum: torch's default and the author's advice.
const MOMENTUM: f32 = 0.95;

/// Iterations of Newton and Schulz.
const ITERATIONS: usize = 5;

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
pub(super) fn update(state: Update<'_>, tensor: &Tensor, iteration: &mut NewtonSchulz) {
    let &[rows, columns] = tensor.shape.as_slice() else {
        unreachable!("`{}` is a matrix", tensor.name);
    };
    let mixed = |from: f32, to: f32, weight: f32| from + weight * (to - from);
    let momentum = state.first.iter_mut().zip(state.gradients);
    let mut update: Vec<f32> = momentum
        .map(|(m, &g)| {
            *m = mixed(*m, g, 1.0 - MOMENTUM);
            mixed(g, *m, MOMENTUM)
        })
        .collect();
    iteration.orthogonalize(&mut update, rows, columns, ITERATIONS, Threads::All);
    let keep = (1.0 - state.learning_rate * f64::from(state.weight_decay)) as f32;
    let scale = ADAMW_RMS * (rows.max(columns) as f64).sqrt();
    let rate = (state.learning_rate * scale) as f32;
    for (w, o) in state.parameters.iter_mut().zip(&update) {
        *w = *w * keep - rate * o;
    }
}

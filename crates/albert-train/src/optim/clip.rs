//! Clipping of the gradient by its global norm.

use rayon::prelude::*;

/// Values that are summed before partial sums are: fixed, so that the sum has the same bits at any
/// number of threads.
const CHUNK: usize = 1 << 14;

/// Added to the norm before dividing by it, as `torch.nn.utils.clip_grad_norm_` does.
const EPSILON: f64 = 1e-6;

/// Returns the Euclidean norm of all values together, summed in f64.
pub fn global_norm(values: &[f32]) -> f64 {
    let sums: Vec<f64> = values
        .par_chunks(CHUNK)
        .map(|chunk| chunk.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
        .collect();
    sums.iter().sum::<f64>().sqrt()
}

/// Scales gradients with this norm down to the norm `most`; smaller ones are not changed.
pub fn clip_to_norm(gradients: &mut [f32], norm: f64, most: f64) {
    let factor = most / (norm + EPSILON);
    if factor < 1.0 {
        let factor = factor as f32;
        gradients.par_chunks_mut(CHUNK).for_each(|chunk| {
            for x in chunk {
                *x *= factor;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_gradient_is_cut_and_a_short_one_stays() {
        let mut gradients = vec![3.0, 4.0];
        let norm = global_norm(&gradients);
        assert_eq!(norm, 5.0);
        clip_to_norm(&mut gradients, norm, 10.0);
        assert_eq!(gradients, [3.0, 4.0]);
        clip_to_norm(&mut gradients, norm, 1.0);
        // f32, and torch's 1e-6 below the line.
        assert!((global_norm(&gradients) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_norm_has_the_same_bits_at_any_number_of_threads() {
        let values: Vec<f32> = (0..100_000).map(|i| (i as f32 * 0.37).sin()).collect();
        let norm = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| global_norm(&values).to_bits())
        };
        assert_eq!(norm(1), norm(3));
    }
}

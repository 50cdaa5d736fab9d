//! Quantizes weights to 8 bits.

use crate::quantized::SCALE_BLOCK;

/// The largest integer to which a weight is rounded.
const LARGEST: f32 = 127.0;

/// Rounds each row of a matrix, an output of a dense layer, to integers from -127 to 127 times one
/// scale per [`SCALE_BLOCK`] columns.
///
/// ```text
/// s = max |w| / 127,   r = round(w / s)
/// ```
///
/// Quantizing the products `r s` again gives the same integers. If a value is not finite, neither
/// is the scale of its block.
///
/// # Shapes
/// - `weights`: `(N, K)`, K is `depth`
/// - returns `(N, K)` and the scales, `(N, ⌈K / SCALE_BLOCK⌉)`
///
/// # Panics
/// If the number of weights is not a multiple of `depth`, or `depth` is 0.
pub fn quantize_weights(weights: &[f32], depth: usize) -> (Vec<i8>, Vec<f32>) {
    assert!(
        depth > 0 && weights.len().is_multiple_of(depth),
        "rows of {depth} weights"
    );
    let mut rounded = Vec::with_capacity(weights.len());
    let mut scales = Vec::with_capacity(weights.len() / depth * depth.div_ceil(SCALE_BLOCK));
    for block in weights
        .chunks_exact(depth)
        .flat_map(|row| row.chunks(SCALE_BLOCK))
    {
        // `f32::max` would ignore a NaN.
        let larger = |largest: f32, w: &f32| {
            if largest.is_nan() || w.abs() <= largest {
                largest
            } else {
                w.abs()
            }
        };
        let scale = block.iter().fold(0.0, larger) / LARGEST;
        // Zeros, and values so small that their scale is subnormal, become zeros.
        let inverse = if scale >= f32::MIN_POSITIVE {
            1.0 / scale
        } else {
            0.0
        };
        rounded.extend(
            block
                .iter()
                .map(|w| (w * inverse).round_ties_even().clamp(-LARGEST, LARGEST) as i8),
        );
        scales.push(scale);
    }
    (rounded, scales)
}

/// Returns the weights in f32, `(N, K)`, as [`quantize_weights`] rounded them.
///
/// # Panics
/// If the shapes do not match.
pub fn dequantize_weights(rounded: &[i8], scales: &[f32], depth: usize) -> Vec<f32> {
    assert!(
        depth > 0 && rounded.len().is_multiple_of(depth),
        "rows of {depth} weights"
    );
    let blocks = rounded
        .chunks_exact(depth)
        .flat_map(|row| row.chunks(SCALE_BLOCK));
    assert!(
        rounded.len() / depth * depth.div_ceil(SCALE_BLOCK) == scales.len(),
        "a scale for each block"
    );
    blocks
        .zip(scales)
        .flat_map(|(block, scale)| block.iter().map(move |r| f32::from(*r) * scale))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    #[test]
    fn weights_are_within_half_a_step_and_stay_when_rounded_again() {
        let (depth, weights) = (300, numbers(20 * 300, 1));
        let (rounded, scales) = quantize_weights(&weights, depth);
        let restored = dequantize_weights(&rounded, &scales, depth);
        for (i, (w, restored)) in weights.iter().zip(&restored).enumerate() {
            let scale = scales[i / depth * depth.div_ceil(SCALE_BLOCK) + i % depth / SCALE_BLOCK];
            // Half a step of the grid, and f32 rounding.
            assert!(
                (w - restored).abs() <= 0.500_01 * scale,
                "{w} became {restored}"
            );
        }
        let (again, _) = quantize_weights(&restored, depth);
        assert_eq!(again, rounded);
    }

    #[test]
    fn zeros_stay_zeros_and_what_is_not_finite_is_not_hidden() {
        let (rounded, scales) = quantize_weights(
            &[0.0, 0.0, f32::NAN, 1.0, f32::INFINITY, 1.0, 1e-45, 0.0],
            2,
        );
        assert_eq!((&rounded[..2], scales[0]), (&[0, 0][..], 0.0));
        assert!(scales[1].is_nan() && scales[2].is_infinite());
        assert_eq!((&rounded[6..], scales[3]), (&[0, 0][..], 0.0));
    }
}

//! Turns logits into probabilities, on the CPU in f32.

/// Computes `exp(x − max) / Σ exp(x − max)` in place.
pub(crate) fn softmax(logits: &mut [f32]) {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits
        .iter_mut()
        .for_each(|logit| *logit = (*logit - max).exp());
    let sum: f32 = logits.iter().sum();
    logits
        .iter_mut()
        .for_each(|probability| *probability /= sum);
}

/// Returns the logarithm of the softmax at `index`, which is finite even if the probability is 0 in
/// f32.
pub(crate) fn log_softmax(logits: &[f32], index: usize) -> f64 {
    let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits
        .iter()
        .map(|&logit| (f64::from(logit) - max).exp())
        .sum();
    f64::from(logits[index]) - max - sum.ln()
}

/// Computes `1 / (1 + exp(−x))`.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

/// Returns the index of the largest value; among equal ones the first.
pub(crate) fn argmax(values: &[f32]) -> usize {
    let best = values
        .iter()
        .enumerate()
        .rev()
        .max_by(|(_, a), (_, b)| a.total_cmp(b));
    best.map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_survives_large_logits() {
        let mut logits = [1000.0, 1000.0, -1000.0];
        softmax(&mut logits);
        assert_eq!(logits, [0.5, 0.5, 0.0]);
    }

    #[test]
    fn the_logarithm_of_a_vanishing_probability_is_finite() {
        assert_eq!(log_softmax(&[1000.0, 0.0], 1), -1000.0);
        assert!((log_softmax(&[0.0; 4], 2) + 4f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn sigmoid_ends_at_zero_and_one() {
        assert_eq!([-200.0, 0.0, 200.0].map(sigmoid), [0.0, 0.5, 1.0]);
    }

    #[test]
    fn of_equal_values_the_first_is_the_largest() {
        assert_eq!(argmax(&[0.1, 0.4, 0.4]), 1);
    }
}

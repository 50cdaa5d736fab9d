//! Correlations of values and scores.

/// Returns Pearson's correlation coefficient; NaN if all values of one side are equal.
///
/// Source: `scipy.stats.pearsonr`.
///
/// # Panics
/// If the sides differ in length.
pub fn pearson(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "pairs of values");
    let mean = |xs: &[f64]| xs.iter().sum::<f64>() / xs.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let is_constant = |xs: &[f64]| xs.iter().all(|x| *x == xs[0]);
    if a.len() < 2 || is_constant(a) || is_constant(b) {
        return f64::NAN;
    }
    let (mut both, mut of_a, mut of_b) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        both += x * y;
        of_a += x * x;
        of_b += y * y;
    }
    (both / (of_a.sqrt() * of_b.sqrt())).clamp(-1.0, 1.0)
}

/// Returns Spearman's rank correlation; equal values share the mean of their ranks.
///
/// Source: `scipy.stats.spearmanr`.
///
/// # Panics
/// If the sides differ in length.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    pearson(&ranks(a), &ranks(b))
}

/// Returns the rank of each value from 1; equal values share their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = before as f64 + (equal.len() + 1) as f64 / 2.0;
        equal.iter().for_each(|index| ranks[*index] = rank);
        before += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_share_the_mean_of_their_ranks() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, -2.0]), [3.5, 2.0, 3.5, 1.0]);
    }

    #[test]
    fn a_constant_has_no_correlation() {
        assert!(pearson(&[1.0, 2.0], &[5.0, 5.0]).is_nan());
        assert!(spearman(&[], &[]).is_nan());
    }

    #[test]
    fn ranks_alone_matter_to_spearman() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 10.0, 11.0, 1e6]);
        assert!((spearman(&a, &b) - 1.0).abs() < 4.0 * f64::EPSILON);
        assert!(pearson(&a, &b) < 0.8);
    }
}

//! Metrics of several labels for each example.

use super::f1;

/// Labels and scores of examples, `(B, C)`.
#[derive(Debug, Clone, Default)]
pub struct MultiLabel {
    classes: usize,
    is_true: Vec<bool>,
    /// Logits: a label is predicted above 0, where its probability is above ½.
    logits: Vec<f32>,
}

impl MultiLabel {
    /// Takes rows of labels and logits.
    ///
    /// # Panics
    /// If the two differ in length.
    pub fn new(classes: usize, is_true: Vec<bool>, logits: Vec<f32>) -> Self {
        assert_eq!(is_true.len(), logits.len(), "a logit for each label");
        Self {
            classes,
            is_true,
            logits,
        }
    }

    fn column(&self, class: usize) -> impl Iterator<Item = (bool, f32)> + '_ {
        let pairs = self
            .is_true
            .iter()
            .copied()
            .zip(self.logits.iter().copied());
        pairs.skip(class).step_by(self.classes)
    }

    /// Counts true positives, predictions and labels of a class.
    fn counts(&self, class: usize) -> [usize; 3] {
        let mut counts = [0; 3];
        for (is_true, logit) in self.column(class) {
            let is_predicted = logit > 0.0;
            counts[0] += usize::from(is_true && is_predicted);
            counts[1] += usize::from(is_predicted);
            counts[2] += usize::from(is_true);
        }
        counts
    }

    /// Returns the F1 of all decisions together.
    pub fn micro_f1(&self) -> f64 {
        let mut sums = [0; 3];
        for class in 0..self.classes {
            let counts = self.counts(class);
            sums.iter_mut()
                .zip(counts)
                .for_each(|(sum, count)| *sum += count);
        }
        f1(sums[0], sums[1], sums[2])
    }

    /// Returns the mean F1 of all labels; a label that never occurs counts 0.
    pub fn macro_f1(&self) -> f64 {
        let scores = (0..self.classes).map(|class| {
            let [both, predicted, actual] = self.counts(class);
            f1(both, predicted, actual)
        });
        scores.sum::<f64>() / self.classes.max(1) as f64
    }

    /// Returns the mean over labels of the average precision; a label that never occurs counts 0.
    ///
    /// ```text
    /// Σ (R_n - R_{n-1}) P_n, over the distinct scores from the highest down
    /// ```
    ///
    /// Source: scikit-learn, `average_precision_score(average="macro")`.
    pub fn average_precision(&self) -> f64 {
        let scores = (0..self.classes).map(|class| {
            let column: Vec<(bool, f32)> = self.column(class).collect();
            average_precision(column)
        });
        scores.sum::<f64>() / self.classes.max(1) as f64
    }
}

fn average_precision(mut pairs: Vec<(bool, f32)>) -> f64 {
    let positives = pairs.iter().filter(|(is_true, _)| *is_true).count();
    if positives == 0 {
        return 0.0;
    }
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    let (mut found, mut seen, mut sum) = (0, 0, 0.0);
    for equal in pairs.chunk_by(|a, b| a.1 == b.1) {
        let gain = equal.iter().filter(|(is_true, _)| *is_true).count();
        (found, seen) = (found + gain, seen + equal.len());
        sum += gain as f64 / positives as f64 * (found as f64 / seen as f64);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_are_one_threshold() {
        // One threshold with both: precision ½ at recall 1.
        assert_eq!(average_precision(vec![(true, 1.0), (false, 1.0)]), 0.5);
        assert_eq!(average_precision(vec![(true, 2.0), (false, 1.0)]), 1.0);
        assert_eq!(average_precision(vec![(false, 2.0)]), 0.0);
    }

    #[test]
    fn a_logit_of_0_predicts_nothing() {
        let metrics = MultiLabel::new(2, vec![true, false, true, true], vec![0.0, 1.0, 2.0, 3.0]);
        assert_eq!(metrics.micro_f1(), 2.0 * 2.0 / 6.0);
    }
}

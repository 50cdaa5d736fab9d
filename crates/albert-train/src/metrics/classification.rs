//! Metrics of one label for each example.

use super::{f1, ratio};

/// The counts of labels and predictions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    /// `(label, prediction)`
    counts: Vec<usize>,
}

impl Confusion {
    /// Counts pairs of a label and a prediction, both below `classes`.
    ///
    /// # Panics
    /// If one of them is not below `classes`.
    pub fn new(classes: usize, pairs: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut counts = vec![0; classes * classes];
        for (label, prediction) in pairs {
            assert!(label < classes && prediction < classes);
            counts[label * classes + prediction] += 1;
        }
        Self { classes, counts }
    }

    /// Returns the number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Returns the number of examples with this label and this prediction.
    pub fn count(&self, label: usize, prediction: usize) -> usize {
        self.counts[label * self.classes + prediction]
    }

    /// Returns the number of examples.
    pub fn total(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Returns the number of right predictions.
    pub fn correct(&self) -> usize {
        (0..self.classes)
            .map(|class| self.count(class, class))
            .sum()
    }

    fn labeled(&self, class: usize) -> usize {
        (0..self.classes)
            .map(|other| self.count(class, other))
            .sum()
    }

    fn predicted(&self, class: usize) -> usize {
        (0..self.classes)
            .map(|other| self.count(other, class))
            .sum()
    }

    /// Returns the share of right predictions.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct(), self.total())
    }

    /// Returns the F1 of one class.
    pub fn class_f1(&self, class: usize) -> f64 {
        let (predicted, labeled) = (self.predicted(class), self.labeled(class));
        f1(self.count(class, class), predicted, labeled)
    }

    /// Returns the mean F1 of the classes that occur as a label or as a prediction.
    ///
    /// Source: scikit-learn, `f1_score(average="macro")`.
    pub fn macro_f1(&self) -> f64 {
        let occurs = |class: &usize| self.labeled(*class) + self.predicted(*class) > 0;
        let scores: Vec<f64> = (0..self.classes)
            .filter(occurs)
            .map(|class| self.class_f1(class))
            .collect();
        scores.iter().sum::<f64>() / scores.len().max(1) as f64
    }

    /// Returns the F1 that is reported: of the second class of two, as GLUE does, else
    /// the mean of all.
    pub fn f1(&self) -> f64 {
        match self.classes {
            2 => self.class_f1(1),
            _ => self.macro_f1(),
        }
    }

    /// Returns Matthews' correlation coefficient; 0 where all labels or all predictions are equal.
    ///
    /// ```text
    /// (c n - Σ p_k t_k) / √((n² - Σ p_k²) (n² - Σ t_k²))
    /// ```
    ///
    /// Source: Gorodkin 2004; scikit-learn, `matthews_corrcoef`.
    pub fn matthews(&self) -> f64 {
        let (total, correct) = (self.total() as f64, self.correct() as f64);
        let (mut both, mut predicted_squares, mut labeled_squares) = (0.0, 0.0, 0.0);
        for class in 0..self.classes {
            let (predicted, labeled) = (self.predicted(class) as f64, self.labeled(class) as f64);
            both += predicted * labeled;
            predicted_squares += predicted * predicted;
            labeled_squares += labeled * labeled;
        }
        let square = total * total;
        let norm = (square - predicted_squares) * (square - labeled_squares);
        if norm == 0.0 {
            return 0.0;
        }
        (correct * total - both) / norm.sqrt()
    }
}

/// Returns the index of the largest value, of equal ones the first.
pub fn largest(values: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_classes_report_the_f1_of_the_second() {
        let confusion = Confusion::new(2, [(0, 0), (0, 1), (1, 1), (1, 0), (1, 1)]);
        assert_eq!(confusion.accuracy(), 0.6);
        assert_eq!(confusion.f1(), 2.0 * 2.0 / 6.0);
    }

    #[test]
    fn nothing_has_no_correlation_and_no_accuracy() {
        let confusion = Confusion::new(3, []);
        assert_eq!((confusion.accuracy(), confusion.matthews()), (0.0, 0.0));
        assert_eq!(Confusion::new(2, [(0, 1), (1, 1)]).matthews(), 0.0);
    }

    #[test]
    fn of_equal_logits_the_first_is_predicted() {
        assert_eq!(largest(&[1.0, 3.0, 3.0]), 1);
    }
}

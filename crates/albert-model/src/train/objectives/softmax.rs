//! Cross-entropy of a few logits, with class weights and label smoothing.

use crate::train::error::Result;
use crate::train::objective::misfit;

/// A weight for each class, and how much of each label is spread over all classes.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::train) struct Softmax {
    /// Empty: 1 for each.
    pub(in crate::train) class_weights: Vec<f32>,
    /// In [0, 1).
    pub(in crate::train) label_smoothing: f32,
}

/// Methods of the objectives that have a [`Softmax`].
macro_rules! weighted_by_class {
    ($objective:ident) => {
        impl $objective {
            /// Multiplies the loss of each item by the weight of its label; the mean is over weights.
            #[must_use]
            pub fn with_class_weights(mut self, weights: Vec<f32>) -> Self {
                self.softmax.class_weights = weights;
                self
            }

            /// Spreads this part of each label over all classes, 0 unless set.
            #[must_use]
            pub fn with_label_smoothing(mut self, part: f32) -> Self {
                self.softmax.label_smoothing = part;
                self
            }
        }
    };
}
pub(super) use weighted_by_class;

/// A loss, and how many logits are larger than the label's.
pub(super) struct Item {
    pub(super) loss: f64,
    pub(super) rank: usize,
}

impl Softmax {
    pub(super) fn check(&self, objective: &'static str, classes: usize) -> Result<()> {
        let count = self.class_weights.len();
        if count != 0 && count != classes {
            let expected = format!("a weight for each of {classes} classes");
            return Err(misfit(objective, expected, format!("{count}")));
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            let found = self.label_smoothing.to_string();
            return Err(misfit(objective, "label smoothing in [0, 1)", found));
        }
        Ok(())
    }

    pub(super) fn weight(&self, class: usize) -> f32 {
        self.class_weights.get(class).copied().unwrap_or(1.0)
    }

    /// Returns the loss of one item times `factor`; its gradient replaces the logits.
    ///
    /// ```text
    /// loss = -(1 - ε) w_y ln p_y - ε / C Σ w_c ln p_c
    /// ```
    ///
    /// Source: `torch.nn.functional.cross_entropy`; its mean divides by Σ w_y.
    pub(super) fn item(&self, logits: &mut [f32], label: usize, factor: f32) -> Item {
        let (epsilon, classes) = (f64::from(self.label_smoothing), logits.len() as f64);
        let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let rank = logits.iter().filter(|x| **x > logits[label]).count();
        let shifted: Vec<f64> = logits
            .iter()
            .map(|x| f64::from(*x) - f64::from(largest))
            .collect();
        let sum: f64 = shifted.iter().map(|x| x.exp()).sum();
        let log_sum = sum.ln();
        let target = |class: usize| {
            let spread = epsilon / classes;
            let own = if class == label { 1.0 - epsilon } else { 0.0 };
            f64::from(self.weight(class)) * (own + spread)
        };
        let total: f64 = (0..logits.len()).map(target).sum();
        let mut loss = 0.0;
        for (class, logit) in logits.iter_mut().enumerate() {
            loss -= target(class) * (shifted[class] - log_sum);
            let gradient = total * shifted[class].exp() / sum - target(class);
            *logit = (gradient * f64::from(factor)) as f32;
        }
        Item {
            loss: loss * f64::from(factor),
            rank,
        }
    }
}

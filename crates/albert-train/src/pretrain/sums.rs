//! Sums of losses and hits over batches.

use albert_tasks::albert_model::train::{ObjectiveLoss, StepReport};

use crate::trainer::Evaluation;

/// Sums over batches.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) masked_lm: Sum,
    pub(crate) order: Sum,
    pub(crate) sequences: usize,
    pub(super) tokens: usize,
}

/// The sum of one objective.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    pub(super) loss: f64,
    pub(super) items: usize,
    correct: usize,
    correct_in_five: usize,
}

impl Sum {
    fn add(&mut self, loss: &ObjectiveLoss) {
        self.loss += loss.loss;
        self.items += loss.items;
        self.correct += loss.correct;
        self.correct_in_five += loss.correct_in_five;
    }

    /// Returns the mean loss of sums that were not divided.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.items.max(1) as f64
    }

    /// Returns the share of items whose target is the first choice.
    pub(crate) fn top_1(&self) -> f64 {
        self.correct as f64 / self.items.max(1) as f64
    }

    /// Returns the share of items whose target is among the first five choices.
    pub(crate) fn top_5(&self) -> f64 {
        self.correct_in_five as f64 / self.items.max(1) as f64
    }
}

impl Sums {
    pub(super) fn add(&mut self, report: &StepReport) {
        self.tokens += report.tokens;
        for (sum, loss) in [&mut self.masked_lm, &mut self.order]
            .into_iter()
            .zip(&report.losses)
        {
            sum.add(loss);
        }
    }

    pub(super) fn terms(&self) -> Vec<(&'static str, f64)> {
        let mut terms = vec![("masked_lm", self.masked_lm.loss)];
        if self.order.items > 0 {
            terms.push(("sentence_order", self.order.loss));
        }
        terms
    }

    pub(super) fn evaluation(&self) -> Evaluation {
        let (masked, order) = (&self.masked_lm, &self.order);
        let mut metrics = vec![
            ("loss", masked.mean_loss() + order.mean_loss()),
            ("masked_lm_loss", masked.mean_loss()),
            ("top_1", masked.top_1()),
            ("top_5", masked.top_5()),
        ];
        if order.items > 0 {
            metrics.push(("sentence_order_loss", order.mean_loss()));
            metrics.push(("sentence_order_accuracy", order.top_1()));
        }
        metrics
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    }
}

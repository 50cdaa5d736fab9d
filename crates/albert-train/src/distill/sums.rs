//! Sums of losses by objective.

use albert_tasks::albert_model::train::{Objective, StepReport};

use crate::trainer::Evaluation;

/// The losses of one objective, summed.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    loss: f64,
    items: usize,
    correct: usize,
    correct_in_five: usize,
}

/// Losses by objective, in the order in which they are written.
#[derive(Debug, Default)]
pub(super) struct Sums {
    terms: Vec<(&'static str, Sum)>,
    pub(super) tokens: usize,
}

impl Sums {
    fn term(&mut self, name: &'static str) -> &mut Sum {
        let found = self.terms.iter().position(|(known, _)| *known == name);
        let index = found.unwrap_or_else(|| {
            self.terms.push((name, Sum::default()));
            self.terms.len() - 1
        });
        &mut self.terms[index].1
    }

    pub(super) fn add(&mut self, report: &StepReport, objectives: &[&dyn Objective]) {
        self.tokens += report.tokens;
        for (objective, loss) in objectives.iter().zip(&report.losses) {
            let sum = self.term(objective.name());
            sum.loss += loss.loss;
            sum.items += loss.items;
            sum.correct += loss.correct;
            sum.correct_in_five += loss.correct_in_five;
        }
    }

    pub(super) fn divide(&mut self, by: f64) {
        let terms = self.terms.iter_mut();
        terms.for_each(|(_, sum)| sum.loss /= by.max(1.0));
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (name, sum) in other.terms {
            let own = self.term(name);
            own.loss += sum.loss;
            own.items += sum.items;
            own.correct += sum.correct;
            own.correct_in_five += sum.correct_in_five;
        }
    }

    pub(super) fn loss(&self) -> f64 {
        self.terms.iter().map(|(_, sum)| sum.loss).sum()
    }

    pub(super) fn terms(&self) -> Vec<(&'static str, f64)> {
        self.terms
            .iter()
            .map(|(name, sum)| (*name, sum.loss))
            .collect()
    }

    pub(super) fn evaluation(&self) -> Evaluation {
        let mut metrics = vec![("loss".into(), self.loss())];
        for (name, sum) in &self.terms {
            metrics.push((format!("{name}_loss"), sum.loss));
            let share = |count: usize| count as f64 / sum.items.max(1) as f64;
            match *name {
                "masked_lm" | "masked_logits" => {
                    metrics.push((format!("{name}_top_1"), share(sum.correct)));
                    metrics.push((format!("{name}_top_5"), share(sum.correct_in_five)));
                }
                "sentence_order" => {
                    metrics.push((format!("{name}_accuracy"), share(sum.correct)));
                }
                _ => {}
            }
        }
        metrics
    }
}

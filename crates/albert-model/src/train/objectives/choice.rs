//! One of several continuations: multiple choice.

use std::ops::Range;

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, needed, scaled};
use crate::train::objectives::softmax::Softmax;

const NAME: &str = "choice";

/// Cross-entropy of the right choice of each question, by softmax over its choices' scores.
#[derive(Debug, Clone)]
pub struct Choice {
    pooler: Dense,
    classifier: Dense,
    labels: Vec<u32>,
    pub(super) scale: Scale,
}

scaled!(Choice);

impl Choice {
    /// Takes the index of the right choice of each question; the batch's questions are its calls of
    /// [`push_together`](TrainingBatch::push_together).
    ///
    /// # Errors
    /// If the model has no multiple-choice head.
    pub fn new(layout: &FlatLayout, labels: Vec<u32>) -> Result<Self> {
        const EXPECTED: &str = "a pooler and a multiple-choice head";
        let network = layout.network();
        let classifier = network
            .classifier
            .as_ref()
            .filter(|classifier| classifier.out == 1);
        Ok(Self {
            pooler: needed(network.pooler.as_ref(), NAME, EXPECTED, layout.head())?,
            classifier: needed(classifier, NAME, EXPECTED, layout.head())?,
            labels,
            scale: Scale::MEAN,
        })
    }
}

impl Objective for Choice {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        let questions: Vec<Range<usize>> = batch.units().collect();
        if self.labels.len() != questions.len() {
            let expected = format!("a label for each of {} questions", questions.len());
            return Err(misfit(NAME, expected, self.labels.len().to_string()));
        }
        let pairs = questions.iter().zip(&self.labels).enumerate();
        for (question, (choices, label)) in pairs {
            if *label as usize >= choices.len() {
                let expected = format!("a label below {} for question {question}", choices.len());
                return Err(misfit(NAME, expected, label.to_string()));
            }
        }
        Ok(())
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.pooler, &self.classifier]
    }

    fn reads(&self, _batch: &TrainingBatch, _sequence: usize) -> Reads {
        Reads::First
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let factor = self.scale.factor(self.labels.len() as f64);
        let mut total = ObjectiveLoss::default();
        let batch = head.step.batch;
        head.classify(
            &self.pooler,
            &self.classifier,
            |_| true,
            |sequences, logits| {
                // A bundle holds whole questions, in the order of the batch.
                for (choices, label) in batch.units().zip(&self.labels) {
                    let Ok(first) = sequences.binary_search(&choices.start) else {
                        continue;
                    };
                    let logits = &mut logits[first..first + choices.len()];
                    let item = Softmax::default().item(logits, *label as usize, factor);
                    total.count(item.loss, item.rank);
                }
            },
        );
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let factor = self.scale.factor(self.labels.len() as f64);
        let indices: Vec<_> = (0..head.sequences().len()).collect();
        let scores = head.classify(&self.pooler, &self.classifier, &indices)?; // (B, 1)
        let mut total = TensorLoss::default();
        // A chunk holds whole questions, in the order of the batch.
        for (choices, label) in head.batch().units().zip(&self.labels) {
            let Ok(first) = head.sequences().binary_search(&choices.start) else {
                continue;
            };
            let scores = scores.narrow(0, first, choices.len())?.t()?; // (1, choices)
            total.add(head.cross_entropy(&scores, &[*label], &Softmax::default(), factor)?)?;
        }
        Ok(total)
    }
}

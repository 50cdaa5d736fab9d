//! Distillation of a masked-LM head.

use albert_kernels::InstructionSet;
use albert_kernels::training::cross_entropy;
use candle_nn::ops::log_softmax;

use crate::train::batch::TrainingBatch;
use crate::train::candle::{Place, TensorHead, TensorLoss, ranks};
use crate::train::error::{Result, TrainError};
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::{Dense, MaskedLmHead};
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, scaled};
use crate::train::objectives::vocabulary::{vocabulary_logits, vocabulary_pass};

const NAME: &str = "masked_logits";

/// The Kullback-Leibler divergence from a teacher's distribution over the vocabulary, averaged over
/// rows.
///
/// ```text
/// loss = Σ p (ln p - ln q),   p = softmax(teacher),   q = softmax(logits)
/// ```
///
/// An item is correct if the teacher's first choice is the model's.
///
/// Source: Hinton et al. 2015, "Distilling the Knowledge in a Neural Network", at temperature 1.
#[derive(Debug, Clone)]
pub struct MaskedLogits {
    head: MaskedLmHead,
    vocabulary: usize,
    /// Rows of the batch, ascending.
    rows: Vec<usize>,
    /// p, `(rows, V)`
    probabilities: Vec<f32>,
    /// `Σ p ln p` and the teacher's first choice of each row.
    teachers: Vec<(f64, usize)>,
    pub(super) scale: Scale,
}

scaled!(MaskedLogits);

impl MaskedLogits {
    /// Takes rows of the batch, ascending, and the teacher's logits of each, `(rows, V)`.
    ///
    /// # Errors
    /// If the model has no masked-LM head, the rows are not ascending, or the logits are not as many
    /// for each row as the vocabulary has pieces.
    pub fn new(layout: &FlatLayout, rows: Vec<usize>, mut logits: Vec<f32>) -> Result<Self> {
        let head = layout.network().masked_lm.clone();
        let head = head.ok_or(TrainError::Head {
            objective: NAME,
            expected: "a masked-LM head",
            found: layout.head(),
        })?;
        let vocabulary = layout.config().vocab_size;
        if !rows.is_sorted_by(|one, next| one < next) {
            return Err(misfit(NAME, "rows in ascending order", "another order"));
        }
        if logits.len() != rows.len() * vocabulary {
            let expected = format!("{vocabulary} logits for each of {} rows", rows.len());
            return Err(misfit(NAME, expected, logits.len().to_string()));
        }
        let (instructions, no_bias) = (InstructionSet::current()?, vec![0.0; vocabulary]);
        let teachers = logits.chunks_exact_mut(vocabulary).map(|row| {
            let choices = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
            let (choice, largest) = choices.map_or((0, 0.0), |(choice, x)| (choice, *x));
            let scores = row.to_vec();
            let item = cross_entropy(instructions, row, &no_bias, choice, 1.0);
            row[choice] += 1.0; // softmax
            let log_sum = f64::from(item.loss) + f64::from(largest);
            let terms = row.iter().zip(&scores);
            let terms = terms.map(|(p, x)| f64::from(*p) * (f64::from(*x) - log_sum));
            (terms.sum(), choice)
        });
        Ok(Self {
            teachers: teachers.collect(),
            probabilities: logits,
            head,
            vocabulary,
            rows,
            scale: Scale::MEAN,
        })
    }

    /// Returns the items of a sequence.
    fn of_sequence(&self, batch: &TrainingBatch, sequence: usize) -> std::ops::Range<usize> {
        let rows = batch.rows(sequence);
        let at = |row| self.rows.partition_point(|own| *own < row);
        at(rows.start)..at(rows.end)
    }

    /// Returns p of an item.
    fn probabilities(&self, item: usize) -> &[f32] {
        &self.probabilities[item * self.vocabulary..][..self.vocabulary]
    }
}

impl Objective for MaskedLogits {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        match self.rows.last() {
            Some(row) if *row >= batch.tokens() => {
                let expected = format!("rows below {}", batch.tokens());
                Err(misfit(NAME, expected, row.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.head.dense, &self.head.decoder]
    }

    fn reads(&self, batch: &TrainingBatch, sequence: usize) -> Reads {
        let start = batch.rows(sequence).start;
        let rows = &self.rows[self.of_sequence(batch, sequence)];
        Reads::Tokens(rows.iter().map(|row| row - start).collect())
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let step = head.step;
        let (mut rows, mut items) = (Vec::new(), Vec::new());
        for span in &head.bundle.spans {
            let start = step.batch.rows(span.sequence).start;
            for item in self.of_sequence(step.batch, span.sequence) {
                rows.push(span.start + self.rows[item] - start);
                items.push(item);
            }
        }
        let mut total = ObjectiveLoss::default();
        if rows.is_empty() {
            return total;
        }
        let factor = self.scale.factor(self.rows.len() as f64);
        let bias = &step.parameters[self.head.decoder.bias.clone()];
        vocabulary_pass(head, &self.head, &rows, |logits| {
            for (logits, item) in logits.chunks_exact_mut(self.vocabulary).zip(items) {
                let (entropy, choice) = self.teachers[item];
                let probabilities = self.probabilities(item);
                let at_choice = f64::from(logits[choice]) + f64::from(bias[choice]);
                let expected: f64 = probabilities
                    .iter()
                    .zip(logits.iter().zip(bias))
                    .map(|(p, (x, b))| f64::from(*p) * (f64::from(*x) + f64::from(*b)))
                    .sum();
                let found = cross_entropy(step.instructions, logits, bias, choice, 1.0);
                let log_sum = f64::from(found.loss) + at_choice;
                total.count(
                    (entropy - expected + log_sum) * f64::from(factor),
                    found.rank,
                );
                logits[choice] += 1.0; // softmax
                for (q, p) in logits.iter_mut().zip(probabilities) {
                    *q = factor * (*q - p);
                }
            }
        });
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let (mut places, mut items) = (Vec::new(), Vec::new());
        for (index, sequence) in head.sequences().iter().enumerate() {
            let start = head.batch().rows(*sequence).start;
            for item in self.of_sequence(head.batch(), *sequence) {
                let token = self.rows[item] - start;
                places.push(Place { index, token });
                items.push(item);
            }
        }
        if places.is_empty() {
            return Ok(TensorLoss::default());
        }
        let logits = head.wide(&vocabulary_logits(head, &self.head, &places)?)?;
        let probabilities = items.iter().flat_map(|item| self.probabilities(*item));
        let probabilities: Vec<f32> = probabilities.copied().collect();
        let probabilities = head.tensor(&probabilities, &[items.len(), self.vocabulary])?;
        let entropy: f64 = items.iter().map(|item| self.teachers[*item].0).sum();
        let expected = (log_softmax(&logits, 1)? * probabilities)?.sum_all()?;
        let factor = f64::from(self.scale.factor(self.rows.len() as f64));
        let choices = items.iter().map(|item| self.teachers[*item].1 as u32);
        let choices = candle_core::Tensor::new(choices.collect::<Vec<_>>(), logits.device())?;
        Ok(TensorLoss {
            value: Some(((expected.neg()? + entropy)? * factor)?),
            counts: ObjectiveLoss::counted(ranks(&logits, &choices)?),
        })
    }
}

//! A label for each token, as in named entity recognition.

use crate::train::batch::TrainingBatch;
use crate::train::candle::{Place, TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, needed, scaled};
use crate::train::objectives::softmax::{Softmax, weighted_by_class};

const NAME: &str = "token_labels";

/// The mean cross-entropy of the tokens that have a label.
#[derive(Debug, Clone)]
pub struct TokenLabels {
    classifier: Dense,
    /// Rows of the batch and their labels, in the order of rows.
    labels: Vec<(usize, u32)>,
    softmax: Softmax,
    pub(super) scale: Scale,
}

scaled!(TokenLabels);
weighted_by_class!(TokenLabels);

impl TokenLabels {
    /// Takes the rows of the batch that have a label; others are ignored.
    ///
    /// # Errors
    /// If the model has no token classifier, a label is not one of its classes, or a row occurs twice.
    pub fn new(layout: &FlatLayout, mut labels: Vec<(usize, u32)>) -> Result<Self> {
        let classifier = layout.network().classifier.as_ref();
        let classifier = needed(classifier, NAME, "a token classifier", layout.head())?;
        let classes = classifier.out;
        if let Some((_, label)) = labels.iter().find(|(_, label)| *label as usize >= classes) {
            return Err(misfit(
                NAME,
                format!("labels below {classes}"),
                label.to_string(),
            ));
        }
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(misfit(
                NAME,
                "each row once",
                format!("row {} twice", pair[0].0),
            ));
        }
        Ok(Self {
            classifier,
            labels,
            softmax: Softmax::default(),
            scale: Scale::MEAN,
        })
    }

    /// Returns the factor of each item's loss.
    fn factor(&self) -> f32 {
        let weights = self.labels.iter();
        let weights = weights.map(|(_, label)| f64::from(self.softmax.weight(*label as usize)));
        self.scale.factor(weights.sum())
    }

    fn of_sequence(&self, batch: &TrainingBatch, sequence: usize) -> &[(usize, u32)] {
        let rows = batch.rows(sequence);
        let at = |row| self.labels.partition_point(|(labeled, _)| *labeled < row);
        &self.labels[at(rows.start)..at(rows.end)]
    }
}

impl Objective for TokenLabels {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        self.softmax.check(NAME, self.classifier.out)?;
        match self.labels.last() {
            Some((row, _)) if *row >= batch.tokens() => {
                let expected = format!("rows below {}", batch.tokens());
                Err(misfit(NAME, expected, row.to_string()))
            }
            _ => Ok(()),
        }
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.classifier]
    }

    fn reads(&self, batch: &TrainingBatch, sequence: usize) -> Reads {
        let start = batch.rows(sequence).start;
        let labels = self.of_sequence(batch, sequence);
        Reads::Tokens(labels.iter().map(|(row, _)| row - start).collect())
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let (mut rows, mut labels, mut places) = (Vec::new(), Vec::new(), Vec::new());
        for span in &head.bundle.spans {
            let start = head.step.batch.rows(span.sequence).start;
            for (row, label) in self.of_sequence(head.step.batch, span.sequence) {
                rows.push(span.start + row - start);
                labels.push(*label as usize);
                places.push((span.sequence, row - start));
            }
        }
        let mut total = ObjectiveLoss::default();
        if rows.is_empty() {
            return total;
        }
        let factor = self.factor();
        let h = self.classifier.input;
        let mut states = head.gather(&rows);
        head.drop_out(&places, &mut states, h);
        let mut logits = head.dense(&self.classifier, &states);
        let mut rest = &logits[..];
        for rows in places.chunk_by(|one, next| one.0 == next.0) {
            let (own, others) = rest.split_at(rows.len() * self.classifier.out);
            head.record(rows[0].0, own);
            rest = others;
        }
        for (logits, label) in logits.chunks_exact_mut(self.classifier.out).zip(labels) {
            let item = self.softmax.item(logits, label, factor);
            total.count(item.loss, item.rank);
        }
        if head.is_training() {
            let mut d_states = head.dense_backward(&self.classifier, &states, &logits);
            head.drop_out(&places, &mut d_states, h);
            head.scatter(&rows, &d_states);
        }
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        for (index, sequence) in head.sequences().iter().enumerate() {
            let start = head.batch().rows(*sequence).start;
            for (row, label) in self.of_sequence(head.batch(), *sequence) {
                let token = row - start;
                places.push(Place { index, token });
                labels.push(*label);
            }
        }
        if places.is_empty() {
            return Ok(TensorLoss::default());
        }
        let states = head.drop_out(&places, &head.select(&places, None)?)?;
        let logits = head.dense(&self.classifier, &states)?; // (n, C)
        let mut first = 0;
        for rows in places.chunk_by(|one, next| one.index == next.index) {
            head.record(rows[0].index, &logits.narrow(0, first, rows.len())?)?;
            first += rows.len();
        }
        head.cross_entropy(&logits, &labels, &self.softmax, self.factor())
    }
}

//! Masked language modeling.

use albert_kernels::training::cross_entropy;

use crate::train::batch::TrainingBatch;
use crate::train::candle::{Place, TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::{Dense, MaskedLmHead};
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, scaled};
use crate::train::objectives::softmax::Softmax;
use crate::train::objectives::vocabulary::{vocabulary_logits, vocabulary_pass};

const NAME: &str = "masked_lm";

/// The mean cross-entropy of the tokens at masked positions.
///
/// The decoder only runs for these rows, and only the logits of one bundle exist at a time.
#[derive(Debug, Clone)]
pub struct MaskedLm {
    head: MaskedLmHead,
    vocabulary: usize,
    /// Rows of the batch and their tokens, in the order of rows.
    targets: Vec<(usize, u32)>,
    pub(super) scale: Scale,
}

scaled!(MaskedLm);

impl MaskedLm {
    /// Creates the objective from the original token of each masked row of the batch.
    ///
    /// # Errors
    /// If the model has no masked-LM head, a token is not in the vocabulary, or a row occurs twice.
    pub fn new(layout: &FlatLayout, mut targets: Vec<(usize, u32)>) -> Result<Self> {
        let head = layout.network().masked_lm.clone();
        let head = head.ok_or(crate::train::error::TrainError::Head {
            objective: NAME,
            expected: "a masked-LM head",
            found: layout.head(),
        })?;
        let vocabulary = layout.config().vocab_size;
        if let Some((_, id)) = targets.iter().find(|(_, id)| *id as usize >= vocabulary) {
            return Err(misfit(
                NAME,
                format!("tokens below {vocabulary}"),
                id.to_string(),
            ));
        }
        targets.sort_unstable();
        if let Some(pair) = targets.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(misfit(
                NAME,
                "each row once",
                format!("row {} twice", pair[0].0),
            ));
        }
        Ok(Self {
            head,
            vocabulary,
            targets,
            scale: Scale::MEAN,
        })
    }

    fn of_sequence(&self, batch: &TrainingBatch, sequence: usize) -> &[(usize, u32)] {
        let rows = batch.rows(sequence);
        let at = |row| self.targets.partition_point(|(target, _)| *target < row);
        &self.targets[at(rows.start)..at(rows.end)]
    }
}

impl Objective for MaskedLm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        match self.targets.last() {
            Some((row, _)) if *row >= batch.tokens() => {
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
        let targets = self.of_sequence(batch, sequence);
        Reads::Tokens(targets.iter().map(|(row, _)| row - start).collect())
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let step = head.step;
        let (mut rows, mut labels) = (Vec::new(), Vec::new());
        for span in &head.bundle.spans {
            let start = step.batch.rows(span.sequence).start;
            for (row, id) in self.of_sequence(step.batch, span.sequence) {
                rows.push(span.start + row - start);
                labels.push(*id as usize);
            }
        }
        let mut total = ObjectiveLoss::default();
        if rows.is_empty() {
            return total;
        }
        let factor = self.scale.factor(self.targets.len() as f64);

        let bias = &step.parameters[self.head.decoder.bias.clone()];
        let mut scores = Vec::new();
        vocabulary_pass(head, &self.head, &rows, |logits| {
            if step.records {
                let rows = logits.chunks_exact(self.vocabulary);
                scores.extend(rows.flat_map(|row| row.iter().zip(bias).map(|(x, b)| x + b)));
            }
            for (logits, label) in logits.chunks_exact_mut(self.vocabulary).zip(labels) {
                let item = cross_entropy(step.instructions, logits, bias, label, factor);
                total.count(f64::from(item.loss) * f64::from(factor), item.rank);
            }
        });
        let mut scores = scores.as_slice();
        for span in head.bundle.spans.iter().filter(|_| step.records) {
            let masks = self.of_sequence(step.batch, span.sequence).len();
            let own;
            (own, scores) = scores.split_at(masks * self.vocabulary);
            head.record(span.sequence, own);
        }
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let (mut places, mut labels) = (Vec::new(), Vec::new());
        for (index, sequence) in head.sequences().iter().enumerate() {
            let start = head.batch().rows(*sequence).start;
            for (row, id) in self.of_sequence(head.batch(), *sequence) {
                let token = row - start;
                places.push(Place { index, token });
                labels.push(*id);
            }
        }
        if places.is_empty() {
            return Ok(TensorLoss::default());
        }
        let logits = vocabulary_logits(head, &self.head, &places)?; // (P, V)
        for (index, sequence) in head.sequences().iter().enumerate() {
            let first = places.partition_point(|place| place.index < index);
            let masks = self.of_sequence(head.batch(), *sequence).len();
            head.record(index, &logits.narrow(0, first, masks)?)?;
        }
        let factor = self.scale.factor(self.targets.len() as f64);
        head.cross_entropy(&logits, &labels, &Softmax::default(), factor)
    }
}

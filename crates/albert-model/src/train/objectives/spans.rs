//! The first and the last token of an answer: extractive question answering.

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, needed, scaled};
use crate::train::objectives::softmax::Softmax;

const NAME: &str = "spans";

/// The mean of two cross-entropies over the tokens of the sequence: of an answer's first token, and
/// of its last.
///
/// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertForQuestionAnswering`.
#[derive(Debug, Clone)]
pub struct Spans {
    layer: Dense,
    ends: Vec<Option<(usize, usize)>>,
    pub(super) scale: Scale,
}

scaled!(Spans);

impl Spans {
    /// Takes for each sequence the first and the last token of its answer, by their index in the
    /// sequence; `None` is not counted. A question without an answer has its `[CLS]` for both.
    ///
    /// # Errors
    /// If the model has no question-answering head.
    pub fn new(layout: &FlatLayout, ends: Vec<Option<(usize, usize)>>) -> Result<Self> {
        let layer = layout.network().spans.as_ref();
        Ok(Self {
            layer: needed(layer, NAME, "a question-answering head", layout.head())?,
            ends,
            scale: Scale::MEAN,
        })
    }
}

impl Objective for Spans {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        if self.ends.len() != batch.len() {
            let expected = format!("an answer for each of {} sequences", batch.len());
            return Err(misfit(NAME, expected, self.ends.len().to_string()));
        }
        for (sequence, ends) in self.ends.iter().enumerate() {
            let tokens = batch.rows(sequence).len();
            match ends {
                Some((first, last)) if *first.max(last) >= tokens => {
                    let expected = format!("tokens below {tokens} in sequence {sequence}");
                    return Err(misfit(NAME, expected, format!("{first} and {last}")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.layer]
    }

    fn reads(&self, _batch: &TrainingBatch, sequence: usize) -> Reads {
        if self.ends[sequence].is_some() {
            Reads::All
        } else {
            Reads::Nothing
        }
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let factor = self.scale.factor(self.ends.iter().flatten().count() as f64);
        let mut total = ObjectiveLoss::default();
        for span in &head.bundle.spans {
            let Some((first, last)) = self.ends[span.sequence] else {
                continue;
            };
            let rows: Vec<usize> = (span.start..span.start + span.tokens).collect();
            let states = head.gather(&rows);
            let mut logits = head.dense(&self.layer, &states); // (T, 2)
            head.record(span.sequence, &logits);
            let mut is_right = true;
            for (column, target) in [first, last].into_iter().enumerate() {
                let mut column_logits: Vec<f32> =
                    logits[column..].iter().step_by(2).copied().collect();
                let item = Softmax::default().item(&mut column_logits, target, 0.5 * factor);
                total.loss += item.loss;
                is_right &= item.rank == 0;
                let to = logits[column..].iter_mut().step_by(2);
                to.zip(column_logits)
                    .for_each(|(to, gradient)| *to = gradient);
            }
            total.items += 1;
            total.correct += usize::from(is_right);
            if head.is_training() {
                let d_states = head.dense_backward(&self.layer, &states, &logits);
                head.scatter(&rows, &d_states);
            }
        }
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let factor = 0.5 * self.scale.factor(self.ends.iter().flatten().count() as f64);
        let mut total = TensorLoss::default();
        let places = head.all();
        for (index, sequence) in head.sequences().iter().enumerate() {
            let Some((first, last)) = self.ends[*sequence] else {
                continue;
            };
            let places: Vec<_> = places
                .iter()
                .filter(|place| place.index == index)
                .copied()
                .collect();
            let states = head.select(&places, None)?;
            let logits = head.dense(&self.layer, &states)?; // (T, 2)
            head.record(index, &logits)?;
            let logits = logits.t()?;
            let labels = [first, last].map(|token| token as u32);
            let loss = head.cross_entropy(&logits, &labels, &Softmax::default(), factor)?;
            let counts = ObjectiveLoss {
                items: 1,
                correct: usize::from(loss.counts.correct == 2),
                ..ObjectiveLoss::default()
            };
            total.add(TensorLoss { counts, ..loss })?;
        }
        Ok(total)
    }
}

//! One label for a sequence, by softmax over the pooled `[CLS]`.

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, needed, scaled};
use crate::train::objectives::softmax::{Softmax, weighted_by_class};

/// The cross-entropy of one label for each sequence.
#[derive(Debug, Clone)]
pub struct Classification {
    name: &'static str,
    pooler: Dense,
    classifier: Dense,
    labels: Vec<Option<u32>>,
    softmax: Softmax,
    pub(super) scale: Scale,
}

scaled!(Classification);
weighted_by_class!(Classification);

impl Classification {
    /// Takes a label for each sequence of the batch; `None` is not counted.
    ///
    /// # Errors
    /// If the model has no sequence classifier, or a label is not one of its classes.
    pub fn new(layout: &FlatLayout, labels: Vec<Option<u32>>) -> Result<Self> {
        let classifier = layout.network().classifier.as_ref();
        Self::with_classifier(layout, "classification", classifier, labels)
    }

    fn with_classifier(
        layout: &FlatLayout,
        name: &'static str,
        classifier: Option<&Dense>,
        labels: Vec<Option<u32>>,
    ) -> Result<Self> {
        const EXPECTED: &str = "a pooler and a classifier";
        let pooler = layout.network().pooler.as_ref();
        let classifier = needed(classifier, name, EXPECTED, layout.head())?;
        let classes = classifier.out;
        if let Some(label) = labels
            .iter()
            .flatten()
            .find(|label| **label as usize >= classes)
        {
            return Err(misfit(
                name,
                format!("labels below {classes}"),
                label.to_string(),
            ));
        }
        Ok(Self {
            name,
            pooler: needed(pooler, name, EXPECTED, layout.head())?,
            classifier,
            labels,
            softmax: Softmax::default(),
            scale: Scale::MEAN,
        })
    }

    /// Returns the factor of each item's loss.
    fn factor(&self) -> f32 {
        let weights = self.labels.iter().flatten();
        let weights = weights.map(|label| f64::from(self.softmax.weight(*label as usize)));
        self.scale.factor(weights.sum())
    }
}

impl Objective for Classification {
    fn name(&self) -> &'static str {
        self.name
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        self.softmax.check(self.name, self.classifier.out)?;
        if self.labels.len() == batch.len() {
            return Ok(());
        }
        let expected = format!("a label for each of {} sequences", batch.len());
        Err(misfit(self.name, expected, self.labels.len().to_string()))
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.pooler, &self.classifier]
    }

    fn reads(&self, _batch: &TrainingBatch, sequence: usize) -> Reads {
        if self.labels[sequence].is_some() {
            Reads::First
        } else {
            Reads::Nothing
        }
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let factor = self.factor();
        let mut total = ObjectiveLoss::default();
        let is_counted = |sequence: usize| self.labels[sequence].is_some();
        head.classify(
            &self.pooler,
            &self.classifier,
            is_counted,
            |sequences, logits| {
                let classes = self.classifier.out;
                for (sequence, logits) in sequences.iter().zip(logits.chunks_exact_mut(classes)) {
                    let label = self.labels[*sequence].expect("only counted sequences") as usize;
                    let item = self.softmax.item(logits, label, factor);
                    total.count(item.loss, item.rank);
                }
            },
        );
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let sequences = head.sequences().iter().enumerate();
        let (indices, labels): (Vec<_>, Vec<_>) = sequences
            .filter_map(|(index, sequence)| Some((index, self.labels[*sequence]?)))
            .unzip();
        if indices.is_empty() {
            return Ok(TensorLoss::default());
        }
        let logits = head.classify(&self.pooler, &self.classifier, &indices)?; // (n, C)
        head.cross_entropy(&logits, &labels, &self.softmax, self.factor())
    }
}

/// Sentence order prediction: 0 if the second segment followed the first in the text, 1 if they
/// were swapped.
#[derive(Debug, Clone)]
pub struct SentenceOrder(Classification);

impl SentenceOrder {
    /// Takes 0 or 1 for each sequence of the batch; `None` is not counted.
    ///
    /// # Errors
    /// If the model has no sentence-order head, or a label is neither.
    pub fn new(layout: &FlatLayout, labels: Vec<Option<u32>>) -> Result<Self> {
        let classifier = layout.network().sentence_order.as_ref();
        let classification =
            Classification::with_classifier(layout, "sentence_order", classifier, labels)?;
        Ok(Self(classification))
    }

    /// Multiplies the loss by a weight, 1 unless set.
    #[must_use]
    pub fn with_weight(self, weight: f32) -> Self {
        Self(self.0.with_weight(weight))
    }

    /// Divides the sum of the items' losses by this, in place of the number of this batch's items.
    #[must_use]
    pub fn with_divisor(self, divisor: f64) -> Self {
        Self(self.0.with_divisor(divisor))
    }
}

impl Objective for SentenceOrder {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        self.0.check(batch)
    }

    fn layers(&self) -> Vec<&Dense> {
        self.0.layers()
    }

    fn reads(&self, batch: &TrainingBatch, sequence: usize) -> Reads {
        self.0.reads(batch, sequence)
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        self.0.loss(head)
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        self.0.tensor_loss(head)
    }
}

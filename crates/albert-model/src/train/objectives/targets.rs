//! Targets for each logit of a sequence: several labels by sigmoid, and regression values.

use std::fmt;

use candle_core::Tensor;

use crate::loss;
use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, needed, scaled};

/// The layers and targets that both objectives have.
#[derive(Debug, Clone)]
struct Targets {
    name: &'static str,
    pooler: Dense,
    classifier: Dense,
    /// `(B, C)`
    values: Vec<f32>,
}

impl Targets {
    fn new(layout: &FlatLayout, name: &'static str, values: Vec<f32>) -> Result<Self> {
        const EXPECTED: &str = "a pooler and a classifier";
        let network = layout.network();
        let layer = |layer: Option<&Dense>| needed(layer, name, EXPECTED, layout.head());
        Ok(Self {
            name,
            pooler: layer(network.pooler.as_ref())?,
            classifier: layer(network.classifier.as_ref())?,
            values,
        })
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        let (classes, sequences) = (self.classifier.out, batch.len());
        if self.values.len() == sequences * classes {
            return Ok(());
        }
        let expected = format!("{classes} values for each of {sequences} sequences");
        Err(misfit(self.name, expected, self.values.len().to_string()))
    }

    /// Sums `item(logit, target)`, which returns a loss and its derivative.
    fn loss(
        &self,
        head: &mut HeadPass<'_>,
        scale: Scale,
        item: impl Fn(f64, f64) -> (f64, f64),
    ) -> ObjectiveLoss {
        let factor = f64::from(scale.factor(self.values.len() as f64));
        let mut total = ObjectiveLoss::default();
        head.classify(
            &self.pooler,
            &self.classifier,
            |_| true,
            |sequences, logits| {
                let classes = self.classifier.out;
                for (sequence, logits) in sequences.iter().zip(logits.chunks_exact_mut(classes)) {
                    let targets = &self.values[sequence * classes..][..classes];
                    for (logit, target) in logits.iter_mut().zip(targets) {
                        let (loss, slope) = item(f64::from(*logit), f64::from(*target));
                        total.loss += loss * factor;
                        *logit = (slope * factor) as f32;
                    }
                    total.items += 1;
                }
            },
        );
        total
    }

    /// Sums what `items(logits, targets)` returns for each.
    fn tensor_loss(
        &self,
        head: &TensorHead<'_>,
        scale: Scale,
        items: impl FnOnce(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<TensorLoss> {
        let (sequences, classes) = (head.sequences(), self.classifier.out);
        let indices: Vec<_> = (0..sequences.len()).collect();
        let logits = head.classify(&self.pooler, &self.classifier, &indices)?; // (B, C)
        let values = sequences
            .iter()
            .flat_map(|sequence| &self.values[sequence * classes..][..classes]);
        let values: Vec<f32> = values.copied().collect();
        let targets = head.tensor(&values, &[sequences.len(), classes])?;
        let factor = f64::from(scale.factor(self.values.len() as f64));
        let sum = (items(&logits, &targets)?.sum_all()? * factor)?;
        Ok(TensorLoss::from_items(sum, sequences.len()))
    }
}

/// An objective with a target for each logit of a sequence. It has an item for each, whose loss is a
/// function of the two.
trait EachLogit: fmt::Debug + Send + Sync {
    fn targets(&self) -> &Targets;

    fn scale(&self) -> Scale;

    /// Returns the loss of an item and its derivative by the logit.
    fn item(logit: f64, target: f64) -> (f64, f64);

    /// Returns the losses of all items.
    fn items(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor>;
}

impl<T: EachLogit> Objective for T {
    fn name(&self) -> &'static str {
        self.targets().name
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        self.targets().check(batch)
    }

    fn layers(&self) -> Vec<&Dense> {
        vec![&self.targets().pooler, &self.targets().classifier]
    }

    fn reads(&self, _batch: &TrainingBatch, _sequence: usize) -> Reads {
        Reads::First
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        self.targets().loss(head, self.scale(), T::item)
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        self.targets().tensor_loss(head, self.scale(), T::items)
    }
}

/// The binary cross-entropy of a sigmoid for each label, averaged over sequences and labels.
#[derive(Debug, Clone)]
pub struct MultiLabel {
    targets: Targets,
    pub(super) scale: Scale,
}

scaled!(MultiLabel);

impl MultiLabel {
    /// Takes 0 or 1, or a probability, for each sequence and label, `(B, C)`.
    ///
    /// # Errors
    /// If the model has no sequence classifier.
    pub fn new(layout: &FlatLayout, targets: Vec<f32>) -> Result<Self> {
        Ok(Self {
            targets: Targets::new(layout, "multi_label", targets)?,
            scale: Scale::MEAN,
        })
    }
}

impl EachLogit for MultiLabel {
    fn targets(&self) -> &Targets {
        &self.targets
    }

    fn scale(&self) -> Scale {
        self.scale
    }

    /// Computes ln(1 + eˣ) - t x, without overflow, and its derivative.
    fn item(x: f64, target: f64) -> (f64, f64) {
        let softplus = x.max(0.0) + (-x.abs()).exp().ln_1p();
        (softplus - target * x, 1.0 / (1.0 + (-x).exp()) - target)
    }

    fn items(logits: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
        loss::binary_cross_entropies(logits, targets)
    }
}

/// Regression by the mean squared error over sequences and values.
#[derive(Debug, Clone)]
pub struct Regression {
    targets: Targets,
    pub(super) scale: Scale,
}

scaled!(Regression);

impl Regression {
    /// Takes the values of each sequence, `(B, C)`.
    ///
    /// # Errors
    /// If the model has no sequence classifier.
    pub fn new(layout: &FlatLayout, targets: Vec<f32>) -> Result<Self> {
        Ok(Self {
            targets: Targets::new(layout, "regression", targets)?,
            scale: Scale::MEAN,
        })
    }
}

impl EachLogit for Regression {
    fn targets(&self) -> &Targets {
        &self.targets
    }

    fn scale(&self) -> Scale {
        self.scale
    }

    fn item(x: f64, target: f64) -> (f64, f64) {
        ((x - target).powi(2), 2.0 * (x - target))
    }

    fn items(values: &Tensor, targets: &Tensor) -> candle_core::Result<Tensor> {
        (values - targets)?.sqr()
    }
}

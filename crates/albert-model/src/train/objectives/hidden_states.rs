//! The hidden states of a teacher.

use crate::train::batch::TrainingBatch;
use crate::train::candle::{TensorHead, TensorLoss};
use crate::train::error::Result;
use crate::train::flat::FlatLayout;
use crate::train::head_pass::HeadPass;
use crate::train::network::Dense;
use crate::train::objective::{Objective, ObjectiveLoss, Reads, Scale, misfit, scaled};

const NAME: &str = "hidden_states";

/// The mean squared error of all hidden states after a repetition, over tokens and H.
#[derive(Debug, Clone)]
pub struct HiddenStates {
    repetition: usize,
    /// `None` after the last repetition.
    depth: Option<usize>,
    h: usize,
    /// `(tokens, H)`
    targets: Vec<f32>,
    pub(super) scale: Scale,
}

scaled!(HiddenStates);

impl HiddenStates {
    /// Takes the teacher's states of every row of the batch, `(tokens, H)`, to be matched after the
    /// given number of repetitions: 0 is the projected embeddings, L the model's output.
    ///
    /// # Errors
    /// If the model has fewer repetitions.
    pub fn new(layout: &FlatLayout, repetition: usize, targets: Vec<f32>) -> Result<Self> {
        Ok(Self {
            repetition,
            depth: depth(layout, repetition)?,
            h: layout.config().hidden_size,
            targets,
            scale: Scale::MEAN,
        })
    }
}

/// Returns the number of repetitions after which states are read, `None` for all of them.
pub(super) fn depth(layout: &FlatLayout, repetition: usize) -> Result<Option<usize>> {
    let repetitions = layout.network().repetitions;
    if repetition > repetitions {
        let expected = format!("at most {repetitions} repetitions");
        return Err(misfit(NAME, expected, repetition.to_string()));
    }
    Ok((repetition < repetitions).then_some(repetition))
}

impl Objective for HiddenStates {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self, batch: &TrainingBatch) -> Result<()> {
        if self.targets.len() == batch.tokens() * self.h {
            return Ok(());
        }
        let expected = format!("{} values for each of {} rows", self.h, batch.tokens());
        Err(misfit(NAME, expected, self.targets.len().to_string()))
    }

    fn layers(&self) -> Vec<&Dense> {
        Vec::new()
    }

    fn reads(&self, _batch: &TrainingBatch, _sequence: usize) -> Reads {
        Reads::All
    }

    fn depth(&self) -> Option<usize> {
        self.depth
    }

    fn loss(&self, head: &mut HeadPass<'_>) -> ObjectiveLoss {
        let factor = f64::from(self.scale.factor(self.targets.len() as f64));
        let mut total = ObjectiveLoss::default();
        let h = self.h;
        for span in &head.bundle.spans {
            let targets = head.step.batch.rows(span.sequence);
            let rows = head.indices[span.start] * h..(head.indices[span.start] + span.tokens) * h;
            let states = &head.states[rows.clone()];
            let targets = &self.targets[targets.start * h..targets.end * h];
            let d_states = &mut head.d_states[rows];
            for ((x, target), d) in states.iter().zip(targets).zip(d_states) {
                let difference = f64::from(*x) - f64::from(*target);
                total.loss += difference * difference * factor;
                *d += (2.0 * difference * factor) as f32;
            }
            total.items += span.tokens;
        }
        total
    }

    fn tensor_loss(&self, head: &TensorHead<'_>) -> Result<TensorLoss> {
        let places = head.all();
        let states = head.select(&places, Some(self.repetition))?;
        let h = self.h;
        let rows = head
            .sequences()
            .iter()
            .map(|sequence| head.batch().rows(*sequence));
        let values: Vec<f32> = rows
            .flat_map(|rows| &self.targets[rows.start * h..rows.end * h])
            .copied()
            .collect();
        let targets = head.tensor(&values, &[places.len(), h])?;
        let factor = f64::from(self.scale.factor(self.targets.len() as f64));
        let sum = (head.wide(&states)? - targets)?.sqr()?.sum_all()?;
        Ok(TensorLoss::from_items((sum * factor)?, places.len()))
    }
}

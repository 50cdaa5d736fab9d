//! Examples laid out for the pass, with their objectives.

use albert_tasks::albert_model::train::{
    FlatLayout, MaskedLm, Objective, SentenceOrder, TrainingBatch,
};

use crate::error::Result;
use crate::examples::PretrainingExample;

/// Examples laid out for the pass.
pub(crate) struct Batch {
    pub(crate) sequences: TrainingBatch,
    pub(crate) masked: MaskedLm,
    pub(crate) order: Option<SentenceOrder>,
}

impl Batch {
    pub(crate) fn new(layout: &FlatLayout, examples: &[PretrainingExample]) -> Result<Self> {
        let (mut sequences, mut targets) = (TrainingBatch::new(), Vec::new());
        for example in examples {
            let sequence = sequences.push(&example.ids, &example.type_ids);
            let start = sequences.rows(sequence).start;
            let rows = example
                .masks
                .iter()
                .map(|mask| (start + mask.position as usize, mask.label));
            targets.extend(rows);
        }
        let labels: Vec<Option<u32>> = examples.iter().map(|example| example.order).collect();
        let has_order = labels.iter().any(Option::is_some);
        let order = has_order
            .then(|| SentenceOrder::new(layout, labels))
            .transpose()?;
        Ok(Self {
            sequences,
            masked: MaskedLm::new(layout, targets)?,
            order,
        })
    }

    /// Returns the objectives with the masks and the sequences that their sums are divided by.
    pub(super) fn objectives(&self, masks: f64, sequences: f64) -> Vec<Box<dyn Objective>> {
        let mut objectives: Vec<Box<dyn Objective>> =
            vec![Box::new(self.masked.clone().with_divisor(masks))];
        if let Some(order) = &self.order {
            objectives.push(Box::new(order.clone().with_divisor(sequences)));
        }
        objectives
    }
}

/// Borrows objectives as the pass takes them.
pub(crate) fn references(objectives: &[Box<dyn Objective>]) -> Vec<&dyn Objective> {
    objectives.iter().map(|objective| &**objective).collect()
}

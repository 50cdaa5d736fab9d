//! The two losses of pretraining as a task of the trainer.

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::train::{Draw, FlatParameters, TrainingPass};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::batch::{Batch, references};
use super::sums::Sums;
use crate::error::{Error, Result};
use crate::examples::{Bookmark, Position, PretrainingExamples, TextStatistics};
use crate::optim::Groups;
use crate::output::Output;
use crate::trainer::{Evaluation, StepLoss, Task};

/// Sequences that are evaluated at a time.
const EVALUATION_BATCH: usize = 64;

/// The pretraining of a model: parameters, and examples from a stream of text.
#[derive(Debug)]
pub struct Pretraining {
    pub(super) parameters: FlatParameters,
    pub(super) pass: TrainingPass,
    pub(super) examples: PretrainingExamples,
    pub(super) evaluation: Option<PretrainingExamples>,
    pub(super) data: Value,
    pub(super) seed: u64,
    pub(super) new_tensors: Vec<String>,
    /// The files of the tokenizer, which are copied next to the model.
    pub(super) files: ModelFiles,
    /// The model that is trained further, whose modules of sentence-transformers are copied.
    pub(super) start: Option<ModelFiles>,
}

/// The place in the data as a snapshot keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct SavedPlace {
    position: Position,
    bookmark: Bookmark,
}

impl Pretraining {
    /// Returns estimates about the text from its first block.
    ///
    /// # Errors
    /// If the text cannot be read, or there is none.
    pub fn statistics(&mut self) -> Result<TextStatistics> {
        self.examples.statistics()
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &FlatParameters {
        &self.parameters
    }

    /// Returns the tensors that the start lacked and that were drawn.
    pub fn new_tensors(&self) -> &[String] {
        &self.new_tensors
    }

    /// Returns the sums over the evaluation data; `None` without such data.
    pub(crate) fn sums(&mut self) -> Result<Option<Sums>> {
        let Some(examples) = &mut self.evaluation else {
            return Ok(None);
        };
        examples.go_to(Position::default(), &Bookmark::default())?;
        let mut sums = Sums::default();
        loop {
            let mut batch = Vec::new();
            while batch.len() < EVALUATION_BATCH
                && let Some(example) = examples.next_of_epoch()?
            {
                batch.push(example);
            }
            if batch.is_empty() {
                break;
            }
            sums.sequences += batch.len();
            let batch = Batch::new(self.parameters.layout(), &batch)?;
            let objectives = batch.objectives(1.0, 1.0);
            let objectives = references(&objectives);
            let report = self
                .pass
                .evaluate(&self.parameters, &batch.sequences, &objectives)?;
            sums.add(&report);
        }
        Ok(Some(sums))
    }

    /// Returns the number of gradient buffers, on which the bits of a run depend.
    pub fn slots(&self) -> usize {
        self.pass.options().slots
    }
}

impl Task for Pretraining {
    fn groups(&self) -> Groups {
        Groups::from_layout(self.parameters.layout(), self.pass.options().frozen)
    }

    fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.parameters.values_mut(), self.pass.gradients())
    }

    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss> {
        let mut taken = Vec::with_capacity(examples);
        let mut first = None;
        for _ in 0..examples {
            let example = self.examples.next_example()?;
            // After the first example, as before it the position may be the end of an epoch.
            let position = self.examples.position();
            first.get_or_insert((position.epoch, position.sequence - 1));
            taken.push(example);
        }
        let (epoch, first) = first.unwrap_or_default();
        let masks: usize = taken.iter().map(|example| example.masks.len()).sum();
        self.pass.clear();
        let mut sums = Sums::default();
        for (part, examples) in taken.chunks(examples.div_ceil(passes)).enumerate() {
            let batch = Batch::new(self.parameters.layout(), examples)?;
            let objectives = batch.objectives(masks as f64, taken.len() as f64);
            let draw = Draw {
                seed: self.seed,
                step: step.wrapping_mul(passes as u64).wrapping_add(part as u64),
            };
            let report = self.pass.accumulate(
                &self.parameters,
                &batch.sequences,
                &references(&objectives),
                draw,
            )?;
            sums.add(&report);
        }
        Ok(StepLoss {
            loss: sums.masked_lm.loss + sums.order.loss,
            terms: sums.terms(),
            tokens: sums.tokens,
            epoch,
            examples: (first, first + taken.len() as u64 - 1),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        Ok(self.sums()?.map(|sums| sums.evaluation()))
    }

    fn steps(&mut self, epochs: f64, batch_size: usize) -> Result<u64> {
        let sequences = self.examples.statistics()?.sequences_per_epoch as f64;
        Ok((epochs * sequences / batch_size as f64).ceil().max(1.0) as u64)
    }

    fn epochs(&self) -> f64 {
        self.examples.epochs()
    }

    fn place(&self) -> Value {
        json!(SavedPlace {
            position: self.examples.position(),
            bookmark: self.examples.bookmark().clone(),
        })
    }

    fn go_to(&mut self, place: &Value) -> Result<()> {
        let place: SavedPlace =
            serde_json::from_value(place.clone()).map_err(|error| Error::Setting {
                name: "place",
                expected: "a position and a bookmark".into(),
                found: error.to_string(),
            })?;
        self.examples.go_to(place.position, &place.bookmark)
    }

    fn fingerprint(&self) -> Value {
        self.data.clone()
    }

    fn write(&self, output: &Output) -> Result<()> {
        if let Some(start) = &self.start {
            let width = self.parameters.layout().config().hidden_size;
            output.copy_modules(start, width)?;
        }
        output.write_model(&self.parameters, &self.files)
    }
}

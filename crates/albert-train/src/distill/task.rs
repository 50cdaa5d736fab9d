//! A distillation as a task of the trainer: its data, its steps and its evaluation.

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::train::{Draw, FlatParameters, Pooling, TrainingPass};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::objectives::DistillWeights;
use super::step::{Goal, Goals, Tap};
use super::student::write;
use super::sums::Sums;
use super::teacher::Teacher;
use crate::error::{Error, Result};
use crate::examples::{
    Bookmark, Position, PretrainingExample, PretrainingExamples, TextStatistics,
};
use crate::optim::Groups;
use crate::output::Output;
use crate::pretrain::references;
use crate::trainer::{Evaluation, StepLoss, Task};

/// Sentences of a step for each of its windows of masked text, which are several times as long.
const SENTENCES_PER_WINDOW: usize = 4;

/// Sequences that are evaluated at a time.
const EVALUATION_BATCH: usize = 64;

/// The distillation of a model.
///
/// A step takes as many lone sentences as the batch size, which are compared with the teacher
/// without masks. With objectives on masked tokens it also takes a quarter as many windows of text,
/// and masks these and as many of the sentences.
#[derive(Debug)]
pub struct Distillation {
    pub(super) parameters: FlatParameters,
    /// The files of the tokenizer and of sentence-transformers, which are copied next to the model.
    pub(super) files: ModelFiles,
    /// True if the run keeps what its snapshots lack of the student.
    pub(super) is_kept: bool,
    pub(super) pass: TrainingPass,
    pub(super) teacher: Teacher,
    pub(super) weights: DistillWeights,
    pub(super) taps: Vec<Tap>,
    /// The pooling of sentence embeddings, if they are compared.
    pub(super) pooling: Option<Pooling>,
    pub(super) sentences: PretrainingExamples,
    pub(super) windows: Option<PretrainingExamples>,
    pub(super) evaluation: Option<(PretrainingExamples, Option<PretrainingExamples>)>,
    pub(super) data: Value,
    pub(super) seed: u64,
}

/// The places in the data as a snapshot keeps them.
#[derive(Debug, Serialize, Deserialize)]
struct SavedPlaces {
    sentences: (Position, Bookmark),
    windows: Option<(Position, Bookmark)>,
}

impl Distillation {
    /// Returns estimates about the text from its first block, whose sequences are sentences.
    ///
    /// # Errors
    /// If the text cannot be read, or there is none.
    pub fn statistics(&mut self) -> Result<TextStatistics> {
        self.sentences.statistics()
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &FlatParameters {
        &self.parameters
    }

    /// Returns the objectives with their weights.
    pub fn objectives(&self) -> &DistillWeights {
        &self.weights
    }

    fn sentence_order(&self) -> bool {
        self.windows
            .as_ref()
            .is_some_and(PretrainingExamples::has_sentence_order)
    }

    /// Returns the batches of a part of a step, each with its losses.
    fn goals(
        &mut self,
        sentences: &[PretrainingExample],
        masked: &[PretrainingExample],
        share: f32,
    ) -> Result<Vec<Goals>> {
        let goal = Goal {
            layout: self.parameters.layout(),
            weights: self.weights,
            taps: &self.taps,
            pooling: self.pooling,
        };
        let mut goals = Vec::new();
        if self.weights.reads_sentences() && !sentences.is_empty() {
            goals.push(goal.sentences(&mut self.teacher, sentences, share)?);
        }
        if !masked.is_empty() {
            goals.push(goal.masked(&mut self.teacher, masked, share)?);
        }
        Ok(goals)
    }
}

impl Task for Distillation {
    fn groups(&self) -> Groups {
        let groups = Groups::from_layout(self.parameters.layout(), self.pass.options().frozen);
        // Weight decay would shrink the heads that no objective reaches.
        let trains_order = self.weights.pretraining > 0.0 && self.sentence_order();
        let unused = [
            (trains_order, "albert.pooler."),
            (trains_order, "sop_classifier."),
            (self.weights.reads_masks(), "predictions."),
        ];
        let unused = unused.into_iter().filter(|(is_used, _)| !is_used);
        unused.fold(groups, |groups, (_, prefix)| groups.with_frozen(prefix))
    }

    fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.parameters.values_mut(), self.pass.gradients())
    }

    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss> {
        let mut sentences = Vec::with_capacity(examples);
        let mut first = None;
        for _ in 0..examples {
            let example = self.sentences.next_example()?;
            // After the first example, as before it the position may be the end of an epoch.
            let position = self.sentences.position();
            first.get_or_insert((position.epoch, position.sequence - 1));
            sentences.push(example);
        }
        let mut masked = Vec::new();
        if let Some(windows) = &mut self.windows {
            let count = examples.div_ceil(SENTENCES_PER_WINDOW);
            for _ in 0..count {
                masked.push(windows.next_example()?);
            }
            masked.extend_from_slice(&sentences[..count]);
        }
        let (epoch, first) = first.unwrap_or_default();
        self.pass.clear();
        let mut sums = Sums::default();
        let size = sentences.len().div_ceil(passes);
        let masked_size = masked.len().div_ceil(passes).max(1);
        let mut masked = masked.chunks(masked_size);
        for (part, sentences) in sentences.chunks(size).enumerate() {
            let share = sentences.len() as f32 / examples as f32;
            let goals = self.goals(sentences, masked.next().unwrap_or_default(), share)?;
            for (index, goals) in goals.iter().enumerate() {
                let draw = Draw {
                    seed: self.seed,
                    step: step
                        .wrapping_mul(2 * passes as u64)
                        .wrapping_add((2 * part + index) as u64),
                };
                let objectives = references(&goals.objectives);
                let report =
                    self.pass
                        .accumulate(&self.parameters, &goals.batch, &objectives, draw)?;
                sums.add(&report, &objectives);
            }
        }
        Ok(StepLoss {
            loss: sums.loss(),
            terms: sums.terms(),
            tokens: sums.tokens,
            epoch,
            examples: (first, first + examples as u64 - 1),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        let Some((mut sentences, mut windows)) = self.evaluation.take() else {
            return Ok(None);
        };
        let result = self.evaluation(&mut sentences, windows.as_mut());
        self.evaluation = Some((sentences, windows));
        result.map(Some)
    }

    fn steps(&mut self, epochs: f64, batch_size: usize) -> Result<u64> {
        let sequences = self.sentences.statistics()?.sequences_per_epoch as f64;
        Ok((epochs * sequences / batch_size as f64).ceil().max(1.0) as u64)
    }

    fn epochs(&self) -> f64 {
        self.sentences.epochs()
    }

    fn place(&self) -> Value {
        let place = |stream: &PretrainingExamples| (stream.position(), stream.bookmark().clone());
        json!(SavedPlaces {
            sentences: place(&self.sentences),
            windows: self.windows.as_ref().map(place),
        })
    }

    fn go_to(&mut self, place: &Value) -> Result<()> {
        let wrong = |found: String| Error::Setting {
            name: "place",
            expected: "a position and a bookmark of each stream".into(),
            found,
        };
        let places: SavedPlaces =
            serde_json::from_value(place.clone()).map_err(|error| wrong(error.to_string()))?;
        let (position, bookmark) = places.sentences;
        self.sentences.go_to(position, &bookmark)?;
        match (&mut self.windows, places.windows) {
            (Some(windows), Some((position, bookmark))) => windows.go_to(position, &bookmark),
            (None, None) => Ok(()),
            _ => Err(wrong("those of other objectives".into())),
        }
    }

    fn fingerprint(&self) -> Value {
        self.data.clone()
    }

    fn begin(&self, output: &Output) -> Result<()> {
        if self.is_kept {
            output.keep_start(self.parameters.layout().config(), &self.files)?;
        }
        Ok(())
    }

    fn write(&self, output: &Output) -> Result<()> {
        write(output, &self.parameters, &self.files)
    }
}

impl Distillation {
    fn evaluation(
        &mut self,
        sentences: &mut PretrainingExamples,
        windows: Option<&mut PretrainingExamples>,
    ) -> Result<Evaluation> {
        let mut sums = Sums::default();
        if self.weights.reads_sentences() {
            self.sum(sentences, &mut sums, |task, examples| {
                task.goals(examples, &[], 1.0)
            })?;
        }
        if let Some(windows) = windows {
            self.sum(windows, &mut sums, |task, examples| {
                task.goals(&[], examples, 1.0)
            })?;
        }
        Ok(sums.evaluation())
    }

    /// Adds the losses of all batches of an epoch, each weighted by its examples.
    fn sum(
        &mut self,
        stream: &mut PretrainingExamples,
        sums: &mut Sums,
        goals: impl Fn(&mut Self, &[PretrainingExample]) -> Result<Vec<Goals>>,
    ) -> Result<()> {
        stream.go_to(Position::default(), &Bookmark::default())?;
        let mut own = Sums::default();
        let mut total = 0;
        loop {
            let mut batch = Vec::new();
            while batch.len() < EVALUATION_BATCH
                && let Some(example) = stream.next_of_epoch()?
            {
                batch.push(example);
            }
            if batch.is_empty() {
                break;
            }
            total += batch.len();
            for goals in goals(self, &batch)? {
                let objectives = references(&goals.objectives);
                let mut report = self
                    .pass
                    .evaluate(&self.parameters, &goals.batch, &objectives)?;
                let examples = batch.len() as f64;
                report
                    .losses
                    .iter_mut()
                    .for_each(|loss| loss.loss *= examples);
                own.add(&report, &objectives);
            }
        }
        own.divide(total as f64);
        sums.merge(own);
        Ok(())
    }
}

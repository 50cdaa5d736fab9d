//! Distillation: a model is trained to imitate another one on text.
//!
//! ```text
//! loss = w₁ (1 - cos(v, v') + 5 mean (cos(vᵢ, vⱼ) - cos(v'ᵢ, v'ⱼ))²)   sentence embeddings
//!      + w₂ Σₛ (s / L) mean (h_s - h'_s)² / var h'_s                    hidden states after s repetitions
//!      + w₃ KL(p' ‖ p)                                                 masked tokens
//!      + w₄ (masked LM + sentence order)                               the text itself
//! ```
//!
//! v, h, p are the student's and v', h', p' the teacher's. The repetitions s are the last of each
//! layer group of the student; its L repetitions correspond to the teacher's in proportion. The
//! hidden states of masked tokens are compared with those of the teacher on the text without masks.
//!
//! ```no_run
//! use albert_tasks::ModelFiles;
//! use albert_train::compress::Compression;
//! use albert_train::distill::Distill;
//! use albert_train::examples::Corpus;
//! use albert_train::optim::{OptimizerKind, OptimizerSettings};
//! use albert_train::{Length, TrainerSettings};
//!
//! # fn main() -> Result<(), albert_train::Error> {
//! let teacher = ModelFiles::resolve("sentence-transformers/all-MiniLM-L6-v2")?;
//! let start = Compression::default().with_groups(3).apply(&teacher, None, 42)?;
//! let optimizer = OptimizerSettings::new(OptimizerKind::AdamW);
//! let settings = TrainerSettings::new(Length::Epochs(1.0), optimizer, 1e-3);
//! Distill::new(start, teacher, Corpus::open(&["corpus"])?).run("my-albert", settings, |_| ())?;
//! # Ok(())
//! # }
//! ```
//!
//! Source: Nouriborji et al. 2023, "MiniALBERT"; for similarities between sentences, Reimers and
//! Gurevych 2020, "Making Monolingual Sentence Embeddings Multilingual", extended to all pairs.
//!
//! | Module | Content |
//! |---|---|
//! | `objectives` | the objectives and their weights |
//! | `student` | the model before its training |
//! | `teacher` | the teacher's answers: a model's, or a file of vectors |
//! | `step` | the losses of a batch |
//! | `task`, `sums` | the task of the trainer, and sums of its losses |

mod objectives;
mod step;
mod student;
mod sums;
mod task;
mod teacher;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::Head;

pub use objectives::{DistillObjective, DistillWeights};
pub use student::{Student, pretraining_head};
pub use task::Distillation;

use crate::error::{Error, Result};
use crate::examples::{Corpus, PretrainingExamples, PretrainingText, Sequences};
use crate::run;
use crate::text_training::TextTraining;
use crate::trainer::{Event, Summary, TrainerSettings};
use teacher::TeacherSource;

/// The setup of a distillation: a student, a teacher, text and settings.
#[derive(Debug)]
pub struct Distill {
    student: Student,
    teacher: TeacherSource,
    text: TextTraining,
    weights: Option<DistillWeights>,
}

impl Distill {
    /// Sets up the distillation of a model into a student that imitates it on text.
    pub fn new(student: Student, teacher: ModelFiles, text: impl Into<TextTraining>) -> Self {
        Self::with_teacher(student, TeacherSource::Model(teacher), text.into())
    }

    /// Sets up a distillation from a file with the embedding of each sentence of the text: `.npy`,
    /// `.safetensors`, `.parquet`, `.arrow` or `.jsonl`, as `embed` writes them, in the order of
    /// the text. They may come from any model.
    pub fn from_vectors(
        student: Student,
        vectors: impl Into<PathBuf>,
        text: impl Into<TextTraining>,
    ) -> Self {
        let teacher = TeacherSource::Vectors(vectors.into());
        Self::with_teacher(student, teacher, text.into())
    }

    fn with_teacher(student: Student, teacher: TeacherSource, text: TextTraining) -> Self {
        Self {
            student,
            teacher,
            text,
            weights: None,
        }
    }

    /// Sets the objectives; by default all that the teacher supports.
    #[must_use]
    pub fn with_objectives(mut self, weights: DistillWeights) -> Self {
        self.weights = Some(weights);
        self
    }

    /// Loads the teacher. The corpus is read as a stream, from the first step on.
    ///
    /// # Errors
    /// If the student, the teacher, the tokenizer and the objectives do not fit each other, or a
    /// file cannot be read.
    pub fn prepare(self) -> Result<Distillation> {
        let layout = self.student.parameters.layout();
        let tokenizer = self.text.load_tokenizer(&self.student.files)?;
        let text = &self.text;
        let teacher = self.teacher.load(&text.pass, &tokenizer, &text.train)?;
        let weights = match self.weights {
            Some(weights) => weights,
            None => teacher.objectives(layout),
        };
        weights.check(layout.head())?;
        let taps = teacher.taps(&weights, layout)?;
        let pooling = teacher.pooling(&weights, &self.student.files)?;
        let in_order = self.teacher.is_in_order_of_text();
        if in_order && text.eval.is_some() {
            return Err(Error::Setting {
                name: "eval",
                expected: "no evaluation text, because a file of vectors only covers the training \
                           text"
                    .into(),
                found: "some".into(),
            });
        }
        let pass = text.pass.pass(layout)?;
        let mut data = text.fingerprint(&pass);
        data["teacher"] = self.teacher.name().into();
        data["objective"] = weights.to_string().into();
        let has_order = weights.pretraining > 0.0 && layout.head() == Head::PreTraining;
        let TextTraining {
            train,
            eval,
            mut text,
            ..
        } = self.text;
        if !has_order {
            text.sequences = Sequences::Segments;
        }
        let streams = |corpus: Corpus, shuffle: bool| -> Result<_> {
            let windows = PretrainingText { shuffle, ..text };
            let sentences = PretrainingText {
                sequences: Sequences::Sentences,
                in_file_order: in_order,
                ..windows
            };
            let examples =
                |corpus, text| PretrainingExamples::new(corpus, Arc::clone(&tokenizer), text);
            let windows = weights
                .reads_masks()
                .then(|| examples(corpus.clone(), windows));
            Ok((examples(corpus, sentences)?, windows.transpose()?))
        };
        let (sentences, windows) = streams(train, text.shuffle)?;
        let evaluation = eval.map(|corpus| streams(corpus, false));
        Ok(Distillation {
            taps,
            pooling,
            evaluation: evaluation.transpose()?,
            parameters: self.student.parameters,
            files: self.student.files,
            is_kept: self.student.is_kept,
            pass,
            teacher,
            weights,
            sentences,
            windows,
            data,
            seed: text.seed,
        })
    }

    /// Trains, and writes the model into a new folder.
    ///
    /// # Errors
    /// As [`prepare`](Self::prepare) and [`Trainer::run`](crate::Trainer::run), or if the folder
    /// exists.
    pub fn run(
        self,
        folder: impl AsRef<Path>,
        settings: TrainerSettings,
        observe: impl FnMut(Event<'_>),
    ) -> Result<Summary> {
        run::train(folder.as_ref(), || self.prepare(), settings, observe)
    }
}

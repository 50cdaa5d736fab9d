//! The teacher: a model, or a file of sentence embeddings.

mod model;
mod vectors;

use std::path::{Path, PathBuf};

use albert_tasks::albert_model::train::{FlatLayout, Pooling};
use albert_tasks::{ModelFiles, Tokenizer};

use super::objectives::DistillWeights;
use super::step::Tap;
use crate::error::{Error, Result};
use crate::examples::{Corpus, PretrainingExample};
use crate::finetune::pooling;
use crate::pass_settings::PassSettings;
pub(super) use model::TeacherModel;
pub(super) use vectors::TeacherVectors;

/// The source of a teacher.
#[derive(Debug, Clone)]
pub(super) enum TeacherSource {
    /// The files of a model.
    Model(ModelFiles),
    /// A file with a vector for each sentence of the text.
    Vectors(PathBuf),
}

impl TeacherSource {
    /// Returns the name of the model or the file.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Model(files) => files.name().into(),
            Self::Vectors(path) => path.display().to_string(),
        }
    }

    /// Loads the teacher of a student that reads a text by its tokenizer.
    pub(super) fn load(
        &self,
        settings: &PassSettings,
        student: &Tokenizer,
        train: &Corpus,
    ) -> Result<Teacher> {
        Ok(match self {
            Self::Model(files) => {
                let mut model = TeacherModel::load(files, settings)?;
                model.read_ids_of(student)?;
                Teacher::Model(Box::new(model))
            }
            Self::Vectors(path) => Teacher::Vectors(TeacherVectors::open(path, train)?),
        })
    }

    /// Returns true if sentences must keep the order of the text, which the vectors have.
    pub(super) fn is_in_order_of_text(&self) -> bool {
        matches!(self, Self::Vectors(_))
    }
}

/// A loaded teacher.
#[derive(Debug)]
pub(super) enum Teacher {
    Model(Box<TeacherModel>),
    Vectors(TeacherVectors),
}

/// A teacher's outputs for sentences.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The sentence embeddings, `(B, H)`.
    pub(super) vectors: Vec<f32>,
    /// The hidden states for each tap, `(tokens, H)`.
    pub(super) states: Vec<Vec<f32>>,
}

impl Teacher {
    /// Returns the objectives that the teacher supports, with their usual weights.
    pub(super) fn objectives(&self, student: &FlatLayout) -> DistillWeights {
        match self {
            Self::Model(model) => model.objectives(student),
            Self::Vectors(_) => DistillWeights {
                embeddings: DistillWeights::EMBEDDINGS,
                ..DistillWeights::default()
            },
        }
    }

    /// Checks that the teacher has what the objectives need, and returns the repetitions that are
    /// compared.
    ///
    /// # Errors
    /// If it has not, or its vectors or hidden states have another width than the student's.
    pub(super) fn taps(&self, weights: &DistillWeights, student: &FlatLayout) -> Result<Vec<Tap>> {
        let missing = |expected: &str| {
            Err(Error::Setting {
                name: "teacher",
                expected: expected.into(),
                found: "a teacher without it".into(),
            })
        };
        let (model, width) = match self {
            Self::Model(model) => (Some(model), model.config().hidden_size),
            Self::Vectors(vectors) => (None, vectors.width()),
        };
        if weights.masked_lm > 0.0 && !model.is_some_and(|model| model.has_masked_lm()) {
            return missing("a masked-LM head for the objective masked-lm");
        }
        if weights.hidden_states > 0.0 && model.is_none() {
            return missing("a model for the objective hidden-states");
        }
        let own = student.config().hidden_size;
        if weights.reads_sentences() && own != width {
            return Err(Error::Setting {
                name: "student",
                expected: format!("hidden states as wide as the teacher's, {width}"),
                found: own.to_string(),
            });
        }
        Ok(match model {
            Some(model) if weights.hidden_states > 0.0 => {
                Tap::all(student.config(), model.config())
            }
            _ => Vec::new(),
        })
    }

    /// Returns how token states become a sentence embedding, if an objective needs to know: as in
    /// the teacher's folder, or in the student's with a file of vectors.
    ///
    /// # Errors
    /// If the folder pools in a way that is not trained here.
    pub(super) fn pooling(
        &self,
        weights: &DistillWeights,
        student: &ModelFiles,
    ) -> Result<Option<Pooling>> {
        match self {
            _ if weights.embeddings == 0.0 => Ok(None),
            Self::Model(model) => model.pooling().map(Some),
            Self::Vectors(_) => pooling(student).map(Some),
        }
    }

    /// Returns the outputs for lone sentences.
    pub(super) fn sentences(
        &mut self,
        examples: &[PretrainingExample],
        taps: &[Tap],
        pooling: Option<Pooling>,
    ) -> Result<Answers> {
        match self {
            Self::Model(model) => model.sentences(examples, taps, pooling),
            Self::Vectors(vectors) => Ok(Answers {
                vectors: vectors.of(examples),
                states: Vec::new(),
            }),
        }
    }

    /// Returns the model.
    ///
    /// # Errors
    /// If the teacher is a file of vectors.
    pub(super) fn model(&mut self) -> Result<&mut TeacherModel> {
        match self {
            Self::Model(model) => Ok(model),
            Self::Vectors(vectors) => Err(Error::Setting {
                name: "teacher",
                expected: "a model".into(),
                found: shown(vectors.path()),
            }),
        }
    }
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}

//! The model that another one is trained to imitate.

use std::sync::Arc;

use albert_tasks::albert_model::train::{
    FlatLayout, FlatParameters, MaskedLm, Pooling, TrainingBatch, TrainingPass,
};
use albert_tasks::albert_model::{AlbertConfig, Head};
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};

use crate::distill::objectives::DistillWeights;
use crate::distill::step::Tap;
use crate::distill::student::pretraining_head;
use crate::distill::teacher::Answers;
use crate::error::{Error, Result};
use crate::examples::PretrainingExample;
use crate::finetune::pooling;
use crate::pass_settings::PassSettings;

/// A trained ALBERT or BERT whose hidden states, sentence embeddings and masked tokens are imitated.
#[derive(Debug)]
pub(in crate::distill) struct TeacherModel {
    files: ModelFiles,
    parameters: FlatParameters,
    pass: TrainingPass,
    pooling: Option<Pooling>,
    /// The teacher's id of each piece of the student, unless all are the same.
    ids: Option<Vec<u32>>,
}

impl TeacherModel {
    /// Loads a model.
    ///
    /// # Errors
    /// If a file is missing or wrong.
    pub(in crate::distill) fn load(files: &ModelFiles, settings: &PassSettings) -> Result<Self> {
        let checkpoint = files.checkpoint()?;
        let head = pretraining_head(&checkpoint.heads());
        let layout = Arc::new(FlatLayout::new(checkpoint.config(), head)?);
        // A pooler that the model lacks is drawn and never read.
        let (parameters, _) = FlatParameters::from_checkpoint(&checkpoint, Arc::clone(&layout), 0)?;
        Ok(Self {
            pass: settings.pass(&layout)?,
            pooling: pooling(files).ok(),
            parameters,
            files: files.clone(),
            ids: None,
        })
    }

    /// Returns the configuration.
    pub(in crate::distill) fn config(&self) -> &AlbertConfig {
        self.parameters.layout().config()
    }

    /// Returns true if the model predicts masked tokens.
    pub(in crate::distill) fn has_masked_lm(&self) -> bool {
        self.parameters.layout().head() != Head::Encoder
    }

    /// Returns the objectives that the model supports, with their usual weights.
    pub(in crate::distill) fn objectives(&self, student: &FlatLayout) -> DistillWeights {
        let given = |is_possible: bool, weight: f32| if is_possible { weight } else { 0.0 };
        let is_as_wide = student.config().hidden_size == self.config().hidden_size;
        let modules = albert_tasks::Pooling::from_files(&self.files);
        let has_vectors = modules.is_ok_and(|it| it.from_modules) && self.pooling.is_some();
        let has_masks = student.head() != Head::Encoder && self.has_masked_lm();
        DistillWeights {
            embeddings: given(has_vectors && is_as_wide, DistillWeights::EMBEDDINGS),
            hidden_states: given(is_as_wide, 1.0),
            masked_lm: given(has_masks, 1.0),
            pretraining: 0.0,
        }
    }

    /// Returns how token states become a sentence embedding.
    ///
    /// # Errors
    /// If the model's folder pools in a way that is not trained here.
    pub(in crate::distill) fn pooling(&self) -> Result<Pooling> {
        match self.pooling {
            Some(pooling) => Ok(pooling),
            None => pooling(&self.files),
        }
    }

    /// Returns the hidden states of lone sentences for each tap, and their embeddings if `pooling`
    /// says how to make them.
    pub(in crate::distill) fn sentences(
        &mut self,
        examples: &[PretrainingExample],
        taps: &[Tap],
        pooling: Option<Pooling>,
    ) -> Result<Answers> {
        let batch = self.unmasked(examples);
        let (width, last) = (self.config().hidden_size, self.config().num_hidden_layers);
        let mut repetitions: Vec<usize> = taps.iter().map(|tap| tap.teacher).collect();
        if repetitions.last() != Some(&last) {
            repetitions.push(last);
        }
        let states = self.hidden_states(&batch, &repetitions)?;
        let last = &states[states.len() - 1];
        let vectors = pooling.map(|pooling| pooled(last, &batch, pooling, width));
        Ok(Answers {
            vectors: vectors.unwrap_or_default(),
            states,
        })
    }

    /// Returns examples without masks as a batch of the teacher.
    pub(in crate::distill) fn unmasked(&self, examples: &[PretrainingExample]) -> TrainingBatch {
        let examples = examples.iter();
        self.batch(examples.map(|example| (example.unmasked(), &example.type_ids[..])))
    }

    /// Makes the teacher take a student's token ids from now on. The student's pieces must be
    /// pieces of the teacher, which may have others and other ids.
    ///
    /// # Errors
    /// If the teacher lacks a piece.
    pub(in crate::distill) fn read_ids_of(&mut self, student: &Tokenizer) -> Result<()> {
        let own = Tokenizer::load(&self.files, &TokenizerOptions::default())?;
        let ids = (0..student.vocab_size() as u32).map(|id| {
            let piece = student.id_to_token(id).unwrap_or_default();
            own.token_to_id(&piece).ok_or_else(|| Error::Setting {
                name: "teacher",
                expected: format!("the pieces of the student, such as `{piece}`"),
                found: "a tokenizer without it".into(),
            })
        });
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let is_same = ids.iter().zip(0..).all(|(own, id)| *own == id)
            && ids.len() == self.config().vocab_size;
        self.ids = (!is_same).then_some(ids);
        Ok(())
    }

    /// Returns the teacher's ids of a student's.
    fn own_ids(&self, ids: &[u32]) -> Vec<u32> {
        match &self.ids {
            None => ids.to_vec(),
            Some(own) => ids.iter().map(|id| own[*id as usize]).collect(),
        }
    }

    /// Returns sequences of a student's token ids, with their types, as a batch of the teacher.
    pub(in crate::distill) fn batch<'a>(
        &self,
        sequences: impl IntoIterator<Item = (Vec<u32>, &'a [u32])>,
    ) -> TrainingBatch {
        let mut batch = TrainingBatch::new();
        let has_types = self.config().type_vocab_size > 1;
        for (ids, types) in sequences {
            let zeros = vec![0; ids.len()];
            let types = if has_types { types } else { &zeros };
            batch.push(&self.own_ids(&ids), types);
        }
        batch
    }

    /// Computes the hidden states of all rows after some numbers of repetitions, each `(tokens, H)`.
    ///
    /// # Errors
    /// If the batch does not fit the model.
    pub(in crate::distill) fn hidden_states(
        &mut self,
        batch: &TrainingBatch,
        repetitions: &[usize],
    ) -> Result<Vec<Vec<f32>>> {
        Ok(self
            .pass
            .hidden_states(&self.parameters, batch, repetitions)?)
    }

    /// Computes the logits of the student's pieces in rows of a batch, ascending: `(rows, V)`.
    ///
    /// # Errors
    /// If the model has no masked-LM head, or the batch does not fit it.
    pub(in crate::distill) fn logits(
        &mut self,
        batch: &TrainingBatch,
        rows: &[usize],
    ) -> Result<Vec<f32>> {
        // The labels decide the loss alone, which is not used.
        let targets = rows.iter().map(|row| (*row, 0)).collect();
        let masked = MaskedLm::new(self.parameters.layout(), targets)?;
        let (_, logits) = self.pass.predict(&self.parameters, batch, &masked)?;
        let logits = logits.concat();
        Ok(match &self.ids {
            None => logits,
            Some(ids) => {
                let rows = logits.chunks_exact(self.config().vocab_size);
                rows.flat_map(|row| ids.iter().map(|id| row[*id as usize]))
                    .collect()
            }
        })
    }
}

/// Pools the states of each sequence, `(tokens, H)` → `(B, H)`.
fn pooled(states: &[f32], batch: &TrainingBatch, pooling: Pooling, width: usize) -> Vec<f32> {
    let mut vectors = Vec::with_capacity(batch.len() * width);
    for sequence in 0..batch.len() {
        let rows = batch.rows(sequence);
        let states = &states[rows.start * width..rows.end * width];
        match pooling {
            Pooling::Cls => vectors.extend_from_slice(&states[..width]),
            _ => {
                let mut mean = vec![0f64; width];
                for row in states.chunks_exact(width) {
                    let pairs = mean.iter_mut().zip(row);
                    pairs.for_each(|(sum, x)| *sum += f64::from(*x));
                }
                let tokens = rows.len() as f64;
                vectors.extend(mean.iter().map(|sum| (sum / tokens) as f32));
            }
        }
    }
    vectors
}

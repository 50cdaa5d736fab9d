//! Multiple choice: picks the text that best matches another text, as in reading comprehension with
//! given answers (RACE) or the endings of stories (SWAG).
//!
//! Each choice is read together with the text, `[CLS] text [SEP] choice [SEP]`, and has one logit;
//! a softmax over the choices turns the logits into probabilities.

use albert_model::AlbertForMultipleChoice;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::batching;
use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::probability::{argmax, softmax};
use crate::sequence::{Owner, Sequence};
use crate::task::{impl_access, impl_loading};
use crate::windowed::{Windowed, room};
use crate::{Error, Result, SharedModel};

/// Options for [`Chooser::choose_with`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChooseOptions {
    /// Reads a text that is too long in windows that share this many tokens, and averages their
    /// probabilities, weighted by the number of the text's tokens in each. `None` truncates the
    /// longer of text and choice.
    pub stride: Option<usize>,
}

impl ChooseOptions {
    /// Reads long texts in windows that share `stride` tokens.
    pub fn with_stride(mut self, stride: impl Into<Option<usize>>) -> Self {
        self.stride = stride.into();
        self
    }
}

/// The scores of one text's choices.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChoiceScores {
    /// The index of the best choice, from 0.
    pub choice: usize,
    /// The probability of each choice, in the given order.
    pub scores: Vec<f32>,
    /// Tokens that entered the network, special tokens included, over all choices and windows.
    pub tokens: usize,
    /// True if the text or a choice was truncated: the end of the longer one is removed.
    pub truncated: bool,
}

/// Picks one of several choices for a text, with a multiple choice head.
///
/// ```
/// use albert_tasks::{Chooser, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/choice");
/// let chooser = Chooser::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let choices = ["walked in.", "closed the river."];
/// let answers = chooser.choose(&[("She opened the door and", &choices[..])])?;
/// assert!(answers[0].scores[answers[0].choice] >= 0.5);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "multiple choice")]
#[doc(alias = "AlbertForMultipleChoice")]
#[derive(Debug)]
pub struct Chooser {
    pipeline: Pipeline<AlbertForMultipleChoice>,
}

impl_loading!(Chooser);
impl_access!(Chooser);

impl Chooser {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no multiple choice head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Pairs)?;
        Ok(Self { pipeline })
    }

    /// Returns the maximum length of a text with a choice in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Scores the choices of each text, in order. Texts may have different numbers of choices.
    ///
    /// # Errors
    /// If a text has no choices, the tokenizer refuses a text or the computation fails.
    pub fn choose<S: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        texts: &[(S, &[C])],
    ) -> Result<Vec<ChoiceScores>> {
        self.choose_with(texts, &ChooseOptions::default())
    }

    /// Scores the choices of each text with options.
    ///
    /// # Errors
    /// See [`choose`](Self::choose); with a stride also if a choice or the stride leaves no room
    /// for the text.
    pub fn choose_with<S: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        texts: &[(S, &[C])],
        options: &ChooseOptions,
    ) -> Result<Vec<ChoiceScores>> {
        if texts.iter().any(|(_, choices)| choices.is_empty()) {
            return Err(Error::Empty { what: "choices" });
        }
        // Each choice is read with the text.
        let size = |(text, choices): &(S, &[C])| {
            let of_choices: usize = choices.iter().map(|choice| choice.as_ref().len()).sum();
            let of_texts = text.as_ref().len().saturating_mul(choices.len());
            of_texts.saturating_add(of_choices)
        };
        self.pipeline
            .runner
            .in_chunks(texts, CHUNK_BYTES, size, |texts| {
                self.choose_chunk(texts, options)
            })
    }

    fn choose_chunk<S: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        texts: &[(S, &[C])],
        options: &ChooseOptions,
    ) -> Result<Vec<ChoiceScores>> {
        let read: Vec<Vec<Windowed>> = texts
            .par_iter()
            .map(|(text, choices)| self.read(text.as_ref(), choices, options))
            .collect::<Result<_>>()?;
        let rows: Vec<_> = read.iter().flatten().flat_map(|it| &it.rows).collect();
        let model = &self.pipeline.model;
        let logits = batching::row_logits(&rows, &self.pipeline.runner, |input| {
            Ok(model.forward(input)?.logits)
        })?;
        let mut logits = logits.into_iter().flatten();
        let finish = |choices: Vec<Windowed>| {
            // All choices of a text have the same windows.
            let windows = choices[0].rows.len();
            let by_choice: Vec<Vec<f32>> = choices
                .iter()
                .map(|_| logits.by_ref().take(windows).collect())
                .collect();
            let by_window: Vec<Vec<f32>> = (0..windows)
                .map(|window| {
                    let mut scores: Vec<f32> = by_choice.iter().map(|it| it[window]).collect();
                    softmax(&mut scores);
                    scores
                })
                .collect();
            let scores = choices[0].average(&by_window);
            ChoiceScores {
                choice: argmax(&scores),
                scores,
                tokens: choices.iter().map(Windowed::tokens).sum(),
                truncated: choices.iter().any(Windowed::truncated),
            }
        };
        Ok(read.into_iter().map(finish).collect())
    }

    /// Returns the rows of each choice; if one of them is too long, all are read in the same
    /// windows.
    fn read<C: AsRef<str>>(
        &self,
        text: &str,
        choices: &[C],
        options: &ChooseOptions,
    ) -> Result<Vec<Windowed>> {
        let Pipeline {
            tokenizer,
            max_length,
            ..
        } = &self.pipeline;
        let whole: Vec<Windowed> = choices
            .iter()
            .map(|choice| Windowed::new(tokenizer, &(text, choice.as_ref()), *max_length, None))
            .collect::<Result<_>>()?;
        let Some(stride) = options
            .stride
            .filter(|_| whole.iter().any(Windowed::truncated))
        else {
            return Ok(whole);
        };
        let sequences: Vec<Sequence> = choices
            .iter()
            .map(|choice| Sequence::new(tokenizer, text, Some(choice.as_ref())))
            .collect::<Result<_>>()?;
        let fixed = sequences
            .iter()
            .map(|sequence| sequence.special() + sequence.count(Owner::Second))
            .max();
        let room = room(*max_length, fixed.unwrap_or(0), "choice")?;
        sequences
            .iter()
            .map(|sequence| Windowed::from_sequence(sequence, room, stride))
            .collect()
    }
}

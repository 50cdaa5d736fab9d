//! Which of several texts goes best with another: reading comprehension with given answers (RACE),
//! endings of stories (SWAG).
//!
//! Each choice is read together with the text, `[CLS] text [SEP] choice [SEP]`, and has one logit;
//! a softmax over the choices makes them probabilities.

use albert_model::{AlbertConfig, AlbertForMultipleChoice, Pretrained as _};
use serde::Serialize;

use crate::batching;
use crate::options::{Purpose, Setup};
use crate::probability::{argmax, softmax};
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};

/// One text's best choice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The best choice's number, from 0.
    pub choice: usize,
    /// The probability of each choice, in the order they were given.
    pub scores: Vec<f32>,
    /// Tokens that entered the model, special tokens included, over all choices.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the text or a choice was cut to fit: the longer of the two loses its end.
    #[serde(skip)]
    pub truncated: bool,
}

/// Picks one of several choices for a text.
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
#[derive(Debug)]
pub struct Chooser {
    model: AlbertForMultipleChoice,
    tokenizer: Tokenizer,
    max_length: usize,
    runner: Runner,
}

impl Chooser {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no multiple choice head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForMultipleChoice::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        tokenizer.room(max_length, true)?;
        Ok(Self {
            model,
            tokenizer,
            max_length,
            runner,
        })
    }

    /// The longest text with a choice in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The best choice for each text, in order. Texts may have different numbers of choices.
    ///
    /// # Errors
    /// If a text has no choices, the tokenizer refuses a text or the computation fails.
    pub fn choose<S: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        texts: &[(S, &[C])],
    ) -> Result<Vec<Choice>> {
        if texts.iter().any(|(_, choices)| choices.is_empty()) {
            return Err(Error::NoChoices);
        }
        // Each choice is read with the text.
        let size = |(text, choices): &(S, &[C])| {
            let of_choices = choices
                .iter()
                .map(|choice| choice.as_ref().len())
                .sum::<usize>();
            text.as_ref()
                .len()
                .saturating_mul(choices.len())
                .saturating_add(of_choices)
        };
        self.runner.in_portions(texts, TEXT_AT_ONCE, size, |texts| {
            self.choose_portion(texts)
        })
    }

    fn choose_portion<S: AsRef<str>, C: AsRef<str>>(
        &self,
        texts: &[(S, &[C])],
    ) -> Result<Vec<Choice>> {
        let inputs: Vec<(&str, Option<&str>)> = texts
            .iter()
            .flat_map(|(text, choices)| {
                choices
                    .iter()
                    .map(|choice| (text.as_ref(), Some(choice.as_ref())))
            })
            .collect();
        let rows = batching::encode(&self.tokenizer, &inputs, self.max_length)?;
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            Ok(self
                .model
                .forward(&batching::choice_input(rows, device)?)?
                .logits) // (B, 1)
        })?;
        let mut answers = rows.iter().zip(logits.iter().flatten());
        let finish = |(_, choices): &(S, &[C])| {
            let of_text: Vec<(&TokenIds, &f32)> = answers.by_ref().take(choices.len()).collect();
            let mut scores: Vec<f32> = of_text.iter().map(|(_, logit)| **logit).collect();
            softmax(&mut scores);
            Choice {
                choice: argmax(&scores),
                scores,
                tokens: of_text.iter().map(|(row, _)| row.ids.len()).sum(),
                truncated: of_text.iter().any(|(row, _)| row.truncated),
            }
        };
        Ok(texts.iter().map(finish).collect())
    }
}

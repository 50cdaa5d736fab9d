//! Answers to questions, found in a context.
//!
//! The question and a window of the context enter the model as a pair; a context too long for one
//! window is read in several that overlap. The best span over all of them is the answer (`span`),
//! widened to whole words. Source: transformers 4.46.3, `pipelines/question_answering.py`.

mod span;

use std::num::NonZeroUsize;
use std::ops::Range;

use albert_model::{AlbertConfig, AlbertForQuestionAnswering, Pretrained as _};
use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;

use crate::batching;
use crate::options::{Purpose, Setup};
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::sequence::{Characters, Owner, Sequence, windows};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};
use span::best_span;

/// Tokens of a window, special tokens included, unless the model or the caller says less or the
/// caller says more: the pipeline's `max_seq_len`.
const WINDOW_TOKENS: usize = 384;

/// Tokens that a window has in common with the one before: the pipeline's `doc_stride`.
const STRIDE: usize = 128;

/// Tokens of the question that are kept where all of them would leave too little room for the
/// context: the pipeline's `max_question_len`.
const QUESTION_TOKENS: usize = 64;

/// How answers are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswerOptions {
    /// The most tokens that an answer may have.
    pub max_answer_tokens: NonZeroUsize,
    /// Whether "no answer" is one: it is given where no span is more probable.
    pub allow_no_answer: bool,
}

impl Default for AnswerOptions {
    fn default() -> Self {
        const PIPELINES: NonZeroUsize = NonZeroUsize::new(15).unwrap();
        Self {
            max_answer_tokens: PIPELINES,
            allow_no_answer: false,
        }
    }
}

/// A question's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The words of the context; empty where there is no answer.
    pub answer: String,
    /// Its first character in the context, counted in Unicode scalar values; `None` where there is
    /// no answer.
    pub start: Option<usize>,
    /// The character behind its last.
    pub end: Option<usize>,
    /// The product of the probabilities of its first and its last token, within its window.
    pub score: f32,
    /// Tokens that entered the model, special tokens included, over all windows.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the question was cut to fit.
    #[serde(skip)]
    pub truncated: bool,
}

/// Answers questions from contexts, as models fine-tuned on SQuAD do.
///
/// ```
/// use albert_tasks::{AnswerOptions, Answerer, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/question");
/// let answerer = Answerer::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let context = "The river runs through the old town.";
/// let answers = answerer.answer(&[("What runs through the town?", context)], &AnswerOptions::default())?;
/// assert!(context.contains(&answers[0].answer));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Answerer {
    model: AlbertForQuestionAnswering,
    tokenizer: Tokenizer,
    max_length: usize,
    runner: Runner,
}

/// A question with its context, ready to be read.
struct Prepared {
    sequence: Sequence,
    /// The token indices of each window.
    windows: Vec<Vec<usize>>,
    truncated: bool,
}

impl Answerer {
    /// Loads a model with its tokenizer.
    ///
    /// A window has 384 tokens, or as many as the model takes if those are fewer;
    /// [`RunOptions::max_length`] sets another number.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no question answering head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForQuestionAnswering::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        let max_length = match options.max_length {
            Some(_) => max_length,
            None => max_length.min(WINDOW_TOKENS),
        };
        tokenizer.room(max_length, true)?;
        Ok(Self {
            model,
            tokenizer,
            max_length,
            runner,
        })
    }

    /// The tokens of a window, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The answer to each question from the context beside it, in order.
    ///
    /// An empty context has the empty answer at its beginning, with a score of 0.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn answer<Q: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        questions: &[(Q, C)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answer>> {
        let size = |(_, context): &(Q, C)| context.as_ref().len();
        self.runner
            .in_portions(questions, TEXT_AT_ONCE, size, |questions| {
                self.answer_portion(questions, options)
            })
    }

    fn answer_portion<Q: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        questions: &[(Q, C)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answer>> {
        let prepared: Vec<Prepared> = questions
            .par_iter()
            .map(|(question, context)| self.prepare(question.as_ref(), context.as_ref()))
            .collect::<Result<_>>()?;
        let rows: Vec<TokenIds> = prepared
            .iter()
            .flat_map(|pair| {
                pair.windows
                    .iter()
                    .map(|window| pair.sequence.tokens(window))
            })
            .collect();
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            let output = self.model.forward(&batching::model_input(rows, device)?)?;
            Tensor::stack(&[output.start_logits, output.end_logits], 2) // (B, T, 2)
        })?;
        let mut logits = logits.into_iter();
        let finish = |((_, context), prepared): (&(Q, C), Prepared)| {
            let of_pair: Vec<Vec<f32>> = logits.by_ref().take(prepared.windows.len()).collect();
            self.best(context.as_ref(), &prepared, &of_pair, options)
        };
        Ok(questions.iter().zip(prepared).map(finish).collect())
    }

    fn prepare(&self, question: &str, context: &str) -> Result<Prepared> {
        let sequence = Sequence::new(&self.tokenizer, question, Some(context))?;
        let available = self.max_length.saturating_sub(sequence.special());
        let wanted = (self.max_length / 2).min(STRIDE);
        let (asked, given) = (sequence.count(Owner::First), sequence.count(Owner::Second));
        let mut kept = asked;
        // transformers fails here; its documentation has the question cut.
        if asked + given.max(1) > available && available.saturating_sub(kept) <= wanted {
            kept = kept.min(QUESTION_TOKENS).min(available / 2);
        }
        let room = available - kept;
        if room == 0 {
            let tokens = sequence.special() + kept;
            return Err(Error::NoRoom {
                what: "question",
                tokens,
                max_length: self.max_length,
            });
        }
        let stride = wanted.min(room - 1);
        let windows = windows(given, room, stride);
        let windows = windows
            .into_iter()
            .map(|range| sequence.window(0..kept, range))
            .collect();
        Ok(Prepared {
            sequence,
            windows,
            truncated: kept < asked,
        })
    }

    /// The best span over all windows, as words of the context.
    fn best(
        &self,
        context: &str,
        prepared: &Prepared,
        logits: &[Vec<f32>],
        options: &AnswerOptions,
    ) -> Answer {
        let mut best: Option<(f32, Range<usize>)> = None;
        let mut null_score = f32::INFINITY;
        for (window, logits) in prepared.windows.iter().zip(logits) {
            let in_context = |index: &usize| prepared.sequence.owner(*index) == Some(Owner::Second);
            let allowed: Vec<bool> = window.iter().map(in_context).collect();
            let found = best_span(logits, &allowed, options.max_answer_tokens.get());
            null_score = null_score.min(found.null_score);
            if best.as_ref().is_none_or(|(score, _)| found.score > *score) {
                let characters = found
                    .span
                    .map(|span| self.characters(&prepared.sequence, window, span));
                best = Some((found.score, characters.unwrap_or(0..0)));
            }
        }
        let tokens = prepared.windows.iter().map(Vec::len).sum();
        let truncated = prepared.truncated;
        match best {
            Some((score, characters)) if !options.allow_no_answer || score > null_score => Answer {
                answer: Characters::new(context)
                    .slice(characters.start, characters.end)
                    .to_string(),
                start: Some(characters.start),
                end: Some(characters.end),
                score,
                tokens,
                truncated,
            },
            _ => Answer {
                answer: String::new(),
                start: None,
                end: None,
                score: null_score,
                tokens,
                truncated,
            },
        }
    }

    /// The characters of a window's tokens, from the beginning of the first one's word to the end
    /// of the last one's, as far as these are in the window.
    fn characters(
        &self,
        sequence: &Sequence,
        window: &[usize],
        span: Range<usize>,
    ) -> Range<usize> {
        let in_context = |at: usize| sequence.owner(window[at]) == Some(Owner::Second);
        let mut first = span.start;
        while !self.begins_word(sequence, window[first]) && first > 0 && in_context(first - 1) {
            first -= 1;
        }
        let mut last = span.end - 1;
        while last + 1 < window.len()
            && in_context(last + 1)
            && !self.begins_word(sequence, window[last + 1])
        {
            last += 1;
        }
        sequence.encoding.offsets[window[first]].0..sequence.encoding.offsets[window[last]].1
    }

    /// Whether a token begins a word, as the tokenizer cuts words: at spaces, where a piece begins
    /// with `▁`; of a vocab.txt, everything but `##` pieces. The mask and its like are words of
    /// their own.
    fn begins_word(&self, sequence: &Sequence, index: usize) -> bool {
        let piece = &sequence.encoding.pieces[index];
        match self.tokenizer.model_name() {
            "WordPiece" => !piece.starts_with("##"),
            _ => piece.starts_with('▁') || ["[CLS]", "[SEP]", "[MASK]"].contains(&piece.as_str()),
        }
    }
}

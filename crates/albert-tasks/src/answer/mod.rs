//! Extractive question answering: finds the answers to questions in a context.
//!
//! The question and a window of the context enter the network as a pair; a context too long for one
//! window is read in several that overlap. The best spans over all of them are the answers
//! (`span`), widened to whole words. Source: transformers 4.46.3,
//! `pipelines/question_answering.py`.

mod span;

use std::num::NonZeroUsize;
use std::ops::Range;

use albert_model::AlbertForQuestionAnswering;
use candle_core::Tensor;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::batching;
use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::sequence::{Characters, Owner, Sequence, windows};
use crate::task::{impl_access, impl_loading};
use crate::tokenizer::TokenIds;
use crate::windowed::room;
use crate::{Result, SharedModel};
use span::best_spans;

/// Tokens in a window, special tokens included, unless the caller sets a number or the model's
/// limit is lower: the pipeline's `max_seq_len`.
const WINDOW_TOKENS: usize = 384;

/// Tokens that a window shares with the one before: the pipeline's `doc_stride`.
const STRIDE: usize = 128;

/// Tokens of the question that are kept if all of them would leave too little room for the context:
/// the pipeline's `max_question_len`.
const QUESTION_TOKENS: usize = 64;

/// Options for [`Answerer::answer`].
///
/// ```
/// use albert_tasks::AnswerOptions;
///
/// let options = AnswerOptions::default().with_top_k(3).with_threshold(0.1);
/// assert_eq!(options.top_k.get(), 3);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AnswerOptions {
    /// The maximum number of answers to a question. Several may be the same words, found in two
    /// windows or widened from two spans.
    pub top_k: NonZeroUsize,
    /// The maximum number of tokens in an answer, before it is widened to whole words.
    pub max_answer_tokens: NonZeroUsize,
    /// True to make "no answer" one of the answers, with its own score.
    pub allow_no_answer: bool,
    /// Drops answers with a lower score. A question without any answer left has "no answer".
    pub threshold: Option<f32>,
    /// True to widen an answer to whole words. Otherwise an answer is exactly the tokens found,
    /// which suits texts without spaces.
    pub align_to_words: bool,
}

impl Default for AnswerOptions {
    /// Returns the defaults of transformers' pipeline.
    fn default() -> Self {
        const MAX_ANSWER_TOKENS: NonZeroUsize = NonZeroUsize::new(15).unwrap();
        Self {
            top_k: NonZeroUsize::MIN,
            max_answer_tokens: MAX_ANSWER_TOKENS,
            allow_no_answer: false,
            threshold: None,
            align_to_words: true,
        }
    }
}

impl AnswerOptions {
    /// Returns up to `top_k` answers per question; 0 means 1.
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = NonZeroUsize::new(top_k).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Limits answers to `max_answer_tokens` tokens; 0 means 1.
    pub fn with_max_answer_tokens(mut self, max_answer_tokens: usize) -> Self {
        self.max_answer_tokens = NonZeroUsize::new(max_answer_tokens).unwrap_or(NonZeroUsize::MIN);
        self
    }

    /// Sets whether "no answer" is one of the answers.
    pub fn with_allow_no_answer(mut self, allow_no_answer: bool) -> Self {
        self.allow_no_answer = allow_no_answer;
        self
    }

    /// Drops answers with a score below `threshold`.
    pub fn with_threshold(mut self, threshold: impl Into<Option<f32>>) -> Self {
        self.threshold = threshold.into();
        self
    }

    /// Sets whether answers are widened to whole words.
    pub fn with_align_to_words(mut self, align_to_words: bool) -> Self {
        self.align_to_words = align_to_words;
        self
    }
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer {
    /// The words of the context; empty for "no answer".
    pub answer: String,
    /// The offset of its first character in the context, in Unicode scalar values; `None` for "no
    /// answer".
    pub start: Option<usize>,
    /// The end offset (exclusive).
    pub end: Option<usize>,
    /// The product of the probabilities of its first and last token, within its window. For "no
    /// answer", the minimum over all windows of this product for `[CLS]`.
    pub score: f32,
}

/// The answers to one question.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answers {
    /// The answers, best first; at least one.
    pub answers: Vec<Answer>,
    /// Tokens that entered the network, special tokens included, over all windows.
    pub tokens: usize,
    /// True if the question was truncated.
    pub truncated: bool,
}

/// Extractive question answering: finds answers in contexts, as models fine-tuned on SQuAD do.
///
/// ```
/// use albert_tasks::{AnswerOptions, Answerer, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/question");
/// let answerer = Answerer::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let context = "The river runs through the old town.";
/// let found = answerer.answer(&[("What runs through the town?", context)], &AnswerOptions::default())?;
/// assert!(context.contains(&found[0].answers[0].answer));
/// # Ok(())
/// # }
/// ```
#[doc(alias = "question answering")]
#[doc(alias = "QA")]
#[doc(alias = "SQuAD")]
#[doc(alias = "AlbertForQuestionAnswering")]
#[derive(Debug)]
pub struct Answerer {
    pipeline: Pipeline<AlbertForQuestionAnswering>,
}

/// A tokenized question with its context.
struct Prepared {
    sequence: Sequence,
    /// The tokens of the question that are in every window.
    asked: usize,
    /// The tokens of the context in each window.
    windows: Vec<Range<usize>>,
    truncated: bool,
}

impl Prepared {
    /// Returns the token indices of each window, special tokens included.
    fn indices(&self) -> impl Iterator<Item = Vec<usize>> {
        let windows = self.windows.iter().cloned();
        windows.map(|range| self.sequence.window(0..self.asked, range))
    }
}

impl_loading!(Answerer);
impl_access!(Answerer);

impl Answerer {
    /// Creates the task on a model that other tasks may share.
    ///
    /// A window has 384 tokens, or the model's limit if that is less;
    /// [`RunOptions::max_length`](crate::RunOptions::max_length) sets another number.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no question answering head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let mut pipeline = Pipeline::from_model(model, Purpose::Pairs)?;
        if model.options().max_length.is_none() {
            pipeline.max_length = pipeline.max_length.min(WINDOW_TOKENS);
        }
        Ok(Self { pipeline })
    }

    /// Returns the maximum length of a window in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Answers each question from the context next to it, in order.
    ///
    /// An empty context has the empty answer at its beginning, with a score of 0.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn answer<Q: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        questions: &[(Q, C)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answers>> {
        let size = |(_, context): &(Q, C)| context.as_ref().len();
        self.pipeline
            .runner
            .in_chunks(questions, CHUNK_BYTES, size, |questions| {
                self.answer_chunk(questions, options)
            })
    }

    fn answer_chunk<Q: AsRef<str> + Sync, C: AsRef<str> + Sync>(
        &self,
        questions: &[(Q, C)],
        options: &AnswerOptions,
    ) -> Result<Vec<Answers>> {
        let prepared: Vec<Prepared> = questions
            .par_iter()
            .map(|(question, context)| self.prepare(question.as_ref(), context.as_ref()))
            .collect::<Result<_>>()?;
        let rows: Vec<TokenIds> = prepared
            .iter()
            .flat_map(|pair| pair.indices().map(|window| pair.sequence.tokens(&window)))
            .collect();
        let model = &self.pipeline.model;
        let logits = batching::token_logits(&rows, &self.pipeline.runner, |input| {
            let output = model.forward(input)?;
            Tensor::stack(&[output.start_logits, output.end_logits], 1) // (ΣT, 2)
        })?;
        let mut logits = logits.into_iter();
        let finish = |((_, context), prepared): (&(Q, C), Prepared)| {
            let of_pair: Vec<Vec<f32>> = logits.by_ref().take(prepared.windows.len()).collect();
            self.best(context.as_ref(), &prepared, &of_pair, options)
        };
        Ok(questions.iter().zip(prepared).map(finish).collect())
    }

    fn prepare(&self, question: &str, context: &str) -> Result<Prepared> {
        let sequence = Sequence::new(&self.pipeline.tokenizer, question, Some(context))?;
        let max_length = self.pipeline.max_length;
        let available = max_length.saturating_sub(sequence.special());
        let wanted = (max_length / 2).min(STRIDE);
        let (asked, given) = (sequence.count(Owner::First), sequence.count(Owner::Second));
        let mut kept = asked;
        // transformers fails here, although its documentation says that it truncates the question.
        if asked + given.max(1) > available && available.saturating_sub(kept) <= wanted {
            kept = kept.min(QUESTION_TOKENS).min(available / 2);
        }
        let room = room(max_length, sequence.special() + kept, "question")?;
        let stride = wanted.min(room - 1);
        let windows = windows(given, room, stride);
        Ok(Prepared {
            sequence,
            asked: kept,
            windows,
            truncated: kept < asked,
        })
    }

    /// Collects the best spans over all windows, as words of the context.
    fn best(
        &self,
        context: &str,
        prepared: &Prepared,
        logits: &[Vec<f32>],
        options: &AnswerOptions,
    ) -> Answers {
        let characters = Characters::new(context);
        let answer = |range: Range<usize>, score: f32| Answer {
            answer: characters.slice(range.start, range.end).to_string(),
            start: Some(range.start),
            end: Some(range.end),
            score,
        };
        let mut answers = Vec::new();
        let mut null_score = f32::INFINITY;
        let mut entered = 0;
        for (window, logits) in prepared.indices().zip(logits) {
            entered += window.len();
            let in_context = |index: &usize| prepared.sequence.owner(*index) == Some(Owner::Second);
            let allowed: Vec<bool> = window.iter().map(in_context).collect();
            let (max_tokens, top_k) = (options.max_answer_tokens.get(), options.top_k.get());
            let spans = best_spans(logits, &allowed, max_tokens, top_k);
            null_score = null_score.min(spans.null_score);
            answers.extend(spans.best.into_iter().map(|(span, score)| {
                let range = if options.align_to_words {
                    self.widened(&prepared.sequence, &window, span)
                } else {
                    offsets(&prepared.sequence, &window, span.start, span.end - 1)
                };
                answer(range, score)
            }));
        }
        if answers.is_empty() {
            answers.push(answer(0..0, 0.0));
        }
        answers.retain(|answer| options.threshold.is_none_or(|least| answer.score >= least));
        if options.allow_no_answer || answers.is_empty() {
            answers.push(Answer {
                answer: String::new(),
                start: None,
                end: None,
                score: null_score,
            });
        }
        // A stable sort: among equal scores the earlier window wins, and a span wins over "no
        // answer".
        answers.sort_by(|a, b| b.score.total_cmp(&a.score));
        answers.truncate(options.top_k.get());
        Answers {
            answers,
            tokens: entered,
            truncated: prepared.truncated,
        }
    }

    /// Returns the characters of a span, widened from the start of its first token's word to the
    /// end of its last token's word, as far as these are in the window.
    fn widened(&self, sequence: &Sequence, window: &[usize], span: Range<usize>) -> Range<usize> {
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
        offsets(sequence, window, first, last)
    }

    /// Returns true if a token starts a word by the tokenizer's rules: a piece with `▁`, or in a
    /// vocab.txt any piece without `##`. Each special token is a word.
    fn begins_word(&self, sequence: &Sequence, index: usize) -> bool {
        let piece = self.pipeline.tokenizer.id_to_token(sequence.ids[index]);
        let piece = piece.unwrap_or_default();
        match self.pipeline.tokenizer.model_name() {
            "WordPiece" => !piece.starts_with("##"),
            _ => piece.starts_with('▁') || ["[CLS]", "[SEP]", "[MASK]"].contains(&piece.as_str()),
        }
    }
}

/// Returns the characters from the first token of a window to the last.
fn offsets(sequence: &Sequence, window: &[usize], first: usize, last: usize) -> Range<usize> {
    sequence.place(window[first]).start..sequence.place(window[last]).end
}

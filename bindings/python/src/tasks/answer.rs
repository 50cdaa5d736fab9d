//! Extractive question answering.

use albert_tasks::AnswerOptions;
use pyo3::prelude::*;

use crate::error::invalid;
use crate::model::ModelArgs;
use crate::pool::Threads;
use crate::steps::in_steps;
use crate::texts::texts;

/// Answers questions.
#[derive(Debug)]
#[pyclass(frozen, module = "albert_candle._albert_candle")]
pub(crate) struct Answerer {
    answerer: albert_tasks::Answerer,
    threads: Threads,
}

/// An answer, with the keys of transformers' `question-answering`.
#[derive(Debug, IntoPyObject)]
pub(crate) struct Answer {
    score: f32,
    /// None for "no answer".
    start: Option<usize>,
    end: Option<usize>,
    answer: String,
}

impl From<albert_tasks::Answer> for Answer {
    fn from(answer: albert_tasks::Answer) -> Self {
        Self {
            score: answer.score,
            start: answer.start,
            end: answer.end,
            answer: answer.answer,
        }
    }
}

#[pymethods]
impl Answerer {
    /// Loads a model.
    #[new]
    fn new(py: Python<'_>, model: ModelArgs) -> PyResult<Self> {
        let (answerer, threads) = model.load(py, albert_tasks::Answerer::load)?;
        Ok(Self { answerer, threads })
    }

    /// Returns the answers to each question from the context with the same index.
    #[expect(clippy::too_many_arguments, reason = "each is an argument in Python")]
    fn answer(
        &self,
        py: Python<'_>,
        questions: &Bound<'_, PyAny>,
        contexts: &Bound<'_, PyAny>,
        top_k: usize,
        max_answer_tokens: usize,
        allow_no_answer: bool,
        threshold: Option<f32>,
        align_to_words: bool,
    ) -> PyResult<Vec<Vec<Answer>>> {
        let (questions, contexts) = (texts(questions)?, texts(contexts)?);
        if questions.len() != contexts.len() {
            return Err(invalid(format!(
                "contexts: expected {}, one for each question, found {}",
                questions.len(),
                contexts.len()
            )));
        }
        let options = AnswerOptions::default()
            .with_top_k(top_k)
            .with_max_answer_tokens(max_answer_tokens)
            .with_allow_no_answer(allow_no_answer)
            .with_threshold(threshold)
            .with_align_to_words(align_to_words);
        let pairs: Vec<(&str, &str)> = questions
            .iter()
            .zip(&contexts)
            .map(|(question, context)| (&**question, &**context))
            .collect();
        let answers = in_steps(py, &self.threads, &pairs, |pairs| {
            self.answerer.answer(pairs, &options)
        })?;
        let best_first =
            |found: albert_tasks::Answers| found.answers.into_iter().map(Answer::from).collect();
        Ok(answers.into_iter().map(best_first).collect())
    }

    /// The maximum number of tokens of a window.
    #[getter]
    fn max_length(&self) -> usize {
        self.answerer.max_length()
    }
}

//! Answers to questions as spans of a context.

use albert_data::{Cell, Format, Kind};
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{FlatLayout, Objective, Spans, TrainingBatch};
use rayon::prelude::*;
use serde_json::json;

use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Role, Row, read};
use super::options::ExampleOptions;
use super::sequences::Sequences;
use super::span::{Candidate, best_candidate};
use super::window::{Window, windows};
use crate::error::Result;
use crate::metrics::answers::AnswerScores;

/// A question with the texts and the places of its answers.
#[derive(Debug, Clone)]
struct Question {
    id: String,
    question: String,
    context: String,
    /// Each answer with its first character; none if the context does not answer the question.
    answers: Vec<(String, usize)>,
}

/// Questions about contexts.
#[derive(Debug)]
pub(super) struct AnsweringExamples {
    questions: Vec<Question>,
    windows: Vec<Window>,
    sequences: Sequences,
    /// The question of each window.
    owners: Vec<usize>,
    max_answer_tokens: usize,
    may_be_impossible: bool,
}

impl AnsweringExamples {
    /// Reads questions, and divides contexts that are too long into windows.
    ///
    /// # Errors
    /// If a file cannot be read, or an answer is not in its context.
    pub(super) fn read(
        data: &DataFiles,
        tokenizer: &Tokenizer,
        options: &ExampleOptions,
    ) -> Result<Self> {
        let fields = options.text_fields(&[&["question"], &["context"]]);
        let mut roles: Vec<Role> = fields
            .into_iter()
            .map(|names| Role::new(names, Kind::Text))
            .collect();
        roles.truncate(2);
        roles.push(Role::optional(
            options.label_fields(&["answers"]),
            Kind::Any,
        ));
        roles.push(Role::optional(super::texts::fields(&["id"]), Kind::Any));
        roles.push(Role::optional(
            super::texts::fields(&["is_impossible"]),
            Kind::Any,
        ));
        let rows = read(data, Format::Squad, options.columns(), &roles)?;
        let questions = rows.into_iter().enumerate();
        let questions: Vec<Question> = questions
            .map(|(index, row)| question(index, row))
            .collect::<Result<_>>()?;
        let cut = |question: &Question| {
            windows(tokenizer, &question.question, &question.context, options)
        };
        let cut: Vec<Vec<Window>> = questions.par_iter().map(cut).collect::<Result<_>>()?;
        let (mut all, mut owners, mut sequences) = (Vec::new(), Vec::new(), Sequences::default());
        for (owner, found) in cut.into_iter().enumerate() {
            for window in found {
                sequences.push(&window.ids, &window.types);
                owners.push(owner);
                all.push(window);
            }
        }
        Ok(Self {
            may_be_impossible: questions.iter().any(|question| question.answers.is_empty()),
            questions,
            windows: all,
            sequences,
            owners,
            max_answer_tokens: options.max_answer_tokens,
        })
    }

    /// Returns the first and the last token of the answer within a window; `[CLS]` for both if the
    /// window does not hold it.
    fn target(&self, window: usize) -> (usize, usize) {
        let question = &self.questions[self.owners[window]];
        let answer = question.answers.first();
        let span = answer.and_then(|(text, start)| {
            let end = start + text.chars().count();
            self.windows[window].span(*start, end)
        });
        span.unwrap_or((0, 0))
    }
}

/// Reads one question.
fn question(index: usize, mut row: Row) -> Result<Question> {
    let (question, context) = (row.text(0)?, row.text(1)?);
    let is_impossible = matches!(row.take(4), Cell::Boolean(true));
    let id = match row.take(3) {
        Cell::Null => index.to_string(),
        Cell::Text(text) => text,
        Cell::Integer(number) => number.to_string(),
        other => return Err(row.error(format!("id: expected a string, found {}", other.kind()))),
    };
    let answers = row.take(2);
    if matches!(answers, Cell::Null) && !is_impossible {
        return Err(row.error("expected answers, found none"));
    }
    // Version 2.0 lists plausible answers of impossible questions apart.
    let answers = if is_impossible {
        Vec::new()
    } else {
        answers_of(&row, answers)?
    };
    for (text, start) in &answers {
        check(&row, &context, text, *start)?;
    }
    Ok(Question {
        id,
        question,
        context,
        answers,
    })
}

/// Reads answers: an object of the lists `text` and `answer_start`.
fn answers_of(row: &Row, cell: Cell) -> Result<Vec<(String, usize)>> {
    const EXPECTED: &str = "answers: expected an object with the lists `text` and `answer_start`";
    let Cell::Object(members) = cell else {
        return Err(row.error(format!("{EXPECTED}, found {}", cell.kind())));
    };
    let list = |name: &str| {
        let found = members.iter().find(|(member, _)| member == name);
        match found {
            Some((_, Cell::List(cells))) => Ok(cells.clone()),
            _ => Err(row.error(format!("{EXPECTED}, found no `{name}`"))),
        }
    };
    let (texts, starts) = (list("text")?, list("answer_start")?);
    if texts.len() != starts.len() {
        return Err(row.error(format!(
            "answers: expected a start for each of {} texts, found {}",
            texts.len(),
            starts.len()
        )));
    }
    let pairs = texts.into_iter().zip(starts).map(|pair| match pair {
        (Cell::Text(text), Cell::Integer(start)) if start >= 0 => Ok((text, start as usize)),
        (text, start) => Err(row.error(format!(
            "answers: expected a string and its start, found {} and {}",
            text.kind(),
            start.kind()
        ))),
    });
    pairs.collect()
}

/// Makes sure that an answer is in the context, where its start says.
fn check(row: &Row, context: &str, text: &str, start: usize) -> Result<()> {
    let mut rest = context.chars().skip(start);
    if !text.is_empty() && text.chars().all(|character| rest.next() == Some(character)) {
        return Ok(());
    }
    let found: String = context
        .chars()
        .skip(start)
        .take(text.chars().count())
        .collect();
    Err(row.error(format!(
        "expected the answer `{text}` at character {start} of the context, found `{found}`"
    )))
}

impl Examples for AnsweringExamples {
    fn len(&self) -> usize {
        self.windows.len()
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let (mut batch, mut ends) = (TrainingBatch::new(), Vec::new());
        for &index in examples {
            let (ids, types) = self.sequences.at(index);
            batch.push(ids, types);
            ends.push(Some(self.target(index)));
        }
        let objective = Spans::new(layout, ends)?.with_divisor(divisor);
        Ok((batch, Box::new(objective)))
    }

    fn note(&self) -> Option<String> {
        let (questions, windows) = (self.questions.len(), self.windows.len());
        let lost = (0..windows).filter(|window| self.target(*window) == (0, 0));
        let lost = lost.count();
        (windows > questions).then(|| {
            format!("{questions} questions in {windows} windows, {lost} of them without the answer")
        })
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let mut scores = AnswerScores::default();
        let mut predictions = Vec::new();
        let mut next = 0;
        for (index, question) in self.questions.iter().enumerate() {
            let count = self.owners[next..]
                .iter()
                .take_while(|owner| **owner == index)
                .count();
            let own = next..next + count;
            next += count;
            let windows = self.windows[own.clone()].iter().zip(&outputs[own]);
            let (best, null) = best_candidate(windows, self.max_answer_tokens);
            let text = match best {
                Some(best) if !self.may_be_impossible || best.score >= null => {
                    text(&question.context, &best)
                }
                _ => String::new(),
            };
            let gold: Vec<&str> = question
                .answers
                .iter()
                .map(|(text, _)| text.as_str())
                .collect();
            scores.add(&gold, &text);
            predictions.push(json!({"id": question.id, "label": gold, "prediction": text}));
        }
        let mut assessment = Assessment::new([
            ("exact_match", scores.all.exact_match()),
            ("f1", scores.all.f1()),
        ]);
        if self.may_be_impossible {
            let parts = [
                ("has_answer", scores.answerable),
                ("no_answer", scores.impossible),
            ];
            for (name, sums) in parts {
                let metrics = &mut assessment.metrics;
                metrics.push((format!("{name}_exact_match"), sums.exact_match()));
                metrics.push((format!("{name}_f1"), sums.f1()));
            }
        }
        assessment.predictions = predictions;
        assessment
    }
}

/// Returns the text of a candidate without the space around it.
fn text(context: &str, candidate: &Candidate) -> String {
    let range = &candidate.characters;
    let text: String = context
        .chars()
        .skip(range.start)
        .take(range.len())
        .collect();
    text.trim().to_string()
}

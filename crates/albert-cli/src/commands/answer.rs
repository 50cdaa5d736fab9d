//! `answer`: extractive question answering.

use albert_data::Pairs;
use albert_tasks::{Answer, AnswerOptions, Answerer};
use anyhow::anyhow;
use clap::{ArgAction, Args};
use serde::Serialize;

use crate::failure::{Hint, usage};
use crate::options::{TextArgs, number};
use crate::output::{Column, Kind, Row, visible};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `answer`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli answer --model ./question 'Who wrote it?' --context 'The king.'
  printf 'Who?\\tThe king.\\n' | albert-cli answer --model ./question")]
pub(crate) struct AnswerArgs {
    #[command(flatten)]
    task: ContextArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The context and the selection of answers.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
struct ContextArgs {
    /// The text that holds the answer; without it, each question of the input has its own
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,

    /// Allow an empty answer, given if it is the most probable
    #[arg(long)]
    allow_no_answer: bool,

    /// Answers for each question, best first; more than one are listed in `answers`
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: usize,

    /// Maximum number of tokens in an answer
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    max_answer_tokens: usize,

    /// Drop answers with a lower score; if none is left, the answer is empty
    #[arg(long, value_name = "SCORE", value_parser = score, allow_negative_numbers = true)]
    threshold: Option<f32>,

    /// Widen answers to whole words; use false for texts without spaces
    #[arg(long, value_name = "true|false", hide_possible_values = true, default_value_t = true, action = ArgAction::Set)]
    align_to_words: bool,
}

/// One of several answers.
#[derive(Debug, Clone, Serialize)]
struct Candidate {
    answer: String,
    /// −1 if there is no answer.
    start: i64,
    end: i64,
    score: f32,
}

impl From<Answer> for Candidate {
    fn from(answer: Answer) -> Self {
        let place = |at: Option<usize>| at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
        Self {
            start: place(answer.start),
            end: place(answer.end),
            answer: answer.answer,
            score: answer.score,
        }
    }
}

const CANDIDATE: Kind = Kind::Record(&[
    Column::new("answer", Kind::Text),
    Column::new("start", Kind::Integer),
    Column::new("end", Kind::Integer),
    Column::new("score", Kind::Float),
]);

/// One question's answer.
#[derive(Debug, Serialize)]
struct AnswerRow {
    index: usize,
    question: String,
    answer: String,
    /// −1 if there is no answer.
    start: i64,
    end: i64,
    score: f32,
    /// All answers, if several are requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    answers: Option<Vec<Candidate>>,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for AnswerRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("question", Kind::Text),
        Column::new("answer", Kind::Text),
        Column::new("start", Kind::Integer),
        Column::new("end", Kind::Integer),
        Column::new("score", Kind::Float),
        Column::optional("answers", Kind::List(&CANDIDATE)),
    ];

    fn lines(&self) -> String {
        const WIDTH: usize = 80;
        let line = |answer: &str, start: i64, end: i64, score: f32| match start {
            -1 => format!("       {score:.4}  no answer\n"),
            _ => format!(
                "       {score:.4}  {}  ({start}..{end})\n",
                visible(answer, WIDTH)
            ),
        };
        let mut lines = format!("{:>5}  {}\n", self.index, visible(&self.question, WIDTH));
        match &self.answers {
            Some(answers) => lines.extend(
                answers
                    .iter()
                    .map(|it| line(&it.answer, it.start, it.end, it.score)),
            ),
            None => lines.push_str(&line(&self.answer, self.start, self.end, self.score)),
        }
        lines
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// Parses a score, which NaN is not: every comparison with it fails.
fn score(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(score) if !score.is_nan() => Ok(score),
        _ => Err("expected a number".to_string()),
    }
}

/// Runs the command.
pub(crate) fn run(args: AnswerArgs, talk: Talk) -> anyhow::Result<()> {
    let ask = AnswerOptions::default()
        .with_allow_no_answer(args.task.allow_no_answer)
        .with_top_k(args.task.top_k)
        .with_max_answer_tokens(args.task.max_answer_tokens)
        .with_threshold(args.task.threshold)
        .with_align_to_words(args.task.align_to_words);
    let has_several = args.task.top_k > 1;
    let context = args.task.context;
    let pairs = match &context {
        Some(_) => Pairs::Refused,
        None if args.texts.input.texts.iter().any(|text| text != "-") => {
            return Err(usage("no context for the question").hint("give it with `--context`"));
        }
        None => Pairs::Needed("question,context"),
    };
    let job = Job::open(args.texts, Terms::new(pairs), talk)?;
    let answerer = Answerer::load(&job.files, &job.options)?;
    job.run(|items| {
        let shared = context.as_deref().unwrap_or_default();
        let questions: Vec<(&str, &str)> = items
            .iter()
            .map(|item| {
                (
                    item.text.text.as_str(),
                    item.text.pair.as_deref().unwrap_or(shared),
                )
            })
            .collect();
        let answers = answerer.answer(&questions, &ask)?;
        let rows = items.into_iter().zip(answers).map(|(item, found)| {
            let answers: Vec<Candidate> = found.answers.into_iter().map(Into::into).collect();
            let best = answers
                .first()
                .cloned()
                .ok_or_else(|| anyhow!("no answer"))?;
            Ok(AnswerRow {
                index: item.index,
                question: item.text.text,
                answer: best.answer,
                start: best.start,
                end: best.end,
                score: best.score,
                answers: has_several.then_some(answers),
                tokens: found.tokens,
                truncated: found.truncated,
            })
        });
        Ok(rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = AnswerRow {
            index: 0,
            question: "Who?".into(),
            answer: "nobody".into(),
            start: 3,
            end: 9,
            score: 0.5,
            answers: None,
            tokens: 9,
            truncated: false,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":0,"question":"Who?","answer":"nobody","start":3,"end":9,"score":0.5}"#
        );
        assert_eq!(row.lines(), "    0  Who?\n       0.5000  nobody  (3..9)\n");
    }
}

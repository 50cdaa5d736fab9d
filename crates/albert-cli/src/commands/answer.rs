//! `answer`: extractive question answering.

use albert_data::Pairs;
use albert_tasks::{AnswerOptions, Answerer};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use crate::failure::{Hint, usage};
use crate::options::TextArgs;
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

/// The context, and the choice to give no answer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
struct ContextArgs {
    /// The text that holds the answer; without it each question of the input has its own
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,

    /// Give no answer if that is most probable
    #[arg(long)]
    allow_no_answer: bool,
}

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
    ];

    fn lines(&self) -> String {
        const WIDTH: usize = 80;
        let answer = match self.start {
            -1 => "no answer".to_string(),
            start => format!("{}  ({start}..{})", visible(&self.answer, WIDTH), self.end),
        };
        format!(
            "{:>5}  {}\n       {:.4}  {answer}\n",
            self.index,
            visible(&self.question, WIDTH),
            self.score
        )
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// Runs the command.
pub(crate) fn run(args: AnswerArgs, talk: Talk) -> anyhow::Result<()> {
    let ask = AnswerOptions::default().with_allow_no_answer(args.task.allow_no_answer);
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
        let place = |at: Option<usize>| at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1);
        let rows = items.into_iter().zip(answers).map(|(item, found)| {
            let mut best = found.answers.into_iter();
            let answer = best.next().ok_or_else(|| anyhow!("no answer"))?;
            Ok(AnswerRow {
                index: item.index,
                question: item.text.text,
                answer: answer.answer,
                start: place(answer.start),
                end: place(answer.end),
                score: answer.score,
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

//! `choose`: multiple choice.

use albert_data::{Pairs, Text};
use albert_tasks::{ChoiceScores, ChooseOptions, Chooser};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use crate::failure::{Hint, usage};
use crate::options::{TextArgs, number};
use crate::output::{Column, Kind, Row, columns, shown, visible};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `choose`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli choose --model ./choice 'It rained.' --choice Sad. --choice Wet.
  printf 'One\\nTwo\\n' | albert-cli choose --model ./choice --choice a --choice b")]
pub(crate) struct ChooseArgs {
    #[command(flatten)]
    task: ChoiceArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The choices.
#[derive(Debug, Args)]
#[command(next_help_heading = "Choices")]
struct ChoiceArgs {
    /// One of the choices; without any, each text of the input has its own list
    #[arg(long = "choice", value_name = "TEXT")]
    choices: Vec<String>,

    /// Read texts longer than the model's limit in windows that share N tokens [default: truncate]
    ///
    /// The scores of a text are the mean over its windows, weighted by the number of its tokens in
    /// each. The choice is in every window.
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    stride: Option<usize>,
}

/// One text's choice.
#[derive(Debug, Serialize)]
struct ChooseRow {
    index: usize,
    text: String,
    choice: usize,
    scores: Vec<f32>,
    /// Only shown in tables.
    #[serde(skip)]
    choices: Vec<String>,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for ChooseRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("choice", Kind::Integer),
        Column::new("scores", Kind::List(&Kind::Float)),
    ];

    fn lines(&self) -> String {
        let cells: Vec<_> = self
            .choices
            .iter()
            .zip(&self.scores)
            .enumerate()
            .map(|(number, (choice, score))| {
                let mark = if number == self.choice { ">" } else { " " };
                vec![
                    format!("     {mark} {number}"),
                    format!("{score:.4}"),
                    visible(choice, 70),
                ]
            })
            .collect();
        format!(
            "{:>5}  {}\n{}",
            self.index,
            shown(&self.text, None),
            columns(&cells, &[])
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
pub(crate) fn run(args: ChooseArgs, talk: Talk) -> anyhow::Result<()> {
    let common = args.task.choices;
    let choose = ChooseOptions::default().with_stride(args.task.stride);
    let pairs = if !common.is_empty() {
        Pairs::Refused
    } else if args.texts.input.texts.iter().any(|text| text != "-") {
        return Err(usage("no choices for the text").hint("give each with `--choice`"));
    } else {
        Pairs::Listed("text,choices")
    };
    let job = Job::open(args.texts, Terms::new(pairs), talk)?;
    let chooser = Chooser::load(&job.files, &job.options)?;
    job.run(|items| {
        let choices: Vec<anyhow::Result<Vec<String>>> = items
            .iter()
            .map(|item| choices_of(&item.text, &common))
            .collect();
        let texts: Vec<(&str, &[String])> = items
            .iter()
            .zip(&choices)
            .filter_map(|(item, choices)| {
                Some((item.text.text.as_str(), choices.as_ref().ok()?.as_slice()))
            })
            .collect();
        let mut answers = chooser.choose_with(&texts, &choose)?.into_iter();
        let rows = items.into_iter().zip(choices).map(|(item, choices)| {
            let choices = choices?;
            let ChoiceScores {
                choice,
                scores,
                tokens,
                truncated,
            } = answers.next().ok_or_else(|| anyhow!("no answer"))?;
            Ok(ChooseRow {
                index: item.index,
                text: item.text.text,
                choice,
                scores,
                choices,
                tokens,
                truncated,
            })
        });
        Ok(rows.collect())
    })
}

/// Returns the choices of a text: its own, if the input has them, else the common ones.
fn choices_of(text: &Text, common: &[String]) -> anyhow::Result<Vec<String>> {
    let Some(list) = &text.pair else {
        return Ok(common.to_vec());
    };
    let choices: Vec<String> = serde_json::from_str(list)
        .map_err(|_| anyhow!("choices: expected a JSON array of strings"))?;
    if choices.is_empty() {
        return Err(anyhow!("choices: expected at least one, found none"));
    }
    Ok(choices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = ChooseRow {
            index: 0,
            text: "a".into(),
            choice: 1,
            scores: vec![0.25, 0.75],
            choices: vec!["x".into(), "y".into()],
            tokens: 9,
            truncated: false,
        };
        let json = r#"{"index":0,"text":"a","choice":1,"scores":[0.25,0.75]}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(
            row.lines(),
            "    0  a\n       0  0.2500  x\n     > 1  0.7500  y\n"
        );
    }

    #[test]
    fn choices_are_a_list_of_at_least_one_text() {
        let of = |pair: &str| {
            choices_of(
                &Text {
                    text: "a".into(),
                    pair: Some(pair.into()),
                    ..Text::default()
                },
                &[],
            )
        };
        assert_eq!(of("[\"x\", \"\"]").unwrap(), ["x", ""]);
        for bad in ["", "x", "[1]", "[]", "{\"a\":\"b\"}"] {
            assert!(of(bad).is_err(), "{bad}");
        }
    }
}

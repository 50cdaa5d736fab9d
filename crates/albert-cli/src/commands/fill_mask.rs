//! `fill-mask`: what could stand where a text has a mask. On a terminal without a text, interactive.

use std::io::{self, IsTerminal};

use albert_tasks::{FillOptions, FilledMask, MaskFiller};
use clap::Args;
use serde::Serialize;

use crate::args::{PairArgs, TextArgs, number};
use crate::failure::usage;
use crate::input::Pairs;
use crate::interactive;
use crate::output::{Row, bar, columns, visible};
use crate::progress::Talk;
use crate::stream::Job;

/// The options of `fill-mask`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli fill-mask 'The capital of France is [MASK].' --top-k 3
  albert-cli fill-mask 'She [MASK] the [MASK].' --joint --format jsonl")]
pub(crate) struct FillMaskArgs {
    #[command(flatten)]
    task: MaskArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// Which candidates to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Candidates")]
struct MaskArgs {
    /// How many candidates for each mask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: usize,

    /// Consider only these words
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    targets: Option<Vec<String>>,

    /// Fill several masks together instead of each by itself
    #[arg(long)]
    joint: bool,
}

impl MaskArgs {
    fn options(&self) -> anyhow::Result<FillOptions> {
        let targets = self.targets.as_deref().map(targets).transpose().map_err(usage)?;
        Ok(FillOptions { top_k: self.top_k, targets, joint: self.joint })
    }
}

/// The words that a list names, without the spaces around them.
pub(crate) fn targets<S: AsRef<str>>(words: &[S]) -> Result<Vec<String>, String> {
    let words: Vec<_> = words.iter().map(|word| word.as_ref().trim().to_string()).collect();
    match words.iter().any(String::is_empty) {
        true => Err("targets: expected words separated by commas, found an empty one".to_string()),
        false => Ok(words),
    }
}

/// One text's candidates.
#[derive(Debug, Serialize)]
struct FillMaskRow {
    index: usize,
    text: String,
    masks: Vec<FilledMask>,
    #[serde(skip)]
    truncated: bool,
}

impl Row for FillMaskRow {
    const FIELDS: &'static [&'static str] = &["index", "text", "masks"];

    fn lines(&self) -> String {
        const WIDTH: usize = 100;
        format!("{}\n{}\n", visible(&self.text, WIDTH), candidates(&self.masks))
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// The candidates of each mask, one mask after the other, each with a bar for its score.
pub(crate) fn candidates(masks: &[FilledMask]) -> String {
    let mut lines = String::new();
    for (number, mask) in masks.iter().enumerate() {
        if masks.len() > 1 {
            lines.push_str(&format!("mask {} of {}\n", number + 1, masks.len()));
        }
        let cells: Vec<_> = mask
            .candidates
            .iter()
            .enumerate()
            .map(|(rank, candidate)| {
                vec![
                    format!("  {}", rank + 1),
                    visible(&candidate.token, 40),
                    format!("{:.4}", candidate.score),
                    bar(candidate.score),
                ]
            })
            .collect();
        lines.push_str(&columns(&cells, &[0]));
    }
    lines
}

/// Runs the command.
pub(crate) fn run(args: FillMaskArgs, talk: Talk) -> anyhow::Result<()> {
    let fill = args.task.options()?;
    let nothing_given = args.texts.input.texts.is_empty() && args.texts.input.input.is_none();
    let interactive = nothing_given
        && args.texts.output.format.is_none()
        && args.texts.output.output.is_none()
        && io::stdin().is_terminal();
    if interactive {
        let TextArgs { model, compute, .. } = args.texts;
        let filler = MaskFiller::load(&model.files(talk)?, &compute.run_options(&model)?)?;
        return interactive::run(&filler, fill, &model.model, talk);
    }
    let job = Job::open(args.texts, PairArgs::default(), Pairs::Refused, talk)?;
    let filler = MaskFiller::load(&job.files, &job.options)?;
    filler.check_targets(fill.targets.as_deref().unwrap_or_default())?;
    job.run(|items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let filled = filler.fill(&texts, &fill);
        let rows = items.into_iter().zip(filled).map(|(item, filled)| {
            let filled = filled?;
            Ok(FillMaskRow {
                index: item.index,
                text: item.text.text,
                masks: filled.masks,
                truncated: filled.truncated,
            })
        });
        Ok(rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_trimmed_and_none_may_be_empty() {
        assert_eq!(targets(&["cat", " dog "]), Ok(vec!["cat".to_string(), "dog".to_string()]));
        assert!(targets(&["cat", ""]).is_err());
        assert!(targets(&[""]).is_err());
    }
}

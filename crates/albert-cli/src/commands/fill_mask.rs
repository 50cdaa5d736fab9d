//! `fill-mask`: what could stand where a text has a mask. On a terminal without a text,
//! interactive.

use std::io::{self, IsTerminal};

use albert_data::Pairs;
use albert_tasks::{FillOptions, FilledMask, Filling, MaskFiller};
use clap::Args;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::args::{PairArgs, TextArgs, number};
use crate::failure::usage;
use crate::interactive;
use crate::output::{BAR_WIDTH, Column, Kind, Row, bar_of, columns, visible};
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

/// The most fillings of a text at a time. Each is a row of a batch and keeps --top-k candidates a
/// mask.
pub(crate) const MAX_BEAM: usize = 100;

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
    ///
    /// The most confident mask is filled first, then the others are looked at again.
    #[arg(long)]
    joint: bool,

    /// How many fillings of the text to keep while masks are filled together [default: 1]
    ///
    /// Each row then also has `fillings`, the best first: the whole text, with the product of the
    /// probabilities in the order of filling.
    #[arg(long, value_name = "N", requires = "joint", value_parser = number(1..=MAX_BEAM), allow_negative_numbers = true)]
    beam: Option<usize>,
}

impl MaskArgs {
    fn options(&self) -> anyhow::Result<FillOptions> {
        let targets = self
            .targets
            .as_deref()
            .map(targets)
            .transpose()
            .map_err(usage)?;
        let mut options = FillOptions::default()
            .with_top_k(self.top_k)
            .with_beam(self.beam.unwrap_or(1))
            .with_joint(self.joint);
        options.targets = targets;
        Ok(options)
    }
}

/// The words that a list names, without the spaces around them.
pub(crate) fn targets<S: AsRef<str>>(words: &[S]) -> Result<Vec<String>, String> {
    let words: Vec<_> = words
        .iter()
        .map(|word| word.as_ref().trim().to_string())
        .collect();
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
    /// With `--beam`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fillings: Vec<FillingRow>,
    /// The same for the table, which has the whole text without `--beam` too.
    #[serde(skip)]
    filling: Vec<Filling>,
    #[serde(skip)]
    truncated: bool,
}

/// A whole text with its masks filled together.
#[derive(Debug, Serialize)]
struct FillingRow {
    tokens: Vec<String>,
    score: f64,
    text: String,
}

impl FillingRow {
    fn of(fillings: &[Filling]) -> Vec<Self> {
        let row = |filling: &Filling| Self {
            tokens: filling.tokens.clone(),
            score: filling.score,
            text: filling.text.clone(),
        };
        fillings.iter().map(row).collect()
    }
}

const MASK: Kind = Kind::Record(&[
    Column::new("position", Kind::Integer),
    Column::new("candidates", Kind::List(&CANDIDATE)),
]);

const CANDIDATE: Kind = Kind::Record(&[
    Column::new("token", Kind::Text),
    Column::optional("id", Kind::Integer),
    Column::optional("ids", Kind::List(&Kind::Integer)),
    Column::new("score", Kind::Float),
    Column::new("text", Kind::Text),
]);

const FILLING: Kind = Kind::Record(&[
    Column::new("tokens", Kind::List(&Kind::Text)),
    Column::new("score", Kind::Double),
    Column::new("text", Kind::Text),
]);

impl Row for FillMaskRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("masks", Kind::List(&MASK)),
        Column::optional("fillings", Kind::List(&FILLING)),
    ];

    fn lines(&self) -> String {
        const WIDTH: usize = 100;
        let chart = chart(&self.masks, &self.filling, WIDTH);
        format!("{}\n{chart}\n", visible(&self.text, WIDTH))
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// The candidates of each mask, one mask after the other, each with a bar for its score; below them
/// the whole text filled, where masks were filled together. What has a bar fits into `width`
/// columns.
pub(crate) fn chart(masks: &[FilledMask], fillings: &[Filling], width: usize) -> String {
    /// As much of a filled text as is shown: what is wider than the terminal goes on below.
    const TEXT_WIDTH: usize = 200;
    let mut lines = String::new();
    for (number, mask) in masks.iter().enumerate() {
        if masks.len() > 1 {
            lines.push_str(&format!("mask {} of {}\n", number + 1, masks.len()));
        }
        let candidates = mask.candidates.iter();
        let scored = candidates.map(|candidate| (candidate.token.as_str(), candidate.score));
        lines.push_str(&bars(scored, width));
    }
    // With one mask they would be its candidates once more.
    if masks.len() > 1 && !fillings.is_empty() {
        lines.push_str("together\n");
        let cells: Vec<_> = fillings
            .iter()
            .enumerate()
            .map(|(rank, filling)| {
                let text = visible(&filling.text, TEXT_WIDTH);
                vec![format!("  {}", rank + 1), score_cell(filling.score), text]
            })
            .collect();
        lines.push_str(&columns(&cells, &[0]));
    }
    lines
}

/// Columns that rank, score and the gaps around them take.
const RANK_AND_SCORE: usize = 20;

/// One line each: rank, token, score, and a bar beside that of the best one. Where there is little
/// room the bars go first.
fn bars<'a>(scored: impl Iterator<Item = (&'a str, f32)>, width: usize) -> String {
    const TOKEN: usize = 40;
    let room = width.saturating_sub(RANK_AND_SCORE).max(1);
    let scored: Vec<_> = scored
        .map(|(token, score)| (visible(token, TOKEN.min(room)), score))
        .collect();
    let longest = scored
        .iter()
        .map(|(token, _)| token.width())
        .max()
        .unwrap_or(0);
    let bar_width = room.saturating_sub(longest).min(BAR_WIDTH);
    let best = scored
        .first()
        .map_or(1.0, |(_, score)| *score)
        .max(f32::MIN_POSITIVE);
    let cells: Vec<_> = scored
        .into_iter()
        .enumerate()
        .map(|(rank, (token, score))| {
            let bar = bar_of(score / best, bar_width);
            vec![
                format!("  {}", rank + 1),
                token,
                score_cell(score.into()),
                bar,
            ]
        })
        .collect();
    columns(&cells, &[0])
}

/// A score in six columns: `0.0722`, and what would be `0.0000` as `7.2e-9`.
fn score_cell(score: f64) -> String {
    match score {
        0.0 | 0.0001.. => format!("{score:.4}"),
        _ => format!("{score:.1e}"),
    }
}

/// Runs the command.
pub(crate) fn run(args: FillMaskArgs, talk: Talk) -> anyhow::Result<()> {
    let (fill, has_beam) = (args.task.options()?, args.task.beam.is_some());
    let nothing_given = args.texts.input.texts.is_empty() && args.texts.input.input.is_none();
    let interactive = nothing_given
        && args.texts.output.format.is_none()
        && args.texts.output.output.is_none()
        && io::stdin().is_terminal();
    if interactive {
        let TextArgs { model, compute, .. } = args.texts;
        let filler = MaskFiller::load(&model.files(talk)?, &compute.run_options(&model, talk)?)?;
        return interactive::run(&filler, fill, &model.model, talk);
    }
    let job = Job::open(args.texts, PairArgs::default(), Pairs::Refused, talk)?;
    let filler = MaskFiller::load(&job.files, &job.options)?;
    if let Some(targets) = &fill.targets {
        filler.check_targets(targets)?;
    }
    job.run(|items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let filled = filler.fill_each(&texts, &fill);
        let rows = items.into_iter().zip(filled).map(|(item, filled)| {
            let filled = filled?;
            let (fillings, filling) = match has_beam {
                true => (FillingRow::of(&filled.fillings), filled.fillings),
                false => (Vec::new(), filled.fillings),
            };
            Ok(FillMaskRow {
                index: item.index,
                text: item.text.text,
                masks: filled.masks,
                fillings,
                filling,
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
    fn scores_keep_their_digits_and_their_width() {
        for (score, cell) in [
            (0.0722, "0.0722"),
            (1.0, "1.0000"),
            (7.2e-9, "7.2e-9"),
            (0.0, "0.0000"),
        ] {
            assert_eq!(score_cell(score), cell);
        }
    }

    #[test]
    fn targets_are_trimmed_and_none_may_be_empty() {
        assert_eq!(
            targets(&["cat", " dog "]),
            Ok(vec!["cat".to_string(), "dog".to_string()])
        );
        assert!(targets(&["cat", ""]).is_err());
        assert!(targets(&[""]).is_err());
    }
}

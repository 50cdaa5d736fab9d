//! `fill-mask`: finds the most probable words for the masks of a text; interactive without a text
//! on a terminal.

mod chart;
mod conversation;
mod options;
mod session;

use std::io::{self, IsTerminal};

use albert_data::Pairs;
use albert_tasks::{FilledMask, Filling, MaskFiller};
use clap::Args;
use serde::Serialize;

use crate::options::TextArgs;
use crate::output::{Column, Kind, Row, visible};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

use chart::chart;
use options::MaskArgs;

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

/// One text's candidates.
#[derive(Debug, Serialize)]
struct FillMaskRow {
    index: usize,
    text: String,
    masks: Vec<FilledMask>,
    /// Present with `--beam`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fillings: Vec<FillingRow>,
    /// The fillings for the table, which shows the whole text even without `--beam`.
    #[serde(skip)]
    filling: Vec<Filling>,
    #[serde(skip)]
    truncated: bool,
}

/// A text with its masks filled jointly.
#[derive(Debug, Serialize)]
struct FillingRow {
    tokens: Vec<String>,
    score: f64,
    text: String,
}

impl From<&Filling> for FillingRow {
    fn from(filling: &Filling) -> Self {
        Self {
            tokens: filling.tokens.clone(),
            score: filling.score,
            text: filling.text.clone(),
        }
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

/// Runs the command.
pub(crate) fn run(args: FillMaskArgs, talk: Talk) -> anyhow::Result<()> {
    let (fill, has_beam) = (args.task.options()?, args.task.beam.is_some());
    let nothing_given = args.texts.input.is_empty();
    let is_conversation = nothing_given
        && args.texts.output.format.is_none()
        && args.texts.output.output.is_none()
        && args.texts.rows.columns.is_plain()
        && io::stdin().is_terminal();
    if is_conversation {
        let TextArgs { model, compute, .. } = args.texts;
        let filler = MaskFiller::load(&model.files(talk)?, &compute.run_options(&model, talk)?)?;
        return conversation::run(&filler, fill, &model.model.to_string_lossy(), talk);
    }
    let job = Job::open(args.texts, Terms::new(Pairs::Refused), talk)?;
    let filler = MaskFiller::load(&job.files, &job.options)?;
    if let Some(targets) = &fill.targets {
        filler.check_targets(targets)?;
    }
    job.run(|items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let filled = filler.fill_each(&texts, &fill);
        let rows = items.into_iter().zip(filled).map(|(item, filled)| {
            let filled = filled?;
            let fillings = if has_beam {
                filled.fillings.iter().map(FillingRow::from).collect()
            } else {
                Vec::new()
            };
            Ok(FillMaskRow {
                index: item.index,
                text: item.text.text,
                masks: filled.masks,
                fillings,
                filling: filled.fillings,
                truncated: filled.truncated,
            })
        });
        Ok(rows.collect())
    })
}

//! `models`: lists the built-in and the cached models, with sizes and the files that could be
//! removed.

use std::path::PathBuf;

use albert_tasks::hub::{CachedModel, CachedRevision, Removable};
use albert_tasks::{BUILTIN, Error, Hub, ModelFiles};
use clap::Args;
use serde::Serialize;

use crate::options::OutputArgs;
use crate::output::{Column, Kept, Kind, RECORDS, Row, columns, visible};
use crate::progress::size;

/// The length of an abbreviated commit.
const SHORT_COMMIT: usize = 8;

/// The options of `models`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli models --format table
  albert-cli models --format json")]
pub(crate) struct ModelsArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// One model.
#[derive(Debug, Serialize)]
struct ModelRow {
    model: String,
    source: &'static str,
    bytes: u64,
    path: Option<PathBuf>,
    revisions: Vec<CachedRevision>,
    removable: Vec<Removable>,
}

impl From<CachedModel> for ModelRow {
    fn from(model: CachedModel) -> Self {
        Self {
            model: model.id,
            source: "cache",
            bytes: model.bytes,
            path: Some(model.path),
            revisions: model.revisions,
            removable: model.removable,
        }
    }
}

const REVISION: Kind = Kind::Record(&[
    Column::new("commit", Kind::Text),
    Column::new("refs", Kind::List(&Kind::Text)),
    Column::new("bytes", Kind::Integer),
    Column::new("complete", Kind::Boolean),
]);

const REMOVABLE: Kind = Kind::Record(&[
    Column::new("path", Kind::Text),
    Column::new("bytes", Kind::Integer),
    Column::new("why", Kind::Text),
]);

impl Row for ModelRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("model", Kind::Text),
        Column::new("source", Kind::Text),
        Column::new("bytes", Kind::Integer),
        Column::optional("path", Kind::Text),
        Column::new("revisions", Kind::List(&REVISION)),
        Column::new("removable", Kind::List(&REMOVABLE)),
    ];

    fn lines(&self) -> String {
        const WIDTH: usize = 200;
        let mut lines = format!(
            "{}  {}, {}\n",
            visible(&self.model, WIDTH),
            self.source,
            size(self.bytes)
        );
        let revisions = self.revisions.iter().map(|revision| {
            let refs = if revision.refs.is_empty() {
                "no branch or tag".to_string()
            } else {
                visible(&revision.refs.join(", "), WIDTH)
            };
            let state = if revision.complete {
                ""
            } else {
                "not complete"
            };
            let commit = revision
                .commit
                .get(..SHORT_COMMIT)
                .unwrap_or(&revision.commit);
            vec![
                format!("  {commit}"),
                size(revision.bytes),
                refs,
                state.to_string(),
            ]
        });
        lines.push_str(&columns(&revisions.collect::<Vec<_>>(), &[1]));
        if let Some(path) = &self.path {
            lines.push_str(&format!(
                "  in {}\n",
                visible(&path.display().to_string(), WIDTH)
            ));
        }
        for removable in &self.removable {
            let path = visible(&removable.path.display().to_string(), WIDTH);
            lines.push_str(&format!(
                "  can go: {}, {}: {path}\n",
                size(removable.bytes),
                removable.why
            ));
        }
        lines
    }
}

/// Runs the command.
pub(crate) fn run(args: ModelsArgs) -> anyhow::Result<()> {
    let output = args.output.target(RECORDS)?.open(&[])?;
    let cached = Hub::from_env()
        .and_then(|hub| hub.cached())
        .map_err(Error::from)?;
    let mut writer = output.writer::<ModelRow>(None, false)?;
    if let Some(bytes) = ModelFiles::builtin_bytes() {
        let (model, source) = (BUILTIN.to_string(), "built in");
        let (revisions, removable) = (Vec::new(), Vec::new());
        let row = ModelRow {
            model,
            source,
            bytes,
            path: None,
            revisions,
            removable,
        };
        writer.row(&row, &Kept::new())?;
    }
    for model in cached {
        writer.row(&model.into(), &Kept::new())?;
    }
    writer.finish()
}

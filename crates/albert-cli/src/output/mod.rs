//! Writes rows: a trait, one file per format, and the only place that writes to standard output.
//!
//! Rows are written as they are computed. A command defines its rows; a format only needs their
//! JSON ([`serde::Serialize`]), their lines for people, or their vectors.

#[cfg(feature = "parquet")]
mod batches;
#[cfg(unix)]
mod closed;
mod column;
mod csv;
mod format;
mod json;
mod jsonl;
#[cfg(feature = "parquet")]
mod kept_columns;
mod layout;
mod matrix;
mod members;
mod model_folder;
mod npy;
mod row;
mod safetensors;
mod salvage;
mod saved;
#[cfg(feature = "parquet")]
mod schema;
mod sink;
#[cfg(unix)]
mod size_limit;
mod table;
mod target;

use std::path::PathBuf;

use albert_data::RowBatches;
use albert_tasks::ModelFiles;
use anyhow::bail;
use serde::Serialize;

use crate::failure::{Hint, usage};

pub(crate) use column::{Column, Element, Kind, Vector, VectorType};
use format::RESUMABLE;
pub(crate) use format::{Format, RECORDS, REPORT, VECTORS};

pub(crate) use layout::{Kept, Layout, parse_renaming};
pub(crate) use row::{BadRow, Row, RowWriter};
pub(crate) use saved::Saved;
pub(crate) use sink::{Sink, print_to_stdout};
#[cfg(unix)]
pub(crate) use size_limit::report_size_limit;
pub(crate) use table::{BAR_WIDTH, bar, bar_of, columns, shown, visible};
pub(crate) use target::Target;

/// An open output and its format.
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    sink: Sink,
    /// The file, unless it is standard output.
    path: Option<PathBuf>,
    /// True if the command can continue an output.
    pub(crate) has_resume: bool,
    /// The record batches of the input, if the rows of Arrow keep them.
    pub(crate) row_batches: Option<RowBatches>,
    /// True if the run continues after the existing rows.
    resumes: bool,
    saved: Saved,
}

impl Output {
    /// Refuses to overwrite a file that may be part of the model: it would be lost and, because it
    /// is being read, the run would fail.
    ///
    /// # Errors
    /// If the output is such a file.
    pub(crate) fn spare(&self, model: &ModelFiles) -> anyhow::Result<()> {
        let (Some(path), Some(folder)) = (&self.path, model.folder()) else {
            return Ok(());
        };
        if self.sink.is_new() {
            return Ok(());
        }
        match model_folder::find(folder, path) {
            Some(file) => {
                let file = file.display();
                Err(usage(format!(
                    "`--output` would overwrite `{file}` in the model's folder"
                ))
                .hint("write to another file; remove this one first if the model does not need it"))
            }
            None => Ok(()),
        }
    }

    /// Continues the file of an interrupted run.
    ///
    /// # Errors
    /// If the format does not allow it, or there is no file.
    pub(crate) fn resume(&mut self) -> anyhow::Result<()> {
        let Some(path) = &self.path else {
            return Err(usage("`--resume` needs `--output FILE`"));
        };
        let format = self.format;
        if !RESUMABLE.contains(&format) {
            let names: Vec<_> = RESUMABLE.iter().map(|format| format.name()).collect();
            let (format, expected) = (format.name(), names.join(", "));
            return Err(usage(format!(
                "`--resume`: format `{format}` cannot be continued, expected {expected}"
            )));
        }
        if !path.is_file() {
            bail!(
                "cannot resume `{}`: expected a file, found a device",
                path.display()
            );
        }
        self.resumes = true;
        Ok(())
    }

    /// Returns the rows of an interrupted run that are in the file; `None` without `--resume`.
    ///
    /// # Errors
    /// If the file is not the output of a run that writes rows of this type.
    pub(crate) fn saved<R: Row>(
        &self,
        vectors: Option<VectorType>,
        skip_bad: bool,
    ) -> anyhow::Result<Option<Saved>> {
        match &self.path {
            Some(path) if self.resumes => Ok(Some(Saved::read::<R>(
                path,
                self.format,
                vectors,
                skip_bad,
            )?)),
            _ => Ok(None),
        }
    }

    /// Returns true if `--resume` can continue the output; `None` if it is not a file, or if the
    /// command does not have the option.
    pub(crate) fn can_resume(&self) -> Option<bool> {
        (self.path.is_some() && self.has_resume).then(|| RESUMABLE.contains(&self.format))
    }

    /// Keeps the saved rows and continues after them.
    pub(crate) fn continue_after(&mut self, saved: Saved) {
        self.sink.keep(saved.bytes, saved.rows);
        self.saved = saved;
    }

    /// Returns the output's name, for messages.
    pub(crate) fn name(&self) -> &str {
        self.sink.name()
    }

    /// Creates a writer of rows; `vectors` is the type of each row's vector, if any.
    pub(crate) fn writer<R: Row + 'static>(
        self,
        vectors: Option<VectorType>,
        skip_bad: bool,
    ) -> anyhow::Result<Box<dyn RowWriter<R>>> {
        let Self {
            sink,
            saved,
            layout,
            row_batches,
            ..
        } = self;
        #[cfg(not(feature = "parquet"))]
        drop(row_batches);
        layout.check::<R>()?;
        Ok(match (self.format, vectors) {
            (Format::Table, _) => Box::new(table::Table::new(sink)),
            (Format::Json, _) => Box::new(json::Json::new(sink, layout)),
            (Format::Jsonl, _) => Box::new(jsonl::JsonLines::new(sink, layout)),
            (Format::Csv, _) => Box::new(csv::Csv::new(sink, layout, skip_bad, saved.header)),
            (Format::Npy, Some(vectors)) => Box::new(matrix::Matrix::new(
                sink,
                npy::header,
                vectors,
                saved.bytes,
                saved.rows,
            )),
            (Format::Safetensors, Some(vectors)) => Box::new(matrix::Matrix::new(
                sink,
                safetensors::header,
                vectors,
                0,
                0,
            )),
            #[cfg(feature = "parquet")]
            (format @ (Format::Parquet | Format::Arrow), vectors) => {
                Box::new(batches::Batches::new(
                    sink,
                    format,
                    schema::fields(R::COLUMNS, vectors, skip_bad)?,
                    layout,
                    row_batches,
                )?)
            }
            (format, _) => bail!("format `{}` cannot hold rows", format.name()),
        })
    }

    /// Writes the single result of a command: indented, on one line, or as drawn by `table`.
    pub(crate) fn report<T: Serialize>(
        self,
        answer: &T,
        table: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<()> {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(answer)? + "\n",
            Format::Jsonl => serde_json::to_string(answer)? + "\n",
            _ => table(answer),
        };
        let mut sink = self.sink;
        sink.write(text.as_bytes())?;
        sink.finish()
    }

    /// Returns the sink, for output other than rows.
    pub(crate) fn into_sink(self) -> Sink {
        self.sink
    }
}

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
mod safetensors;
mod salvage;
mod saved;
#[cfg(feature = "parquet")]
mod schema;
mod sink;
mod table;

use std::io;
use std::path::{Path, PathBuf};

use albert_data::RowBatches;
use albert_tasks::ModelFiles;
use anyhow::bail;
use same_file::Handle;
use serde::Serialize;

#[cfg(not(feature = "parquet"))]
use crate::failure::without_tables;
use crate::failure::{Hint, usage};

pub(crate) use column::{Column, Element, Kind, Vector, VectorType};
use format::RESUMABLE;
pub(crate) use format::{Format, RECORDS, REPORT, VECTORS};

pub(crate) use layout::{Kept, Layout, parse_renaming};
pub(crate) use saved::Saved;
pub(crate) use sink::{Sink, print_to_stdout};
pub(crate) use table::{BAR_WIDTH, bar, bar_of, columns, shown, visible};

/// A row, in all the forms that formats need.
pub(crate) trait Row: Serialize {
    /// The keys of the row's JSON, in order, and their types.
    const COLUMNS: &'static [Column];

    /// The heading above the rows of a table; empty for none.
    const HEADING: &'static str = "";

    /// Returns the row for people to read: one or more lines, each ended by a line feed.
    fn lines(&self) -> String;

    /// Returns the row's vector, if any.
    fn vector(&self) -> Option<Vector<'_>> {
        None
    }

    /// Returns the number of tokens that entered the model.
    fn tokens(&self) -> Option<usize> {
        None
    }

    /// Returns true if the text was truncated to the model's limit.
    fn truncated(&self) -> Option<bool> {
        None
    }
}

/// Writes rows in one format.
pub(crate) trait RowWriter<R: Row> {
    /// Writes one row, with the columns kept from the input.
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()>;

    /// Writes the row of a text without a result.
    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()>;

    /// Flushes everything written so far.
    fn flush(&mut self) -> anyhow::Result<()>;

    /// Completes the output.
    fn finish(&mut self) -> anyhow::Result<()>;
}

/// The row of a text without a result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BadRow {
    pub(crate) index: usize,
    pub(crate) error: String,
}

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

/// The destination and the format of the rows.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) format: Format,
    /// `None`: standard output.
    pub(crate) path: Option<PathBuf>,
    /// The names of the columns.
    pub(crate) layout: Layout,
}

impl Target {
    /// Opens the output, before the long work.
    ///
    /// An existing file keeps its content until the first row is written, so a run that fails
    /// earlier destroys nothing.
    ///
    /// # Errors
    /// If the output is one of the inputs, or it cannot be written to.
    pub(crate) fn open(self, inputs: &[PathBuf]) -> anyhow::Result<Output> {
        let Self {
            format,
            path,
            layout,
        } = self;
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Err(without_tables(format.name()));
        }
        let needs_file = matches!(format, Format::Npy | Format::Safetensors);
        let sink = match &path {
            None if needs_file => {
                return Err(
                    usage(format!("format `{}` needs `--output FILE`", format.name())).hint(
                        "its header is completed at the end, which is impossible in a stream",
                    ),
                );
            }
            None => {
                refuse_inputs(&Handle::stdout(), inputs, "standard output")?;
                Sink::stdout()?
            }
            Some(path) => open_file(path, inputs, needs_file)?,
        };
        Ok(Output {
            format,
            layout,
            sink,
            path,
            has_resume: false,
            row_batches: None,
            resumes: false,
            saved: Saved::default(),
        })
    }
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

    /// The output's name, for messages.
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

fn open_file(path: &Path, inputs: &[PathBuf], needs_seek: bool) -> anyhow::Result<Sink> {
    let sink = Sink::file(path, needs_seek)?;
    refuse_inputs(&Handle::from_path(path), inputs, sink.name())?;
    Ok(sink)
}

/// Refuses to write to a file that is being read, under any name: the input would be lost, and the
/// run would read its own output without end. `-` is standard input.
fn refuse_inputs(
    output: &io::Result<Handle>,
    inputs: &[PathBuf],
    name: &str,
) -> anyhow::Result<()> {
    let Ok(output) = output else { return Ok(()) };
    // A terminal may be both.
    if !output
        .as_file()
        .metadata()
        .is_ok_and(|metadata| metadata.is_file())
    {
        return Ok(());
    }
    let is_output = |input: &PathBuf| {
        let input = if input.as_os_str() == "-" {
            Handle::stdin()
        } else {
            Handle::from_path(input)
        };
        input.is_ok_and(|input| input == *output)
    };
    if inputs.iter().any(is_output) {
        return Err(usage(format!("{name} is both the input and the output"))
            .hint("write to another file: this one would be lost while it is read"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::failure::Report;

    fn target(format: Format, path: Option<PathBuf>) -> Target {
        Target {
            format,
            path,
            layout: Layout::default(),
        }
    }

    #[test]
    fn a_format_with_a_header_needs_a_file() {
        let error = target(Format::Npy, None).open(&[]).err().unwrap();
        assert_eq!(Report::new(&error).unwrap().code, 2);
    }

    #[test]
    fn the_output_may_not_be_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "precious\n").unwrap();
        let output = target(Format::Jsonl, Some(folder.path().join("./a.txt")));
        let error = output.open(std::slice::from_ref(&path)).err().unwrap();
        assert_eq!(Report::new(&error).unwrap().code, 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
    }

    #[test]
    fn a_file_keeps_its_content_until_the_first_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "old and long\n").unwrap();
        let output = target(Format::Jsonl, Some(path.clone())).open(&[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old and long\n");
        let mut sink = output.into_sink();
        sink.write(b"new\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}

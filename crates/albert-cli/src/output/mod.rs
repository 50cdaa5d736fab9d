//! Writing rows: one trait, one file a format, and the only way to standard output.
//!
//! Rows are written as they come. What a row looks like belongs to its command; a format only
//! needs its JSON ([`serde::Serialize`]), its lines for people, or its vector.

#[cfg(feature = "parquet")]
mod batches;
#[cfg(unix)]
mod closed;
mod column;
mod csv;
mod format;
mod json;
mod jsonl;
mod matrix;
mod model_folder;
mod npy;
mod safetensors;
mod saved;
#[cfg(feature = "parquet")]
mod schema;
mod sink;
mod table;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use albert_tasks::ModelFiles;
use anyhow::bail;
use same_file::Handle;
use serde::Serialize;

use crate::args::OutputArgs;
#[cfg(not(feature = "parquet"))]
use crate::failure::without_tables;
use crate::failure::{Hint, usage};

pub(crate) use column::{Column, Element, Kind, Vector, VectorType};
use format::RESUMABLE;
pub(crate) use format::{Format, RECORDS, REPORT, VECTORS};

pub(crate) use saved::Saved;
pub(crate) use sink::Sink;
pub(crate) use table::{BAR_WIDTH, bar, bar_of, columns, shown, visible};

/// One answer, as every format needs it.
pub(crate) trait Row: Serialize {
    /// The keys of its JSON, in order, and what they hold.
    const COLUMNS: &'static [Column];

    /// What stands above the rows for people; empty for nothing.
    const HEADING: &'static str = "";

    /// The row for people: one or more lines, the last one ended.
    fn lines(&self) -> String;

    /// The row's vector, where it has one.
    fn vector(&self) -> Option<Vector<'_>> {
        None
    }

    /// How many tokens entered the model.
    fn tokens(&self) -> Option<usize> {
        None
    }

    /// Whether the text was cut to the model's length.
    fn truncated(&self) -> Option<bool> {
        None
    }
}

/// Writes rows in one format.
pub(crate) trait RowWriter<R: Row> {
    /// Writes one row.
    fn row(&mut self, row: &R) -> anyhow::Result<()>;

    /// Writes the row of a text without a result.
    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()>;

    /// Hands everything written so far to the system.
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

/// An output that is open, and the format that goes into it.
pub(crate) struct Output {
    pub(crate) format: Format,
    sink: Sink,
    /// The file, where it is one.
    path: Option<PathBuf>,
    /// Go on behind the rows that are there.
    resumes: bool,
    saved: Saved,
}

impl OutputArgs {
    /// Settles the format and opens the output: both before the long work.
    ///
    /// A file that exists keeps its content until the first byte is written, so that a run that
    /// fails before that has destroyed nothing.
    ///
    /// # Errors
    /// If the command has no such format, the output is one of the inputs, or it cannot be written
    /// to.
    pub(crate) fn open(&self, supported: &[Format], inputs: &[&Path]) -> anyhow::Result<Output> {
        let path = self
            .output
            .as_deref()
            .filter(|path| path.as_os_str() != "-");
        let format = self.settle(supported, path)?;
        let needs_file = matches!(format, Format::Npy | Format::Safetensors);
        let sink = match path {
            None if needs_file => {
                return Err(
                    usage(format!("format `{}` needs `--output FILE`", format.name()))
                        .hint("its header is completed at the end, which a stream cannot do"),
                );
            }
            None => {
                refuse_inputs(&Handle::stdout(), inputs, "standard output")?;
                Sink::stdout()?
            }
            Some(path) => open_file(path, inputs, needs_file)?,
        };
        let path = path.map(PathBuf::from);
        Ok(Output {
            format,
            sink,
            path,
            resumes: false,
            saved: Saved::default(),
        })
    }

    /// Whether the rows go to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        let to_stdout = self
            .output
            .as_ref()
            .is_none_or(|path| path.as_os_str() == "-");
        to_stdout && io::stdout().is_terminal()
    }

    fn settle(&self, supported: &[Format], path: Option<&Path>) -> anyhow::Result<Format> {
        let format = match (self.format, path) {
            (Some(format), _) => format,
            (None, Some(path)) => match Format::of(path) {
                Some(format) => format,
                // A command with one format, as `forward`, needs no ending to know it.
                None if supported.len() == 1 => supported[0],
                None => Format::Jsonl,
            },
            (None, None) if supported.len() == 1 => supported[0],
            (None, None) if self.is_terminal() => Format::Table,
            (None, None) => Format::Jsonl,
        };
        if supported.contains(&format) {
            #[cfg(not(feature = "parquet"))]
            if matches!(format, Format::Parquet | Format::Arrow) {
                return Err(without_tables(format.name()));
            }
            return Ok(format);
        }
        let names: Vec<_> = supported.iter().map(|format| format.name()).collect();
        let (format, expected) = (format.name(), names.join(", "));
        Err(usage(format!(
            "format `{format}`: not a format of this command, expected {expected}"
        )))
    }
}

impl Output {
    /// Refuses to write over a file that may be a part of the model: it would be lost, and while it
    /// is read, the run with it.
    ///
    /// # Errors
    /// If the output is one.
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
                    "`--output` would write over `{file}` in the model's folder"
                ))
                .hint("write to another file; remove this one first if the model does not need it"))
            }
            None => Ok(()),
        }
    }

    /// Goes on with the file where an interrupted run has left it, if the writer is asked to.
    ///
    /// # Errors
    /// If that cannot be done in this format, or there is no file.
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

    /// The rows of an interrupted run that are in the file; `None` if it is not to be continued.
    ///
    /// # Errors
    /// If the file is not what a run writes that writes such rows.
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

    /// Leaves what is saved where it is.
    pub(crate) fn go_on_after(&mut self, saved: Saved) {
        self.sink.keep(saved.bytes);
        self.saved = saved;
    }

    /// The output's name, for messages.
    pub(crate) fn name(&self) -> &str {
        self.sink.name()
    }

    /// A writer of rows; `vectors` is the type of each row's vector, where rows have one.
    pub(crate) fn writer<R: Row + 'static>(
        self,
        vectors: Option<VectorType>,
        skip_bad: bool,
    ) -> anyhow::Result<Box<dyn RowWriter<R>>> {
        let Self { sink, saved, .. } = self;
        Ok(match (self.format, vectors) {
            (Format::Table, _) => Box::new(table::Table::new(sink)),
            (Format::Json, _) => Box::new(json::Json::new(sink)),
            (Format::Jsonl, _) => Box::new(jsonl::JsonLines::new(sink)),
            (Format::Csv, _) => Box::new(csv::Csv::new(sink, skip_bad, saved.header)),
            (Format::Npy, Some(vectors)) => Box::new(matrix::Matrix::new(
                sink,
                npy::header,
                vectors,
                saved.bytes,
                saved.rows,
            )?),
            (Format::Safetensors, Some(vectors)) => Box::new(matrix::Matrix::new(
                sink,
                safetensors::header,
                vectors,
                0,
                0,
            )?),
            #[cfg(feature = "parquet")]
            (format @ (Format::Parquet | Format::Arrow), vectors) => {
                Box::new(batches::Batches::new(
                    sink,
                    format,
                    schema::fields(R::COLUMNS, vectors, skip_bad)?,
                )?)
            }
            (format, _) => bail!("format `{}` does not hold rows", format.name()),
        })
    }

    /// Writes the one answer of a command: indented, on one line, or as `table` draws it.
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

    /// The way to write bytes, for what is not rows.
    pub(crate) fn into_sink(self) -> Sink {
        self.sink
    }
}

fn open_file(path: &Path, inputs: &[&Path], needs_seek: bool) -> anyhow::Result<Sink> {
    let sink = Sink::file(path, needs_seek)?;
    refuse_inputs(&Handle::from_path(path), inputs, sink.name())?;
    Ok(sink)
}

/// Refuses to write to what is being read, under whatever name: the input would be lost, and the
/// output would feed itself without end. Without named inputs it is standard input that is read.
fn refuse_inputs(output: &io::Result<Handle>, inputs: &[&Path], name: &str) -> anyhow::Result<()> {
    let Ok(output) = output else { return Ok(()) };
    // A terminal is both, and rightly so.
    if !output
        .as_file()
        .metadata()
        .is_ok_and(|metadata| metadata.is_file())
    {
        return Ok(());
    }
    let inputs = if inputs.is_empty() {
        &[Path::new("-")]
    } else {
        inputs
    };
    let is_output = |input: &&Path| {
        let input = if input.as_os_str() == "-" {
            Handle::stdin()
        } else {
            Handle::from_path(input)
        };
        input.is_ok_and(|input| input == *output)
    };
    match inputs.iter().any(is_output) {
        true => Err(usage(format!("{name} is the input and the output"))
            .hint("write to another file: this one would be lost while it is read")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::failure::Report;

    fn settle(format: Option<Format>, output: Option<&str>) -> Result<Format, Report> {
        let args = OutputArgs {
            format,
            output: output.map(PathBuf::from),
        };
        args.settle(VECTORS, args.output.as_deref())
            .map_err(|error| Report::new(&error).unwrap())
    }

    #[test]
    fn the_option_decides_then_the_ending_then_jsonl() {
        assert_eq!(settle(Some(Format::Json), Some("a.npy")), Ok(Format::Json));
        assert_eq!(settle(None, Some("a.NPY")), Ok(Format::Npy));
        assert_eq!(settle(None, Some("a.txt")), Ok(Format::Jsonl));
        assert_eq!(settle(None, None), Ok(Format::Jsonl));
    }

    #[test]
    fn a_format_the_command_lacks_is_wrong_usage() {
        let args = OutputArgs {
            format: Some(Format::Npy),
            output: None,
        };
        let report = Report::new(&args.settle(RECORDS, None).unwrap_err()).unwrap();
        assert_eq!(report.code, 2);
        assert!(
            report.message.contains("not a format of this command"),
            "{}",
            report.message
        );
    }

    #[test]
    fn a_format_with_a_header_needs_a_file() {
        for output in [None, Some(PathBuf::from("-"))] {
            let args = OutputArgs {
                format: Some(Format::Npy),
                output,
            };
            let error = args.open(VECTORS, &[]).err().unwrap();
            assert_eq!(Report::new(&error).unwrap().code, 2);
        }
    }

    #[test]
    fn the_output_may_not_be_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "precious\n").unwrap();
        let args = OutputArgs {
            format: None,
            output: Some(folder.path().join("./a.txt")),
        };
        let error = args.open(RECORDS, &[&path]).err().unwrap();
        assert_eq!(Report::new(&error).unwrap().code, 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
    }

    #[test]
    fn a_file_keeps_its_content_until_the_first_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "old and long\n").unwrap();
        let args = OutputArgs {
            format: None,
            output: Some(path.clone()),
        };
        let output = args.open(RECORDS, &[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old and long\n");
        let mut sink = output.into_sink();
        sink.write(b"new\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}

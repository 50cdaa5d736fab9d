//! The options for the destination and the format of the rows.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use crate::failure::{Hint, usage};
use crate::output::{Format, Layout, Target, parse_renaming};

/// The options of output.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Output format [default: from the extension of --output; a table on a terminal; else jsonl]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,

    /// Write to a file (- for standard output)
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// The columns of the rows.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct ColumnArgs {
    /// Copy these columns of the input, or all, to the output; not in table, npy and safetensors
    #[arg(long, value_name = "COLUMNS|all")]
    pub(crate) keep: Option<String>,

    /// Write a column under another name, such as embedding=vector; can be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = parse_renaming)]
    pub(crate) column_name: Vec<(String, String)>,
}

/// The columns and record batches of an output with one row per text.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct RowArgs {
    #[command(flatten)]
    pub(crate) columns: ColumnArgs,

    /// Divide Arrow output into the record batches of the Arrow input
    #[arg(long, value_name = "as-input", value_enum, hide_possible_values = true)]
    pub(crate) row_batches: Option<RowBatching>,
}

/// The division of rows into record batches.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum RowBatching {
    /// The batches of the input, empty ones too
    AsInput,
}

impl RowArgs {
    /// Returns true if the rows have the input's record batches.
    ///
    /// # Errors
    /// If the output's format has none.
    pub(crate) fn keeps_batches(&self, format: Format) -> anyhow::Result<bool> {
        match (self.row_batches, format) {
            (None, _) => Ok(false),
            (Some(RowBatching::AsInput), Format::Arrow) => Ok(true),
            (Some(RowBatching::AsInput), format) => Err(usage(format!(
                "`--row-batches as-input` is for arrow, and the output is {}",
                format.name()
            ))
            .hint("write to a file that ends in .arrow, or with `--format arrow`")),
        }
    }
}

impl ColumnArgs {
    /// Returns true if the rows have their own columns under their own names.
    pub(crate) fn is_plain(&self) -> bool {
        self.keep.is_none() && self.column_name.is_empty()
    }

    /// Returns the names of the columns in a format.
    ///
    /// # Errors
    /// If columns are requested and the format has none.
    pub(crate) fn layout(&self, format: Format) -> anyhow::Result<Layout> {
        let has_columns = !matches!(format, Format::Table | Format::Npy | Format::Safetensors);
        if has_columns || self.is_plain() {
            return Ok(Layout::new(self.column_name.clone()));
        }
        Err(usage(format!(
            "`--keep` and `--column-name` need columns, and the format `{}` has none",
            format.name()
        ))
        .hint("choose jsonl, json, csv, parquet or arrow"))
    }
}

impl ValueEnum for Format {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Table => "A table for people to read",
            Self::Json => "One array of rows",
            Self::Jsonl => "One JSON object per line",
            Self::Csv => "Comma-separated values; a list is JSON in one cell",
            Self::Npy => "A NumPy array of vectors: `embed` with --output",
            Self::Safetensors => "Named tensors: `embed` and `forward` with --output",
            Self::Parquet => "A Parquet file",
            Self::Arrow => "An Arrow IPC stream",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}

impl OutputArgs {
    /// Returns the format and the destination, for a command that supports these formats.
    ///
    /// # Errors
    /// If the command does not support the format.
    pub(crate) fn target(&self, supported: &[Format]) -> anyhow::Result<Target> {
        let path = self
            .output
            .as_deref()
            .filter(|path| path.as_os_str() != "-");
        Ok(Target {
            format: self.settle(supported, path)?,
            path: path.map(Path::to_path_buf),
            layout: Layout::default(),
        })
    }

    /// Returns true if the rows go to a terminal.
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
            (None, Some(path)) => match Format::from_path(path) {
                Some(format) => format,
                // A command with one format, such as `forward`, needs no extension to know it.
                None if supported.len() == 1 => supported[0],
                None => Format::Jsonl,
            },
            (None, None) if supported.len() == 1 => supported[0],
            (None, None) if self.is_terminal() => Format::Table,
            (None, None) => Format::Jsonl,
        };
        if supported.contains(&format) {
            return Ok(format);
        }
        let names: Vec<_> = supported.iter().map(|format| format.name()).collect();
        let (format, expected) = (format.name(), names.join(", "));
        Err(usage(format!(
            "format `{format}`: not a format of this command, expected {expected}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Report;
    use crate::output::{RECORDS, VECTORS};

    fn settle(format: Option<Format>, output: Option<&str>) -> Result<Format, Report> {
        let args = OutputArgs {
            format,
            output: output.map(PathBuf::from),
        };
        args.target(VECTORS)
            .map(|target| target.format)
            .map_err(|error| Report::new(&error).unwrap())
    }

    #[test]
    fn the_option_decides_then_the_extension_then_jsonl() {
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
        let report = Report::new(&args.target(RECORDS).unwrap_err()).unwrap();
        assert_eq!(report.code, 2);
        assert!(
            report.message.contains("not a format of this command"),
            "{}",
            report.message
        );
    }
}

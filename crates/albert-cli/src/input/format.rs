//! The format of a source, and the options that only some formats support.

use albert_data::{Format, Pairs, Source};

use crate::failure::{Hint, usage};

/// The options that only some formats support.
pub(super) struct FormatOptions {
    pub(super) is_named: bool,
    pub(super) delimiter: Option<u8>,
    pub(super) has_field: bool,
    pub(super) has_keep: bool,
    pub(super) has_tabs: bool,
    pub(super) pairs: Pairs,
    pub(super) keeps_batches: bool,
}

impl FormatOptions {
    /// Returns the format of a source, detected from its content if none is named.
    ///
    /// # Errors
    /// If the format does not support one of the options.
    pub(super) fn format(&self, source: &Source, named: Format) -> anyhow::Result<Format> {
        let format = if self.is_named {
            named
        } else {
            source.recognized_format()?.unwrap_or(named)
        };
        let format = match (self.delimiter, format) {
            (None, format) => format,
            (Some(delimiter), Format::Csv) => Format::Delimited(delimiter),
            (Some(_), format) => {
                return Err(usage(format!(
                    "`--delimiter` applies to csv, but the input is {format}"
                ))
                .hint("name the input's format with `--input-format csv`"));
            }
        };
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Err(crate::failure::without_tables(&format.to_string()));
        }
        if self.keeps_batches && format != Format::Arrow {
            return Err(usage(format!(
                "`--row-batches as-input` is for Arrow input, and the input is {format}"
            )));
        }
        if format != Format::Lines {
            if self.has_tabs {
                return Err(usage(format!(
                    "`--pairs` applies to lines, but the input is {format}"
                ))
                .hint("name the two fields of a table: `--field first,second`"));
            }
            return Ok(format);
        }
        if self.has_field {
            return Err(usage(
                "`--field` applies to tables, such as jsonl and csv, but the input is lines",
            )
            .hint("name the input's format with `--input-format`"));
        }
        if self.has_keep {
            return Err(usage(
                "`--keep`: lines have no columns, expected a table, such as jsonl or csv",
            )
            .hint("name the input's format with `--input-format`"));
        }
        if let Pairs::Listed(fields) = self.pairs {
            return Err(usage(format!(
                "lines cannot hold lists: expected a table with the fields `{fields}`"
            ))
            .hint("name the input's format with `--input-format`"));
        }
        Ok(format)
    }
}

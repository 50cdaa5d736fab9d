//! The formats of records.

use std::fmt;
use std::path::Path;

use crate::error::bail;

/// The format of a source of records.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// One record per line, with tabs between several fields.
    Lines,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values with a header line. A first line such as `sep=;` names another
    /// separator.
    Csv,
    /// Like CSV, with this ASCII character as separator.
    Delimited(u8),
    /// Tab-separated values with a header line, without quoting.
    Tsv,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file or stream.
    Arrow,
    /// CoNLL columns: one word per line with its tags, and a blank line between sentences. A record
    /// is a sentence with the lists `tokens` (the first column), `tags` (the last column), and
    /// those of other columns by their numbers from 0.
    Conll,
    /// A JSON document of SQuAD. A record is a question with `id`, `title`, `context`, `question`,
    /// `answers` and `is_impossible`.
    Squad,
}

impl Format {
    /// Returns the format of a file's extension, ignoring one of gzip or Zstandard; lines for any
    /// other extension.
    ///
    /// # Errors
    /// If the extension is that of one JSON document, which is not a stream of records.
    pub fn from_path(path: &Path) -> crate::Result<Self> {
        let extension = |path: &Path| {
            let extension = path.extension();
            extension.map(|extension| extension.to_string_lossy().to_lowercase())
        };
        let mut found = extension(path);
        if let Some("gz" | "gzip" | "zst" | "zstd") = found.as_deref() {
            found = extension(&path.with_extension(""));
        }
        Ok(match found.as_deref() {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            Some("parquet") => Self::Parquet,
            Some("arrow" | "arrows" | "feather" | "ipc") => Self::Arrow,
            Some("json") => {
                bail!(
                    "`{}`: a single JSON document is not a stream of texts",
                    path.display()
                )
            }
            _ => Self::Lines,
        })
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lines => "lines",
            Self::Jsonl => "jsonl",
            Self::Csv | Self::Delimited(_) => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Conll => "conll",
            Self::Squad => "squad",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides_the_format() {
        let found = |name: &str| Format::from_path(Path::new(name)).unwrap();
        assert_eq!(found("a.JSONL"), Format::Jsonl);
        assert_eq!(found("a.csv"), Format::Csv);
        assert_eq!(found("a.txt"), Format::Lines);
        assert_eq!(found("a"), Format::Lines);
        assert!(Format::from_path(Path::new("a.json")).is_err());
    }

    #[test]
    fn the_extension_of_a_compression_is_passed_over() {
        let found = |name: &str| Format::from_path(Path::new(name)).unwrap();
        assert_eq!(found("a.csv.gz"), Format::Csv);
        assert_eq!(found("a.tsv.zst"), Format::Tsv);
        assert_eq!(found("a.gz"), Format::Lines);
    }
}

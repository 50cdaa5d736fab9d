//! Rows in: texts from lines, JSON, CSV, TSV, Parquet and Arrow, and vectors that were saved, one at
//! a time and in constant memory.
//!
//! A [`Reader`] is an iterator of [`Line`]s. Its outer errors end the run (the disk failed); a line's
//! own error is a bad line, which the caller may pass over.

#[cfg(feature = "parquet")]
mod batches;
#[cfg(feature = "parquet")]
mod cells;
#[cfg(feature = "parquet")]
mod columns;
mod delimited;
mod feed;
mod hint;
mod json_lines;
mod lines;
mod reader;
mod source;
mod vectors;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::bail;

pub use feed::{Feed, Window};
pub use hint::{Hint, Hinted};
pub use reader::Reader;
pub use source::Source;
pub use vectors::{EMBEDDINGS, VectorFormat, VectorRow, Vectors};

/// One text, or two that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The text, or the first of the pair.
    pub text: String,
    /// The second of the pair.
    pub pair: Option<String>,
}

impl Text {
    /// The texts' length in bytes.
    pub fn len(&self) -> usize {
        self.text.len() + self.pair.as_ref().map_or(0, String::len)
    }
}

/// Where a text stood, for errors.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// The only argument: nothing to tell apart.
    OnlyArgument,
    /// One of several arguments, counted from 1.
    Argument(usize),
    /// A line of a file, counted from 1.
    Line(Arc<str>, u64),
    /// A row of a table without lines, counted from 1.
    #[cfg(feature = "parquet")]
    Row(Arc<str>, u64),
}

impl Place {
    /// Puts the place in front of an error.
    pub fn locate(&self, error: anyhow::Error) -> anyhow::Error {
        match self {
            Self::OnlyArgument => error,
            Self::Argument(number) => error.context(format!("argument {number}")),
            Self::Line(name, number) => error.context(format!("{name}, line {number}")),
            #[cfg(feature = "parquet")]
            Self::Row(name, number) => error.context(format!("{name}, row {number}")),
        }
    }
}

/// A text or the reason why there is none, and where it stood.
#[derive(Debug)]
pub struct Line {
    /// Where it stood.
    pub place: Place,
    /// The text.
    pub text: anyhow::Result<Text>,
}

/// An iterator of lines.
type Lines = Box<dyn Iterator<Item = anyhow::Result<Line>> + Send>;

/// The format of a file of texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format {
    /// One text a line; a tab between the two texts of a pair
    Lines,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
    /// Tab-separated values with a header line, no quoting
    Tsv,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC file or stream
    Arrow,
}

impl Format {
    /// The format by a file's extension; lines where that says nothing.
    ///
    /// # Errors
    /// If the extension is that of one JSON document, which is no stream of texts.
    pub fn from_path(path: &Path) -> anyhow::Result<Self> {
        let ending = path
            .extension()
            .map(|ending| ending.to_string_lossy().to_lowercase());
        Ok(match ending.as_deref() {
            Some("jsonl" | "ndjson") => Self::Jsonl,
            Some("csv") => Self::Csv,
            Some("tsv") => Self::Tsv,
            Some("parquet") => Self::Parquet,
            Some("arrow" | "arrows" | "feather" | "ipc") => Self::Arrow,
            Some("json") => {
                bail!(
                    "`{}`: one JSON document is no stream of texts",
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
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        })
    }
}

/// Whether a command takes pairs of texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pairs {
    /// It does: a tab in a line separates the two.
    Taken,
    /// It does not: a tab is a character like any other.
    Refused,
    /// It takes nothing else; a table has them in these two fields unless `--field` says otherwise.
    Needed(&'static str),
    /// A text with a list of texts, which only tables have, in these two fields. The list is handed
    /// on as the JSON it is.
    Listed(&'static str),
}

impl Pairs {
    /// The names of the fields unless they are given.
    pub fn default_field(self) -> &'static str {
        match self {
            Self::Taken | Self::Refused => "text",
            Self::Needed(fields) | Self::Listed(fields) => fields,
        }
    }
}

/// The names of the fields that hold the text, and its pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    text: String,
    pair: Option<String>,
    /// The pair is a list.
    listed: bool,
}

impl Fields {
    /// Reads one name, or two with a comma between them.
    ///
    /// # Errors
    /// If there are other than the command takes.
    pub fn parse(names: &str, pairs: Pairs) -> anyhow::Result<Self> {
        let listed = matches!(pairs, Pairs::Listed(_));
        let fields = match names.split_once(',') {
            None => Self {
                text: names.to_string(),
                pair: None,
                listed,
            },
            Some((text, pair)) => Self {
                text: text.to_string(),
                pair: Some(pair.to_string()),
                listed,
            },
        };
        let pair = fields.pair.as_deref();
        if fields.text.is_empty() || pair.is_some_and(|pair| pair.is_empty() || pair.contains(','))
        {
            bail!("expected one name, or two as `first,second`");
        }
        if pair.is_some() && pairs == Pairs::Refused {
            bail!("expected one name, this command takes no pairs");
        }
        if let (None, Pairs::Needed(both) | Pairs::Listed(both)) = (pair, pairs) {
            bail!("expected two names, such as `{both}`");
        }
        Ok(fields)
    }

    #[cfg(feature = "parquet")]
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.text.as_str()).chain(self.pair.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_the_format() {
        let of = |name: &str| Format::from_path(Path::new(name)).unwrap();
        assert_eq!(of("a.JSONL"), Format::Jsonl);
        assert_eq!(of("a.csv"), Format::Csv);
        assert_eq!(of("a.txt"), Format::Lines);
        assert_eq!(of("a"), Format::Lines);
        assert!(Format::from_path(Path::new("a.json")).is_err());
    }

    #[test]
    fn a_field_is_one_name_or_two() {
        let one = Fields::parse("body", Pairs::Refused).unwrap();
        assert_eq!(
            one,
            Fields {
                text: "body".into(),
                pair: None,
                listed: false
            }
        );
        let two = Fields::parse("a,b", Pairs::Taken).unwrap();
        assert_eq!(two.pair.as_deref(), Some("b"));
        for bad in ["", ",", "a,", ",b", "a,b,c"] {
            assert!(Fields::parse(bad, Pairs::Taken).is_err(), "{bad}");
        }
        assert!(Fields::parse("a,b", Pairs::Refused).is_err());
        assert!(Fields::parse("a", Pairs::Needed("first,second")).is_err());
        assert!(
            Fields::parse("a,b", Pairs::Listed("text,choices"))
                .unwrap()
                .listed
        );
    }

    #[test]
    fn an_error_names_its_place() {
        let at = |place: Place| format!("{:#}", place.locate(anyhow::anyhow!("bad")));
        assert_eq!(at(Place::OnlyArgument), "bad");
        assert_eq!(at(Place::Argument(2)), "argument 2: bad");
        assert_eq!(at(Place::Line("`a.txt`".into(), 3)), "`a.txt`, line 3: bad");
    }
}

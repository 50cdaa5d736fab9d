//! Reading texts: from arguments, a file or standard input, one at a time and in constant memory.
//!
//! A reader is an iterator of [`Line`]s. Its outer errors end the run (the disk failed); a line's
//! own error is a bad line, which `--skip-bad` passes over.

mod arguments;
#[cfg(feature = "parquet")]
mod batches;
#[cfg(feature = "parquet")]
mod cells;
#[cfg(feature = "parquet")]
mod columns;
mod delimited;
mod feed;
mod json_lines;
mod lines;
mod source;
mod vectors;

use std::fmt;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "parquet")]
use anyhow::Context;
use clap::ValueEnum;

use crate::args::{InputArgs, PairArgs};
use crate::failure::{Hint, usage};
use crate::progress::Extent;

#[cfg(feature = "parquet")]
use batches::Batches;
pub(crate) use feed::{Feed, Window};
#[cfg(feature = "parquet")]
use source::Reader;
use source::{Counted, Opened, Source, source};
pub(crate) use vectors::Vectors;

/// One text, or two that belong together.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Text {
    /// The text, or the first of the pair.
    pub(crate) text: String,
    /// The second of the pair.
    pub(crate) pair: Option<String>,
}

impl Text {
    /// The texts' length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.text.len() + self.pair.as_ref().map_or(0, String::len)
    }
}

/// Where a text stood, for errors.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Place {
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
    pub(crate) fn locate(&self, error: anyhow::Error) -> anyhow::Error {
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
pub(crate) struct Line {
    pub(crate) place: Place,
    pub(crate) text: anyhow::Result<Text>,
}

/// An iterator of lines.
type Lines = Box<dyn Iterator<Item = anyhow::Result<Line>> + Send>;

/// How a file of texts is written.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum InputFormat {
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

impl InputFormat {
    fn of(path: &Path) -> anyhow::Result<Self> {
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
                return Err(usage(format!(
                    "`{}`: one JSON document is no stream of texts",
                    path.display()
                ))
                .hint("for one JSON object a line, say `--input-format jsonl`"));
            }
            _ => Self::Lines,
        })
    }
}

impl fmt::Display for InputFormat {
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
pub(crate) enum Pairs {
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
    fn default_field(self) -> &'static str {
        match self {
            Self::Taken | Self::Refused => "text",
            Self::Needed(fields) | Self::Listed(fields) => fields,
        }
    }
}

/// The names of the fields that hold the text, and its pair.
#[derive(Debug, Clone, PartialEq)]
struct Fields {
    text: String,
    pair: Option<String>,
    /// The pair is a list.
    listed: bool,
}

impl Fields {
    fn parse(names: &str, pairs: Pairs) -> anyhow::Result<Self> {
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
            return Err(usage(format!(
                "`--field {names}`: expected one name, or two as `first,second`"
            )));
        }
        if pair.is_some() && pairs == Pairs::Refused {
            return Err(usage(format!(
                "`--field {names}`: expected one name, this command takes no pairs"
            )));
        }
        if let (None, Pairs::Needed(both) | Pairs::Listed(both)) = (pair, pairs) {
            return Err(usage(format!(
                "`--field {names}`: expected two names, such as `{both}`"
            )));
        }
        Ok(fields)
    }

    #[cfg(feature = "parquet")]
    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.text.as_str()).chain(self.pair.as_deref())
    }
}

/// The texts of a run, not yet read.
pub(crate) struct Input {
    lines: Lines,
    /// Whether the lines come at somebody else's pace, from a pipe.
    paced: bool,
    /// How far the input reaches.
    pub(crate) extent: Extent,
    /// How many bytes of it are read.
    pub(crate) bytes_read: Arc<AtomicU64>,
    /// Pass over bad lines.
    pub(crate) skip_bad: bool,
    /// Lines that an earlier run has done.
    pub(crate) skipped: usize,
}

impl Input {
    /// Opens what the arguments name.
    ///
    /// # Errors
    /// If there is no text at all, the options contradict each other, or the file cannot be opened.
    pub(crate) fn open(args: InputArgs, pair: PairArgs, pairs: Pairs) -> anyhow::Result<Self> {
        let fields = Fields::parse(
            args.field.as_deref().unwrap_or(pairs.default_field()),
            pairs,
        )?;
        let path = match source(&args)? {
            Source::Arguments => return Self::of_arguments(args, pair),
            Source::File(path) => Some(path),
            Source::Stdin => None,
        };
        if pair.pair.is_some() {
            return Err(usage("`--pair` needs one text as an argument beside it")
                .hint("in a file, a tab or `--field first,second` separates the texts of a pair"));
        }
        let format = match (args.input_format, &path) {
            (Some(format), _) => format,
            (None, Some(path)) => InputFormat::of(path)?,
            (None, None) => InputFormat::Lines,
        };
        if format == InputFormat::Lines && args.field.is_some() {
            return Err(usage(
                "`--field` is for tables, such as jsonl and csv, and the input is lines",
            )
            .hint("name the input's format with `--input-format`"));
        }
        #[cfg(not(feature = "parquet"))]
        if matches!(format, InputFormat::Parquet | InputFormat::Arrow) {
            return Err(crate::failure::without_tables(&format.to_string()));
        }
        if let (InputFormat::Lines, Pairs::Listed(fields)) = (format, pairs) {
            return Err(usage(format!(
                "lines hold no lists: expected a table with the fields `{fields}`"
            ))
            .hint("name the input's format with `--input-format`"));
        }
        let opened = Opened::new(path.as_deref())?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        #[cfg(feature = "parquet")]
        if format == InputFormat::Parquet {
            return Self::of_parquet(opened, fields, bytes_read, args.skip_bad);
        }
        let Opened {
            reader,
            name,
            extent,
        } = opened;
        let reader = Counted {
            reader: reader.into_read(),
            bytes: Arc::clone(&bytes_read),
        };
        let reader = BufReader::with_capacity(1 << 16, reader);
        let lines: Lines = match format {
            InputFormat::Jsonl => Box::new(json_lines::JsonLines::new(reader, name, fields)),
            InputFormat::Csv => Box::new(delimited::Delimited::new(reader, name, fields, b',')),
            InputFormat::Tsv => Box::new(delimited::Delimited::new(reader, name, fields, b'\t')),
            #[cfg(feature = "parquet")]
            InputFormat::Arrow => Box::new(columns::Columns::new(
                Batches::arrow(reader, name)?,
                fields,
            )?),
            _ => Box::new(lines::PlainLines::new(reader, name, pairs)),
        };
        let paced = extent == Extent::Unknown;
        Ok(Self {
            lines,
            paced,
            extent,
            bytes_read,
            skip_bad: args.skip_bad,
            skipped: 0,
        })
    }

    /// Opens a Parquet file, of which a copy is made if it comes from a pipe.
    #[cfg(feature = "parquet")]
    fn of_parquet(
        opened: Opened,
        fields: Fields,
        bytes_read: Arc<AtomicU64>,
        skip_bad: bool,
    ) -> anyhow::Result<Self> {
        let Opened {
            reader,
            name,
            extent,
        } = opened;
        let (file, extent) = match (reader, extent) {
            (Reader::File(file), Extent::Bytes(_)) => (file, extent),
            (reader, _) => {
                let file = batches::spool(&mut reader.into_read(), &name)?;
                let length = file
                    .metadata()
                    .with_context(|| format!("cannot read {name}"))?
                    .len();
                (file, Extent::Bytes(length))
            }
        };
        let names: Vec<&str> = fields.names().collect();
        let batches = Batches::parquet(file, &names, name, Arc::clone(&bytes_read))?;
        let lines = Box::new(columns::Columns::new(batches, fields)?);
        Ok(Self {
            lines,
            paced: false,
            extent,
            bytes_read,
            skip_bad,
            skipped: 0,
        })
    }

    fn of_arguments(args: InputArgs, pair: PairArgs) -> anyhow::Result<Self> {
        if args.field.is_some() || args.input_format.is_some() {
            return Err(usage(
                "`--field` and `--input-format` are for files, and the texts are arguments",
            ));
        }
        Ok(Self {
            lines: Box::new(arguments::lines(args.texts, pair.pair)?),
            paced: false,
            extent: Extent::Short,
            bytes_read: Arc::default(),
            skip_bad: args.skip_bad,
            skipped: 0,
        })
    }

    /// How many bytes are read so far.
    pub(crate) fn position(bytes_read: &AtomicU64) -> u64 {
        bytes_read.load(Ordering::Relaxed)
    }

    /// Passes over the first lines, or as many as there are, and gives the first and the last of
    /// them with their numbers.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn skip(&mut self, count: usize) -> anyhow::Result<Vec<(usize, Line)>> {
        let mut ends = Vec::new();
        while self.skipped < count {
            let Some(line) = self.lines.next().transpose()? else {
                break;
            };
            ends.truncate(1);
            ends.push((self.skipped, line));
            self.skipped += 1;
        }
        Ok(ends)
    }

    /// Whether no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn is_at_end(&mut self) -> anyhow::Result<bool> {
        let Some(line) = self.lines.next().transpose()? else {
            return Ok(true);
        };
        let rest = std::mem::replace(&mut self.lines, Box::new(std::iter::empty()));
        self.lines = Box::new(std::iter::once(Ok(line)).chain(rest));
        Ok(false)
    }

    /// Starts reading, a window at a time.
    pub(crate) fn feed(self) -> Feed {
        Feed::new(self.lines, self.paced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_the_format() {
        let of = |name: &str| InputFormat::of(Path::new(name)).unwrap();
        assert_eq!(of("a.JSONL"), InputFormat::Jsonl);
        assert_eq!(of("a.csv"), InputFormat::Csv);
        assert_eq!(of("a.txt"), InputFormat::Lines);
        assert_eq!(of("a"), InputFormat::Lines);
        assert!(InputFormat::of(Path::new("a.json")).is_err());
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

//! The texts of a command: arguments, a file or standard input.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use albert_data::{
    Feed, Fields, Format, Line, Notes, Pairs, Reader, Source, VectorFormat, Vectors,
};
use clap::ValueEnum;

use crate::args::{InputArgs, PairArgs};
use crate::arguments;
use crate::failure::{Hint, usage};
use crate::progress::Extent;

/// The format of a file of texts.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One text a line; with pairs a tab between the two texts
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

impl From<InputFormat> for Format {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Lines => Self::Lines,
            InputFormat::Jsonl => Self::Jsonl,
            InputFormat::Csv => Self::Csv,
            InputFormat::Tsv => Self::Tsv,
            InputFormat::Parquet => Self::Parquet,
            InputFormat::Arrow => Self::Arrow,
        }
    }
}

/// The place of the texts.
enum Place {
    Arguments,
    File(PathBuf),
    Stdin,
}

/// Settles where the texts are.
///
/// # Errors
/// If there are none.
fn place(args: &InputArgs) -> anyhow::Result<Place> {
    if let [only] = args.texts.as_slice()
        && only == "-"
    {
        return Ok(Place::Stdin);
    }
    match &args.input {
        _ if !args.texts.is_empty() => Ok(Place::Arguments),
        Some(path) if path.as_os_str() == "-" => Ok(Place::Stdin),
        Some(path) => Ok(Place::File(path.clone())),
        None if !io::stdin().is_terminal() => Ok(Place::Stdin),
        None => Err(usage("no text given")
            .hint("give a text as an argument, `--input FILE`, or pipe lines into the command")),
    }
}

/// The pairs that a command takes, with `--pairs` given or not.
///
/// # Errors
/// If it takes none.
fn divided(pairs: Pairs, is_given: bool) -> anyhow::Result<Pairs> {
    match pairs {
        _ if !is_given => Ok(pairs),
        Pairs::Taken => Ok(Pairs::Divided),
        Pairs::Needed(_) | Pairs::Divided => Ok(pairs),
        _ => Err(usage("`--pairs`: this command takes no pairs")),
    }
}

/// The format that is named, or that a file's extension shows.
///
/// # Errors
/// If it is not a format of texts.
fn named_format(args: &InputArgs, path: Option<&Path>) -> anyhow::Result<Format> {
    match (args.input_format, path) {
        (Some(format), _) => Ok(format.into()),
        (None, None) => Ok(Format::Lines),
        (None, Some(path)) => Format::from_path(path).map_err(|error| {
            usage(error.to_string()).hint("for one JSON object a line, say `--input-format jsonl`")
        }),
    }
}

/// The format with its separator, if one is given.
///
/// # Errors
/// If the format has none.
fn delimited(format: Format, delimiter: Option<u8>) -> anyhow::Result<Format> {
    match (delimiter, format) {
        (None, format) => Ok(format),
        (Some(delimiter), Format::Csv) => Ok(Format::Delimited(delimiter)),
        (Some(_), format) => Err(usage(format!(
            "`--delimiter` is for csv, and the input is {format}"
        ))
        .hint("name the input's format with `--input-format csv`")),
    }
}

/// The texts of a run, not yet read.
pub(crate) struct Input {
    reader: Reader,
    /// The extent of the input.
    pub(crate) extent: Extent,
    /// The number of its bytes that have been read.
    pub(crate) bytes_read: Arc<AtomicU64>,
    /// Pass over bad lines.
    pub(crate) skip_bad: bool,
    /// Lines that an earlier run has done.
    pub(crate) skipped: usize,
    notes: Notes,
}

/// Remarks on an input that are no errors.
pub(crate) struct Remarks {
    notes: Notes,
    extent: Extent,
    bytes_read: Arc<AtomicU64>,
}

impl Remarks {
    /// The remarks at the end of an input of so many rows.
    pub(crate) fn at_end(&self, rows: usize) -> Vec<String> {
        let mut remarks = self.notes.take();
        let bytes = match self.extent {
            Extent::Bytes(bytes) => bytes,
            _ => Input::position(&self.bytes_read),
        };
        if rows == 0 && bytes > 0 {
            remarks.push(format!("the input has {bytes} bytes and no row"));
        }
        remarks
    }
}

impl Input {
    /// Opens what the arguments name.
    ///
    /// # Errors
    /// If there is no text at all, the options contradict each other, or the file cannot be opened.
    pub(crate) fn open(args: InputArgs, pair: PairArgs, pairs: Pairs) -> anyhow::Result<Self> {
        let pairs = divided(pairs, args.pairs)?;
        let names = args.field.as_deref().unwrap_or(pairs.default_field());
        let fields = Fields::parse(names, pairs)
            .map_err(|error| usage(format!("`--field {names}`: {error}")))?;
        let path = match place(&args)? {
            Place::Arguments => return Self::from_arguments(args, pair),
            Place::File(path) => Some(path),
            Place::Stdin => None,
        };
        if pair.pair.is_some() {
            return Err(
                usage("`--pair` needs one text as an argument next to it").hint(
                    "a table has pairs with `--field first,second`, lines with a tab and `--pairs`",
                ),
            );
        }
        let named = named_format(&args, path.as_deref())?;
        let source = match &path {
            Some(path) => Source::from_file(path)?,
            None => Source::stdin(),
        };
        let format = match args.input_format {
            Some(_) => named,
            None => source.recognised_format()?.unwrap_or(named),
        };
        let format = delimited(format, args.delimiter)?;
        if format == Format::Lines && args.field.is_some() {
            return Err(usage(
                "`--field` is for tables, such as jsonl and csv, and the input is lines",
            )
            .hint("name the input's format with `--input-format`"));
        }
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Err(crate::failure::without_tables(&format.to_string()));
        }
        if let (Format::Lines, Pairs::Listed(fields)) = (format, pairs) {
            return Err(usage(format!(
                "lines hold no lists: expected a table with the fields `{fields}`"
            ))
            .hint("name the input's format with `--input-format`"));
        }
        let reader = Reader::open(source, format, fields, pairs)?;
        let extent = match reader.length() {
            Some(length) => Extent::Bytes(length),
            None => Extent::Unknown,
        };
        Ok(Self {
            bytes_read: reader.bytes_read(),
            notes: reader.notes(),
            reader,
            extent,
            skip_bad: args.skip_bad,
            skipped: 0,
        })
    }

    fn from_arguments(args: InputArgs, pair: PairArgs) -> anyhow::Result<Self> {
        let is_of_files = [
            ("--field", args.field.is_some()),
            ("--input-format", args.input_format.is_some()),
            ("--delimiter", args.delimiter.is_some()),
            ("--pairs", args.pairs),
        ];
        if let Some((option, _)) = is_of_files.iter().find(|(_, is_given)| *is_given) {
            return Err(usage(format!(
                "`{option}` is for files, and the texts are arguments"
            )));
        }
        Ok(Self {
            reader: Reader::from_lines(arguments::lines(args.texts, pair.pair)?),
            extent: Extent::Short,
            bytes_read: Arc::default(),
            notes: Notes::default(),
            skip_bad: args.skip_bad,
            skipped: 0,
        })
    }

    /// The remarks on this input, which come as it is read.
    pub(crate) fn remarks(&self) -> Remarks {
        Remarks {
            notes: self.notes.clone(),
            extent: self.extent,
            bytes_read: Arc::clone(&self.bytes_read),
        }
    }

    /// The number of bytes that have been read so far.
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
            let Some(line) = self.reader.next().transpose()? else {
                break;
            };
            ends.truncate(1);
            ends.push((self.skipped, line));
            self.skipped += 1;
        }
        Ok(ends)
    }

    /// Returns whether no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn is_at_end(&mut self) -> anyhow::Result<bool> {
        self.reader.is_at_end()
    }

    /// Starts reading, a window at a time.
    pub(crate) fn feed(self) -> Feed {
        self.reader.feed()
    }
}

/// Opens a file of vectors by its extension.
///
/// # Errors
/// If the extension is none that `embed` writes, the file cannot be opened, or it is not what its
/// extension says.
pub(crate) fn vectors(path: &Path) -> anyhow::Result<Vectors> {
    use crate::output::Format;
    let format = match Format::of(path) {
        Some(Format::Npy) => VectorFormat::Npy,
        Some(Format::Safetensors) => VectorFormat::Safetensors,
        Some(Format::Json) => VectorFormat::Json,
        Some(Format::Jsonl) => VectorFormat::Jsonl,
        Some(Format::Csv) => VectorFormat::Csv,
        #[cfg(feature = "parquet")]
        Some(Format::Parquet) => VectorFormat::Parquet,
        #[cfg(feature = "parquet")]
        Some(Format::Arrow) => VectorFormat::Arrow,
        #[cfg(not(feature = "parquet"))]
        Some(format @ (Format::Parquet | Format::Arrow)) => {
            return Err(crate::failure::without_tables(format.name()));
        }
        Some(Format::Table) | None => {
            let name = path.display();
            let expected = "npy, safetensors, json, jsonl, csv, parquet or arrow";
            return Err(usage(format!(
                "`{name}`: expected a file of embeddings that ends in {expected}"
            ))
            .hint("`albert-cli embed --input FILE --output corpus.npy` makes one"));
        }
    };
    Vectors::open(path, format)
}

//! Opens the texts of a command: arguments, files, folders of shards or standard input.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use albert_data::{
    Feed, Field, Fields, Format, Line, Notes, Pairs, Place, Reader, RowBatches, Shards, Source,
    Text, VectorFormat, Vectors,
};

use crate::failure::{Hint, carried, usage};
use crate::output;
use crate::progress::Extent;

/// A request to read texts.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) origin: Origin,
    /// `None`: inferred for each file from its content or its extension.
    pub(crate) format: Option<Format>,
    /// The separator of csv, unless it is a comma.
    pub(crate) delimiter: Option<u8>,
    /// `None`: the default fields of `pairs`.
    pub(crate) field: Option<String>,
    /// The columns to copy to the rows: a list of names, or `all`.
    pub(crate) keep: Option<String>,
    /// The pairs that the command takes.
    pub(crate) pairs: Pairs,
    /// True if a tab separates the texts of a pair, in a command that takes pairs.
    pub(crate) has_tabs: bool,
    /// Pass over bad lines.
    pub(crate) skip_bad: bool,
    /// Rows keep the record batches of the input, which must be Arrow.
    pub(crate) keeps_batches: bool,
}

/// The origin of the texts.
#[derive(Debug)]
pub(crate) enum Origin {
    Arguments {
        texts: Vec<String>,
        pair: Option<String>,
    },
    /// Files and folders; `-` is standard input.
    Files(Vec<PathBuf>),
    Stdin,
}

impl Origin {
    /// Returns standard input, unless it is a terminal, where a silent wait for input would look
    /// like a hang.
    ///
    /// # Errors
    /// If it is a terminal.
    pub(crate) fn piped(hint: &str) -> anyhow::Result<Self> {
        if io::stdin().is_terminal() {
            return Err(usage("no text given").hint(hint));
        }
        Ok(Self::Stdin)
    }

    /// Returns the files that are read, none of which may be the output; `-` is standard input.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub(crate) fn paths(&self) -> anyhow::Result<Vec<PathBuf>> {
        Ok(match self {
            Self::Arguments { .. } => Vec::new(),
            Self::Files(paths) => Shards::find(paths)?.paths().to_vec(),
            Self::Stdin => vec![PathBuf::from("-")],
        })
    }
}

impl Request {
    /// Creates a request for the texts of one file, with its own format and the default fields.
    pub(crate) fn from_file(path: &Path, pairs: Pairs) -> Self {
        Self {
            origin: Origin::Files(vec![path.to_path_buf()]),
            format: None,
            delimiter: None,
            field: None,
            keep: None,
            pairs,
            has_tabs: false,
            skip_bad: false,
            keeps_batches: false,
        }
    }
}

/// The open input of a run, not yet read.
pub(crate) struct Input {
    reader: Reader,
    /// The extent of the input.
    pub(crate) extent: Extent,
    /// The number of bytes read so far.
    pub(crate) bytes_read: Arc<AtomicU64>,
    /// Pass over bad lines.
    pub(crate) skip_bad: bool,
    /// The number of lines that an earlier run has processed.
    pub(crate) skipped: usize,
    notes: Notes,
}

/// Remarks on an input that are not errors.
pub(crate) struct Remarks {
    notes: Notes,
    extent: Extent,
    bytes_read: Arc<AtomicU64>,
}

impl Remarks {
    /// Returns the remarks at the end of an input of `rows` rows.
    pub(crate) fn at_end(&self, rows: usize) -> Vec<String> {
        let mut remarks = self.notes.take();
        let bytes = match self.extent {
            Extent::Bytes(bytes) => bytes,
            _ => Input::position(&self.bytes_read),
        };
        if rows == 0 && bytes > 0 {
            remarks.push(format!("the input has {bytes} bytes but no rows"));
        }
        remarks
    }
}

impl Input {
    /// Opens the requested texts.
    ///
    /// # Errors
    /// If the options contradict each other or the format, or a file cannot be opened.
    pub(crate) fn open(request: &Request) -> anyhow::Result<Self> {
        let pairs = request.pairs();
        let names = request.field.as_deref().unwrap_or(pairs.default_field());
        let fields = Fields::parse(names, pairs)
            .map_err(|error| usage(format!("`--field {names}`: {error}")))?;
        let fields = match request.keep.as_deref() {
            None => fields,
            Some("all") => fields.with_all_kept(),
            Some(columns) => fields.with_kept(
                Field::parse_list(columns)
                    .map_err(|error| usage(format!("`--keep {columns}`: {error}")))?,
            ),
        };
        let (reader, extent) = match &request.origin {
            Origin::Arguments { .. } if request.keep.is_some() => {
                return Err(usage(
                    "`--keep` applies to files, but the texts are arguments",
                ));
            }
            Origin::Arguments { .. } if request.keeps_batches => {
                return Err(usage(
                    "`--row-batches as-input` is for Arrow files, and the texts are arguments",
                ));
            }
            Origin::Arguments { texts, pair } => {
                let reader = Reader::from_lines(lines(texts, pair.as_deref()));
                (reader, Extent::Short)
            }
            Origin::Stdin => request.read(&[PathBuf::from("-")], &fields)?,
            Origin::Files(paths) => request.read(paths, &fields)?,
        };
        Ok(Self {
            bytes_read: reader.bytes_read(),
            notes: reader.notes(),
            reader,
            extent,
            skip_bad: request.skip_bad,
            skipped: 0,
        })
    }

    /// Returns the remarks on this input; more are added while it is read.
    pub(crate) fn remarks(&self) -> Remarks {
        Remarks {
            notes: self.notes.clone(),
            extent: self.extent,
            bytes_read: Arc::clone(&self.bytes_read),
        }
    }

    /// Returns the record batches of Arrow inputs, which come as they are read.
    pub(crate) fn row_batches(&self) -> RowBatches {
        self.reader.row_batches()
    }

    /// Returns the number of bytes read so far.
    pub(crate) fn position(bytes_read: &AtomicU64) -> u64 {
        bytes_read.load(Ordering::Relaxed)
    }

    /// Skips the first `count` lines, or as many as there are, and returns the first and the last
    /// of them with their numbers.
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

    /// Returns true if no line is left.
    ///
    /// # Errors
    /// If reading fails.
    pub(crate) fn is_at_end(&mut self) -> anyhow::Result<bool> {
        Ok(self.reader.is_at_end()?)
    }

    /// Starts reading, a chunk at a time.
    pub(crate) fn feed(self) -> Feed {
        self.reader.feed()
    }
}

impl Request {
    /// Returns the pairs to read: lines are split at tabs only on request.
    fn pairs(&self) -> Pairs {
        match self.pairs {
            Pairs::Taken if self.has_tabs => Pairs::Divided,
            pairs => pairs,
        }
    }

    /// Opens files and folders one after another.
    fn read(&self, paths: &[PathBuf], fields: &Fields) -> anyhow::Result<(Reader, Extent)> {
        // A wrong option is reported before a missing file.
        for path in paths.iter().filter(|path| !path.is_dir()) {
            self.named_format(path)?;
        }
        let shards = Shards::find(paths)?;
        let formats = shards
            .paths()
            .iter()
            .map(|path| self.named_format(path))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let (options, pairs, fields) = (self.options(), self.pairs(), fields.clone());
        let open = move |path: &Path, format: Format| {
            let source = if path.as_os_str() == "-" {
                Source::stdin()
            } else {
                Source::from_file(path)?
            };
            let format = options.format(&source, format).map_err(carried)?;
            Reader::open(source, format, fields.clone(), pairs)
        };
        let reader = shards.read(formats, open)?;
        let extent = match reader.length() {
            Some(length) => Extent::Bytes(length),
            None => Extent::Unknown,
        };
        Ok((reader, extent))
    }

    /// Returns the format that was named, or that of the file's extension.
    ///
    /// # Errors
    /// If it is not a text format.
    fn named_format(&self, path: &Path) -> anyhow::Result<Format> {
        match self.format {
            Some(format) => Ok(format),
            // Nothing else has record batches.
            None if self.keeps_batches && path.as_os_str() == "-" => Ok(Format::Arrow),
            None if path.as_os_str() == "-" => Ok(Format::Lines),
            None => Format::from_path(path).map_err(|error| {
                usage(error.to_string())
                    .hint("for one JSON object per line, use `--input-format jsonl`")
            }),
        }
    }

    fn options(&self) -> FormatOptions {
        FormatOptions {
            is_named: self.format.is_some(),
            delimiter: self.delimiter,
            has_field: self.field.is_some(),
            has_keep: self.keep.is_some(),
            has_tabs: self.has_tabs,
            pairs: self.pairs,
            keeps_batches: self.keeps_batches,
        }
    }
}

/// The options that only some formats support.
struct FormatOptions {
    is_named: bool,
    delimiter: Option<u8>,
    has_field: bool,
    has_keep: bool,
    has_tabs: bool,
    pairs: Pairs,
    keeps_batches: bool,
}

impl FormatOptions {
    /// Returns the format of a source, detected from its content if none is named.
    ///
    /// # Errors
    /// If the format does not support one of the options.
    fn format(&self, source: &Source, named: Format) -> anyhow::Result<Format> {
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

/// Returns the arguments as lines.
fn lines(texts: &[String], pair: Option<&str>) -> Vec<Line> {
    let line = |(index, text): (usize, &String)| Line {
        place: if texts.len() == 1 {
            Place::OnlyArgument
        } else {
            Place::Argument(index + 1)
        },
        text: Ok(Text {
            text: text.clone(),
            pair: pair.map(String::from),
            words: None,
        }),
        kept: Vec::new(),
    };
    texts.iter().enumerate().map(line).collect()
}

/// Opens a file of vectors by its extension.
///
/// # Errors
/// If `embed` does not write a format with this extension, or the file cannot be opened or read in
/// it.
pub(crate) fn vectors(path: &Path) -> anyhow::Result<Vectors> {
    use output::Format;
    let format = match Format::from_path(path) {
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
                "`{name}`: expected a file of embeddings with the extension {expected}"
            ))
            .hint("`albert-cli embed --input FILE --output corpus.npy` makes one"));
        }
    };
    Ok(Vectors::open(path, format)?)
}

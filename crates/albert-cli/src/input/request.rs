//! A request to read texts, from arguments, files, folders or standard input.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use albert_data::{Fields, Format, Pairs, Reader, Shards, Source};

use super::format::FormatOptions;
use crate::failure::{Hint, carried, usage};
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

impl Request {
    /// Returns the pairs to read: lines are split at tabs only on request.
    pub(super) fn pairs(&self) -> Pairs {
        match self.pairs {
            Pairs::Taken if self.has_tabs => Pairs::Divided,
            pairs => pairs,
        }
    }

    /// Opens files and folders one after another.
    pub(super) fn read(
        &self,
        paths: &[PathBuf],
        fields: &Fields,
    ) -> anyhow::Result<(Reader, Extent)> {
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

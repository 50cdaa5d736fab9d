//! The output formats with their names and extensions, and the formats of each kind of command.

use std::path::Path;

/// An output format.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    /// Lines for people to read.
    Table,
    /// One array of rows.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values; a list is JSON in one cell.
    Csv,
    /// A NumPy array of vectors.
    Npy,
    /// Named tensors.
    Safetensors,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

impl Format {
    /// All formats.
    pub(crate) const ALL: &'static [Self] = &[
        Self::Table,
        Self::Json,
        Self::Jsonl,
        Self::Csv,
        Self::Npy,
        Self::Safetensors,
        Self::Parquet,
        Self::Arrow,
    ];

    /// Returns the format's name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Npy => "npy",
            Self::Safetensors => "safetensors",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }

    /// Returns the format of a file by its extension.
    pub(crate) fn from_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        match extension.as_str() {
            "json" => Some(Self::Json),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "csv" => Some(Self::Csv),
            "npy" => Some(Self::Npy),
            "safetensors" => Some(Self::Safetensors),
            "parquet" => Some(Self::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }
}

/// The formats of a command whose rows are records of text.
pub(crate) const RECORDS: &[Format] = &[
    Format::Table,
    Format::Json,
    Format::Jsonl,
    Format::Csv,
    Format::Parquet,
    Format::Arrow,
];

/// The formats of a command whose rows each have one vector.
pub(crate) const VECTORS: &[Format] = &[
    Format::Table,
    Format::Json,
    Format::Jsonl,
    Format::Csv,
    Format::Npy,
    Format::Safetensors,
    Format::Parquet,
    Format::Arrow,
];

/// The formats of a command with a single result.
pub(crate) const REPORT: &[Format] = &[Format::Table, Format::Json, Format::Jsonl];

/// The formats of files that can be continued, because the last row is at the end.
pub(super) const RESUMABLE: &[Format] = &[Format::Jsonl, Format::Csv, Format::Npy];

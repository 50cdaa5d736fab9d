//! The formats by name and ending, and which command has which.

use std::path::Path;

use clap::ValueEnum;

/// How the answers are written.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One array of rows
    Json,
    /// One JSON object a line
    Jsonl,
    /// Comma-separated values, lists as JSON in one cell
    Csv,
    /// A NumPy array of vectors: `embed` with --output
    Npy,
    /// Named tensors: `embed` and `forward` with --output
    Safetensors,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

impl Format {
    /// The format's name on the command line.
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

    /// The format of a file by its ending.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_string_lossy().to_lowercase();
        match ending.as_str() {
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

/// The formats of a command with one answer in all.
pub(crate) const REPORT: &[Format] = &[Format::Table, Format::Json, Format::Jsonl];

/// The formats in which a file can be continued: what is written last stands at the end.
pub(super) const RESUMABLE: &[Format] = &[Format::Jsonl, Format::Csv, Format::Npy];

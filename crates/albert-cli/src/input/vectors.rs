//! Opens files of vectors.

use std::path::Path;

use albert_data::{VectorFormat, Vectors};

use crate::failure::{Hint, usage};
use crate::output;

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

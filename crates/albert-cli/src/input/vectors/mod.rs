//! Embeddings that `embed` saved, row by row, in each of its formats.

mod matrix;
mod rows;
#[cfg(feature = "parquet")]
mod table;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;

use crate::failure::{Hint, usage};
use crate::output::Format;

/// One row: the embedding, and the text where the file has it. `None` is a row that `embed` wrote
/// for a bad line.
pub(crate) type VectorRow = Option<(Vec<f32>, Option<String>)>;

/// The rows of a file of embeddings.
pub(crate) struct Vectors {
    rows: Box<dyn Iterator<Item = anyhow::Result<VectorRow>>>,
}

impl Vectors {
    /// Opens a file by its ending.
    ///
    /// # Errors
    /// If the ending is none that `embed` writes, the file cannot be opened, or it is not what its
    /// ending says.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        let format = match Format::of(path) {
            Some(format) if format != Format::Table => format,
            _ => {
                let expected = "npy, safetensors, json, jsonl, csv, parquet or arrow";
                return Err(usage(format!(
                    "`{name}`: expected a file of embeddings that ends in {expected}"
                ))
                .hint("`albert-cli embed --input FILE --output corpus.npy` makes one"));
            }
        };
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Err(crate::failure::without_tables(format.name()));
        }
        let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
        let length = file
            .metadata()
            .with_context(|| format!("cannot open `{name}`"))?
            .len();
        let name: Arc<str> = format!("`{name}`").into();
        #[cfg(feature = "parquet")]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Ok(Self {
                rows: Box::new(table::rows(file, format, name)?),
            });
        }
        let reader = BufReader::with_capacity(1 << 16, file);
        let rows: Box<dyn Iterator<Item = _>> = match format {
            Format::Npy => Box::new(matrix::Matrix::npy(reader, length, name)?),
            Format::Safetensors => Box::new(matrix::Matrix::safetensors(reader, length, name)?),
            Format::Csv => Box::new(rows::csv(reader, name)?),
            Format::Json => Box::new(rows::json(reader, name)),
            _ => Box::new(rows::jsonl(reader, name)),
        };
        Ok(Self { rows })
    }
}

impl Iterator for Vectors {
    type Item = anyhow::Result<VectorRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

//! Embeddings that `embed` saved, row by row, in each of its formats.

mod matrix;
mod rows;
#[cfg(feature = "parquet")]
mod table;

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use self::matrix::Matrix;
use crate::Source;
use crate::error::Context;
#[cfg(not(feature = "parquet"))]
use crate::error::bail;

/// One row: the embedding, and the text where the file has it. `None` is a row that `embed` wrote
/// for a bad line.
pub type VectorRow = Option<(Vec<f32>, Option<String>)>;

/// The name of the tensor in a safetensors file of embeddings.
pub const EMBEDDINGS: &str = "embeddings";

/// The format of a file of embeddings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum VectorFormat {
    /// A NumPy array.
    Npy,
    /// A safetensors file.
    Safetensors,
    /// One array of JSON objects.
    Json,
    /// One JSON object per line.
    Jsonl,
    /// Comma-separated values, a vector as JSON in one cell.
    Csv,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC file or stream.
    Arrow,
}

/// The rows of a file of embeddings.
pub struct Vectors {
    rows: Box<dyn Iterator<Item = crate::Result<VectorRow>>>,
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vectors").finish_non_exhaustive()
    }
}

impl Vectors {
    /// Opens a file of a format.
    ///
    /// # Errors
    /// If the file cannot be opened, or is not of that format.
    pub fn open(path: &Path, format: VectorFormat) -> crate::Result<Self> {
        let name = path.display();
        #[cfg(not(feature = "parquet"))]
        if matches!(format, VectorFormat::Parquet | VectorFormat::Arrow) {
            bail!("tables: albert-data was built without the feature `parquet`");
        }
        if let VectorFormat::Npy | VectorFormat::Safetensors = format {
            let file = File::open(path).with_context(|| format!("cannot open `{name}`"))?;
            let length = file
                .metadata()
                .with_context(|| format!("cannot open `{name}`"))?
                .len();
            let reader = BufReader::with_capacity(1 << 16, file);
            let name = format!("`{name}`").into();
            let matrix = match format {
                VectorFormat::Npy => Matrix::npy(reader, length, name)?,
                _ => Matrix::safetensors(reader, length, name)?,
            };
            let rows = Box::new(matrix);
            return Ok(Self { rows });
        }
        let opened = Source::from_file(path)?.open(Arc::default())?;
        let name = Arc::clone(&opened.name);
        let rows: Box<dyn Iterator<Item = _>> = match format {
            #[cfg(feature = "parquet")]
            VectorFormat::Parquet | VectorFormat::Arrow => Box::new(table::rows(opened, format)?),
            VectorFormat::Csv => Box::new(rows::csv(opened.into_text()?, name)?),
            VectorFormat::Json => Box::new(rows::json(opened.into_text()?, name)),
            _ => Box::new(rows::jsonl(opened.into_text()?, name)),
        };
        Ok(Self { rows })
    }
}

impl Iterator for Vectors {
    type Item = crate::Result<VectorRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.rows.next()
    }
}

//! Parquet files.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Context, ErrorKind, error};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::ParquetMetaData;
use parquet::schema::types::SchemaDescriptor;

use super::{BATCH_ROWS, Batches, contained, until_error};
use crate::Field;
use crate::content::Content;
use crate::record::Selection;
use crate::source::Opened;

/// The columns of a file that are decoded.
#[derive(Debug, Clone)]
pub(crate) enum Projection {
    All,
    Fields(Vec<Field>),
}

impl Projection {
    pub(crate) fn from_selection(selection: &Selection) -> Self {
        if selection.rest {
            Self::All
        } else {
            let fields = selection.fields.iter().map(|wanted| wanted.field.clone());
            Self::Fields(fields.collect())
        }
    }

    /// Returns the leaves of a schema that belong to the columns.
    fn leaves(&self, schema: &SchemaDescriptor) -> Vec<usize> {
        let columns = schema.columns().iter().enumerate();
        let is_wanted = |path: &[String]| match self {
            Self::All => true,
            Self::Fields(fields) => fields
                .iter()
                .any(|field| path[0] == field.name() || path.starts_with(field.path())),
        };
        columns
            .filter(|(_, column)| is_wanted(column.path().parts()))
            .map(|(leaf, _)| leaf)
            .collect()
    }
}

impl Batches {
    /// Reads the given columns of a Parquet file, if it has them. `bytes_read` grows with the rows
    /// read, up to the length of the file.
    ///
    /// # Errors
    /// If it is not a Parquet file, or is damaged.
    pub(crate) fn parquet(
        opened: Opened,
        projection: &Projection,
        bytes_read: Arc<AtomicU64>,
    ) -> crate::Result<Self> {
        let name = Arc::clone(&opened.name);
        if opened.is_empty() {
            return Ok(Self::empty(name));
        }
        if let Content::Foreign { name: found, hint } = opened.content {
            let error = error!("{name}: expected a Parquet file, found {found}");
            return Err(error.with_kind(ErrorKind::Foreign(hint)));
        }
        let file = opened.into_file()?;
        let length = file
            .metadata()
            .with_context(|| format!("cannot read {name}"))?
            .len();
        let expected = || format!("{name}: expected a Parquet file");
        let reader =
            contained(|| ParquetRecordBatchReaderBuilder::try_new(file)).with_context(expected)?;
        let rows = reader.metadata().file_metadata().num_rows().max(1) as u64;
        let schema = Arc::clone(reader.schema());
        let leaves = projection.leaves(reader.parquet_schema());
        expect_compression(reader.metadata(), &leaves).with_context(|| name.to_string())?;
        let wanted = ProjectionMask::leaves(reader.parquet_schema(), leaves);
        let reader = reader.with_projection(wanted).with_batch_size(BATCH_ROWS);
        let mut batches = contained(|| reader.build()).with_context(expected)?;
        let mut rows_read = 0;
        let source = Arc::clone(&name);
        let batches = std::iter::from_fn(move || {
            let batch = contained(|| batches.next().transpose());
            let batch = batch.with_context(|| format!("cannot read {source}"));
            if let Ok(Some(batch)) = &batch {
                rows_read += batch.num_rows() as u64;
                let share = u128::from(length) * u128::from(rows_read.min(rows)) / u128::from(rows);
                bytes_read.store(share as u64, Ordering::Relaxed);
            }
            batch.transpose()
        });
        Ok(Self {
            schema: Some(schema),
            batches: Box::new(until_error(batches)),
            name,
        })
    }
}

/// Checks that the compression of the columns is supported.
fn expect_compression(metadata: &ParquetMetaData, leaves: &[usize]) -> crate::Result<()> {
    for group in metadata.row_groups() {
        for column in leaves.iter().filter_map(|&leaf| group.columns().get(leaf)) {
            let found = match column.compression() {
                Compression::BROTLI(_) => "Brotli",
                Compression::LZO => "LZO",
                _ => continue,
            };
            return Err(error!(
                "column `{}`: expected a column compressed with snappy, gzip, zstd or lz4, found {found}",
                column.column_path().string()
            )
            .with_kind(ErrorKind::Advised("write it again with `compression=\"zstd\"`")));
        }
    }
    Ok(())
}

//! `parquet` and `arrow`: tables of typed columns, written a batch of rows at a time.
//!
//! `arrow` is the IPC stream format, which can be read while it is being written. The index of a
//! Parquet file is at its end, so a truncated file cannot be read.

use std::sync::Arc;

use albert_data::RowBatches;
use arrow_array::RecordBatch;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde_arrow::ArrayBuilder;

use super::kept_columns::KeptColumns;
use super::salvage::Salvage;
use super::{BadRow, Format, Kept, Layout, Row, RowWriter, Sink};

/// The maximum number of rows in a batch; the end of a chunk of the input also ends a batch.
const BATCH_ROWS: usize = 1024;

/// The end mark of an Arrow IPC stream: a message without metadata.
const STREAM_END: &[u8] = &[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// A Parquet row group is held in memory until it is full.
const ROW_GROUP_BYTES: usize = 16 << 20;

/// A table.
pub(super) struct Batches {
    sink: Sink,
    builder: ArrayBuilder,
    /// The fields of the rows, under the output's names.
    fields: Vec<FieldRef>,
    kept: KeptColumns,
    /// Rows in the builder.
    pending: usize,
    /// The batches of the input, if the rows have these.
    as_input: Option<AsInput>,
    format: Format,
    /// Created with the first batch, which determines the types of the kept columns.
    encoder: Option<Encoder>,
}

/// Rows in the record batches of the input.
struct AsInput {
    batches: RowBatches,
    /// The rows of the batch that the rows in the builder are of.
    size: Option<usize>,
    /// Empty batches before it that are not written yet: the first rows settle the schema.
    empty: usize,
}

impl AsInput {
    /// Takes the sizes of the next batches up to one with rows, if none is begun.
    fn advance(&mut self) {
        while self.size.is_none() {
            match self.batches.take() {
                Some(0) => self.empty += 1,
                Some(rows) => self.size = Some(rows),
                None => return,
            }
        }
    }
}

/// Returns properties without dictionaries and statistics, which only take time and space, because
/// texts and vectors hardly ever repeat.
fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .build()
}

/// Encodes batches into a buffer in memory.
enum Encoder {
    Arrow(StreamWriter<Vec<u8>>),
    Parquet(ArrowWriter<Vec<u8>>),
}

impl Batches {
    /// Starts a Parquet file or an Arrow IPC stream of these columns.
    pub(super) fn new(
        sink: Sink,
        format: Format,
        fields: Vec<FieldRef>,
        layout: Layout,
        row_batches: Option<RowBatches>,
    ) -> anyhow::Result<Self> {
        let builder = ArrayBuilder::from_arrow(&fields)?;
        let named = |field: FieldRef| -> FieldRef {
            let name = layout.name(field.name()).to_string();
            Arc::new(Field::clone(&field).with_name(name))
        };
        let salvage = match format {
            Format::Arrow => Salvage::Rows { end: STREAM_END },
            _ => Salvage::Never,
        };
        Ok(Self {
            sink: sink.with_salvage(salvage),
            builder,
            fields: fields.into_iter().map(named).collect(),
            kept: KeptColumns::default(),
            pending: 0,
            as_input: row_batches.map(|batches| AsInput {
                batches,
                size: None,
                empty: 0,
            }),
            format,
            encoder: None,
        })
    }

    fn push(&mut self, row: impl serde::Serialize, kept: &Kept) -> anyhow::Result<()> {
        self.kept.push(kept)?;
        self.builder.push(row)?;
        self.pending += 1;
        let size = match &mut self.as_input {
            None => Some(BATCH_ROWS),
            Some(as_input) => {
                as_input.advance();
                as_input.size
            }
        };
        if Some(self.pending) == size {
            self.write_batch()
        } else {
            Ok(())
        }
    }

    /// Encodes the collected rows and writes the bytes.
    fn write_batch(&mut self) -> anyhow::Result<()> {
        let has_empty = self.as_input.as_ref().is_some_and(|it| it.empty > 0);
        let count = std::mem::take(&mut self.pending);
        if count > 0 || has_empty || self.encoder.is_none() {
            let rows = self.builder.to_record_batch()?;
            let (kept_fields, kept_columns): (Vec<_>, Vec<_>) =
                self.kept.take()?.into_iter().unzip();
            let fields: Vec<_> = self.fields.iter().cloned().chain(kept_fields).collect();
            let columns = rows.columns().iter().cloned().chain(kept_columns).collect();
            let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?;
            let encoder = match &mut self.encoder {
                Some(encoder) => encoder,
                None => self
                    .encoder
                    .insert(Encoder::new(self.format, batch.schema())?),
            };
            if let Some(as_input) = &mut self.as_input {
                as_input.size = None;
                let empty = RecordBatch::new_empty(batch.schema());
                for _ in 0..std::mem::take(&mut as_input.empty) {
                    encoder.encode(&empty)?;
                }
            }
            if batch.num_rows() > 0 {
                encoder.encode(&batch)?;
            }
        }
        self.write_encoded()?;
        self.sink.end_rows(count);
        Ok(())
    }

    fn write_encoded(&mut self) -> anyhow::Result<()> {
        match &mut self.encoder {
            Some(encoder) => self.sink.write(&encoder.take()),
            None => Ok(()),
        }
    }
}

impl Encoder {
    fn new(format: Format, schema: SchemaRef) -> anyhow::Result<Self> {
        Ok(match format {
            Format::Parquet => Self::Parquet(ArrowWriter::try_new(
                Vec::new(),
                schema,
                Some(properties()),
            )?),
            _ => Self::Arrow(StreamWriter::try_new(Vec::new(), &schema)?),
        })
    }

    fn encode(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        match self {
            Self::Arrow(writer) => writer.write(batch)?,
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Returns the bytes encoded since the last call.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Arrow(writer) => writer.get_mut(),
            Self::Parquet(writer) => writer.inner_mut(),
        })
    }

    /// Completes the table.
    fn finish(&mut self) -> anyhow::Result<()> {
        match self {
            Self::Arrow(writer) => writer.finish()?,
            Self::Parquet(writer) => drop(writer.finish()?),
        }
        Ok(())
    }
}

impl<R: Row> RowWriter<R> for Batches {
    fn row(&mut self, row: &R, kept: &Kept) -> anyhow::Result<()> {
        self.push(row, kept)
    }

    fn bad(&mut self, bad: &BadRow) -> anyhow::Result<()> {
        self.push(bad, &Kept::new())
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        if self.as_input.is_none() {
            self.write_batch()?;
        }
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.write_batch()?;
        if let Some(as_input) = &mut self.as_input {
            // Empty batches at the end of the input.
            as_input.advance();
            self.write_batch()?;
        }
        if let Some(encoder) = &mut self.encoder {
            encoder.finish()?;
        }
        self.write_encoded()?;
        self.sink.finish()
    }
}

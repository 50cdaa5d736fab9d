//! Reads texts, labeled rows and saved vectors from lines, JSON, CSV, TSV, Parquet, Arrow and other
//! formats, compressed or not, one record at a time and in constant memory.
//!
//! [`RecordReader`] reads named fields of any format as typed [`Cell`]s, and [`Reader`] reads texts
//! and pairs of texts for a model. Both are iterators. An error of the iterator itself ends the
//! reading, such as a failed disk; the error of a single record marks a bad record, which the
//! caller may skip.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use albert_data::{Field, Format, Kind, RecordReader, Selection, Source};
//!
//! # fn main() -> albert_data::Result<()> {
//! let source = Source::from_file(Path::new("train.csv.gz"))?;
//! let selection = Selection::new(Field::parse_list("sentence,label")?, Kind::Text);
//! for record in RecordReader::open(source, Format::Csv, selection)? {
//!     let record = record?;
//!     let values = record.values.map_err(|error| record.place.locate(error))?;
//!     println!("{:?}", values.cells);
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(feature = "parquet")]
mod batches;
mod cell;
#[cfg(feature = "parquet")]
mod cells;
mod compression;
mod conll;
mod content;
mod delimited;
mod error;
mod feed;
mod field;
mod format;
mod json_lines;
mod json_text;
mod lines;
#[cfg(feature = "parquet")]
mod moments;
mod names;
mod notes;
mod place;
mod reader;
mod record;
mod record_reader;
mod row_batches;
mod shards;
mod source;
mod squad;
#[cfg(feature = "parquet")]
mod table;
mod text;
mod vectors;

pub use cell::Cell;
pub use compression::decompress;
pub use error::{Error, Result};
pub use feed::{ChunkLimits, Feed};
pub use field::Field;
pub use format::Format;
pub use notes::Notes;
pub use place::Place;
pub use reader::Reader;
pub use record::{Kind, NamedCells, Presence, Record, Records, Selection, Values, Wanted};
pub use record_reader::RecordReader;
pub use row_batches::RowBatches;
pub use shards::Shards;
pub use source::Source;
pub use text::{Fields, Line, Pairs, Text};
pub use vectors::{EMBEDDINGS, VectorFormat, VectorRow, Vectors};

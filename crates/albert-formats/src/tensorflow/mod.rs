//! The index of a TensorFlow checkpoint: the place, type and shape of each tensor in its data files.
//!
//! An index is a sorted table from names to messages: for the empty name a `BundleHeaderProto`,
//! for every other a `BundleEntryProto`.
//!
//! Source: TensorFlow 2.16, `tensorflow/core/protobuf/tensor_bundle.proto`,
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

mod table;

use crate::crc32c::unmask;
use crate::shown;
use crate::wire::Fields;

/// More axes than any tensor of a model has.
const MOST_AXES: usize = 8;
/// More files than any checkpoint was split into.
const MOST_SHARDS: u64 = 9_999;

/// A result whose error is [`IndexError`].
type Result<T> = std::result::Result<T, IndexError>;

/// The reason why an index cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The bytes break the format: the fault and its place.
    #[error("not a complete TensorFlow checkpoint index: {0}")]
    Malformed(String),
    /// The index is valid, but has something that is not supported.
    #[error("the index {0}")]
    Refused(String),
}

impl IndexError {
    fn malformed(why: impl Into<String>) -> Self {
        Self::Malformed(why.into())
    }

    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// The entries of an index.
///
/// ```
/// use albert_formats::tensorflow::Index;
///
/// let error = Index::read(b"not an index").unwrap_err();
/// assert!(error.to_string().contains("expected at least 48 bytes, found 12"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Index {
    /// The number of data files.
    pub shards: u64,
    /// The tensors by name, in the order of the index.
    pub entries: Vec<(String, IndexEntry)>,
}

/// The place, type and shape of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IndexEntry {
    /// The number of its type, a `DataType` of `tensorflow/core/framework/types.proto`.
    pub data_type: u64,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The data file that holds it.
    pub shard: u64,
    /// Its first byte in that file.
    pub offset: usize,
    /// Its bytes.
    pub size: usize,
    /// The CRC-32C of its bytes.
    pub checksum: u32,
}

impl Index {
    /// Reads the bytes of an index file. The data files are not read.
    ///
    /// # Errors
    /// If they are not an index, a checksum is wrong, or tensors are compressed, divided into slices or
    /// stored with the big end first.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let mut index = Self {
            shards: 0,
            entries: Vec::new(),
        };
        let mut is_first = true;
        table::for_each(bytes, &mut |key, value| {
            if std::mem::take(&mut is_first) {
                if !key.is_empty() {
                    return Err(IndexError::malformed(
                        "expected its header under the empty name",
                    ));
                }
                index.shards = shards(value)?;
                return Ok(());
            }
            let Ok(name) = std::str::from_utf8(key) else {
                return Err(IndexError::malformed("expected names in UTF-8"));
            };
            let entry = IndexEntry::read(name, value)?;
            index.entries.push((name.into(), entry));
            Ok(())
        })?;
        if is_first {
            return Err(IndexError::malformed("expected a header, found no entry"));
        }
        Ok(index)
    }
}

/// Reads the number of data files from the header.
fn shards(message: &[u8]) -> Result<u64> {
    let malformed = || IndexError::malformed("expected a bundle header");
    let mut shards = 0;
    for field in Fields::new(message) {
        let (number, value) = field.map_err(|_| malformed())?;
        match (number, value.number()) {
            (1, Some(count)) => shards = count,
            (2, Some(0)) => {}
            (2, _) => {
                return Err(IndexError::refused(
                    "stores values as big-endian: expected little-endian",
                ));
            }
            _ => {}
        }
    }
    if shards == 0 || shards > MOST_SHARDS {
        return Err(IndexError::malformed(format!(
            "expected 1 to {MOST_SHARDS} data files, found {shards}"
        )));
    }
    Ok(shards)
}

impl IndexEntry {
    fn read(name: &str, message: &[u8]) -> Result<Self> {
        let malformed = || {
            IndexError::malformed(format!(
                "expected the entry of a tensor for `{}`",
                shown(name)
            ))
        };
        let mut entry = Self {
            data_type: 0,
            shape: Vec::new(),
            shard: 0,
            offset: 0,
            size: 0,
            checksum: 0,
        };
        for field in Fields::new(message) {
            let (number, value) = field.map_err(|_| malformed())?;
            let size = || {
                value
                    .number()
                    .and_then(|size| usize::try_from(size).ok())
                    .ok_or_else(malformed)
            };
            match number {
                1 => entry.data_type = value.number().ok_or_else(malformed)?,
                2 => {
                    entry.shape =
                        shape(value.bytes().ok_or_else(malformed)?).ok_or_else(malformed)?
                }
                3 => entry.shard = value.number().ok_or_else(malformed)?,
                4 => entry.offset = size()?,
                5 => entry.size = size()?,
                6 => entry.checksum = unmask(value.fixed32().ok_or_else(malformed)?),
                7 => {
                    return Err(IndexError::refused(format!(
                        "stores `{}` in slices, which are not supported",
                        shown(name)
                    )));
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// Reads a `TensorShapeProto`: one field per dimension, each with its size.
fn shape(message: &[u8]) -> Option<Vec<usize>> {
    let mut shape = Vec::new();
    for field in Fields::new(message) {
        let (number, value) = field.ok()?;
        if number != 2 {
            continue;
        }
        let mut size = 0;
        for field in Fields::new(value.bytes()?) {
            if let (1, value) = field.ok()? {
                size = usize::try_from(value.number()?).ok()?;
            }
        }
        shape.push(size);
        if shape.len() > MOST_AXES {
            return None;
        }
    }
    Some(shape)
}

//! Reads TensorFlow checkpoints, in which Google published ALBERT: `model.ckpt-best.index` gives
//! the position of each tensor in `model.ckpt-best.data-00000-of-00001`.
//!
//! The index is a sorted table from names to messages: a `BundleHeaderProto` for the empty name,
//! and a `BundleEntryProto` for every other name.
//!
//! Source: TensorFlow 2.16, `tensorflow/core/protobuf/tensor_bundle.proto`,
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

mod names;
mod table;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use albert_formats::wire::Fields;
use safetensors::Dtype;

use crate::checkpoint::crc32c::unmask;
use crate::checkpoint::stored::{StoredTensor, WeightFile, element_len};
use crate::error::{Result, shown};
pub(super) use names::{canonical, is_slot};

/// The format's name in errors.
const FORMAT: &str = "TensorFlow checkpoint index";
/// The maximum number of axes, more than any tensor of a model has.
const MOST_AXES: usize = 8;
/// The maximum number of data files, more than any checkpoint has.
const MOST_SHARDS: u64 = 9_999;

/// A bundle's tensors, with kernels transposed to PyTorch's `(out, in)`.
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, StoredTensor)>,
    /// Tensors of strings and other unsupported types.
    pub(super) skipped: Vec<String>,
    /// The sum of the sizes of the data files.
    pub(super) data_len: usize,
}

/// The position, type and shape of a tensor.
#[derive(Debug)]
struct Entry {
    /// `None` for an unsupported type.
    dtype: Option<Dtype>,
    shape: Vec<usize>,
    shard: u64,
    offset: usize,
    size: usize,
    checksum: u32,
}

/// The entries of an index.
#[derive(Debug)]
pub(super) struct Index {
    shards: u64,
    entries: Vec<(String, Entry)>,
}

impl Index {
    /// Reads only the index file.
    pub(super) fn read(file: &WeightFile) -> Result<Self> {
        let mut index = Self {
            shards: 0,
            entries: Vec::new(),
        };
        let mut is_first = true;
        table::for_each(file, &mut |key, value| {
            if std::mem::take(&mut is_first) {
                if !key.is_empty() {
                    return Err(file.malformed(FORMAT, "expected its header under the empty name"));
                }
                index.shards = shards(file, value)?;
                return Ok(());
            }
            let Ok(name) = std::str::from_utf8(key) else {
                return Err(file.malformed(FORMAT, "expected names in UTF-8"));
            };
            let entry = Entry::read(file, name, value)?;
            index.entries.push((name.into(), entry));
            Ok(())
        })?;
        if is_first {
            return Err(file.malformed(FORMAT, "expected a header, found no entry"));
        }
        Ok(index)
    }
}

/// Reads the tensors of the bundle with this index.
pub(super) fn read(path: &Path) -> Result<Contents> {
    let file = WeightFile::map(path)?;
    let index = Index::read(&file)?;
    let mut contents = Contents {
        tensors: Vec::new(),
        skipped: Vec::new(),
        data_len: 0,
    };
    let mut shards: BTreeMap<u64, Arc<WeightFile>> = BTreeMap::new();
    for (name, entry) in index.entries {
        let Some(dtype) = entry.dtype else {
            contents.skipped.push(name);
            continue;
        };
        let shard = match shards.get(&entry.shard) {
            Some(shard) => Arc::clone(shard),
            None => {
                let data = format!("data-{:05}-of-{:05}", entry.shard, index.shards);
                let shard = Arc::new(WeightFile::map(&path.with_extension(data))?);
                contents.data_len = contents.data_len.saturating_add(shard.bytes.len());
                shards.insert(entry.shard, Arc::clone(&shard));
                shard
            }
        };
        let Entry {
            shape,
            offset,
            size,
            checksum,
            ..
        } = entry;
        let range = offset..offset.saturating_add(size);
        let Some(tensor) = StoredTensor::dense(&shard, dtype, shape.clone(), range) else {
            return Err(shard.malformed(
                "TensorFlow data file",
                format!(
                    "expected `{}` of shape {shape:?}, {} bytes an element, in {size} bytes from {offset} on, \
                     found a file of {}",
                    shown(&name),
                    element_len(dtype),
                    shard.bytes.len()
                ),
            ));
        };
        let tensor = tensor.with_checksum(checksum);
        let is_kernel = name.rsplit('/').next() == Some("kernel");
        contents.tensors.push((
            name,
            if is_kernel {
                tensor.transposed()
            } else {
                tensor
            },
        ));
    }
    Ok(contents)
}

/// Returns the number of data files from the header.
fn shards(file: &WeightFile, message: &[u8]) -> Result<u64> {
    let malformed = || file.malformed(FORMAT, "expected a bundle header");
    let mut shards = 0;
    for field in Fields::new(message) {
        let (number, value) = field.map_err(|_| malformed())?;
        match (number, value.number()) {
            (1, Some(count)) => shards = count,
            (2, Some(0)) => {}
            (2, _) => {
                return Err(file.refused("stores values as big-endian: expected little-endian"));
            }
            _ => {}
        }
    }
    if shards == 0 || shards > MOST_SHARDS {
        return Err(file.malformed(
            FORMAT,
            format!("expected 1 to {MOST_SHARDS} data files, found {shards}"),
        ));
    }
    Ok(shards)
}

impl Entry {
    fn read(file: &WeightFile, name: &str, message: &[u8]) -> Result<Self> {
        let malformed = || {
            file.malformed(
                FORMAT,
                format!("expected the entry of a tensor for `{}`", shown(name)),
            )
        };
        let mut entry = Self {
            dtype: None,
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
                1 => entry.dtype = dtype(value.number().ok_or_else(malformed)?),
                2 => {
                    entry.shape =
                        shape(value.bytes().ok_or_else(malformed)?).ok_or_else(malformed)?
                }
                3 => entry.shard = value.number().ok_or_else(malformed)?,
                4 => entry.offset = size()?,
                5 => entry.size = size()?,
                6 => entry.checksum = unmask(value.fixed32().ok_or_else(malformed)?),
                7 => {
                    return Err(file.refused(format!(
                        "has `{}` in slices, which are not supported",
                        shown(name)
                    )));
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// Parses a `DataType` of `tensorflow/core/framework/types.proto`.
fn dtype(number: u64) -> Option<Dtype> {
    Some(match number {
        1 => Dtype::F32,
        2 => Dtype::F64,
        3 => Dtype::I32,
        4 => Dtype::U8,
        5 => Dtype::I16,
        6 => Dtype::I8,
        9 => Dtype::I64,
        10 => Dtype::BOOL,
        14 => Dtype::BF16,
        19 => Dtype::F16,
        _ => return None,
    })
}

/// Parses a `TensorShapeProto`: one field per dimension, with its size.
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

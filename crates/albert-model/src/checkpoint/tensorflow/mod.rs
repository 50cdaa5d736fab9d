//! Reads TensorFlow checkpoints, in which Google published ALBERT: `model.ckpt-best.index` gives
//! the position of each tensor in `model.ckpt-best.data-00000-of-00001`.
//!
//! The index is a sorted table from names to messages: a `BundleHeaderProto` for the empty name,
//! and a `BundleEntryProto` for every other name.
//!
//! Source: TensorFlow 2.16, `tensorflow/core/protobuf/tensor_bundle.proto`,
//! `tensorflow/core/util/tensor_bundle/tensor_bundle.cc`.

mod names;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use albert_formats::tensorflow::{Index, IndexEntry, IndexError};
use safetensors::Dtype;

use crate::checkpoint::stored::{StoredTensor, element_len};
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Error, Result, shown};
pub(super) use names::{canonical, is_slot};

/// A bundle's tensors, with kernels transposed to PyTorch's `(out, in)`.
pub(super) struct Contents {
    pub(super) tensors: Vec<(String, StoredTensor)>,
    /// Tensors of strings and other unsupported types.
    pub(super) skipped: Vec<String>,
    /// The sum of the sizes of the data files.
    pub(super) data_len: usize,
}

/// Reads the tensors of the bundle with this index.
pub(super) fn read(path: &Path) -> Result<Contents> {
    let file = WeightFile::map(path)?;
    let index = Index::read(&file.bytes).map_err(|error| index_error(&file, error))?;
    let mut contents = Contents {
        tensors: Vec::new(),
        skipped: Vec::new(),
        data_len: 0,
    };
    let mut shards: BTreeMap<u64, Arc<WeightFile>> = BTreeMap::new();
    for (name, entry) in index.entries {
        let Some(dtype) = dtype(entry.data_type) else {
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
        let IndexEntry {
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
                    "expected `{}` of shape {shape:?} with {} bytes per element in the {size} \
                     bytes from {offset} on, found a file of {} bytes",
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

/// Names the file in an error of its index.
fn index_error(file: &WeightFile, error: IndexError) -> Error {
    match error {
        IndexError::Refused(why) => file.refused(why),
        IndexError::Malformed(why) => file.malformed("TensorFlow checkpoint index", why),
        other => file.malformed("TensorFlow checkpoint index", other.to_string()),
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

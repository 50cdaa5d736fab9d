//! Safetensors files.
//!
//! Source: safetensors 0.8 (`SafeTensors::read_metadata`, which checks that the header's offsets
//! cover the file exactly).

use std::sync::Arc;

use safetensors::SafeTensors;

use crate::checkpoint::stored::{StoredTensor, WeightFile};
use crate::error::{Error, Result};

/// The tensors of one file, by name.
pub(super) fn read(file: &Arc<WeightFile>) -> Result<Vec<(String, StoredTensor)>> {
    let broken = |source| Error::Safetensors {
        path: file.path.clone(),
        source,
    };
    let (header_len, metadata) = SafeTensors::read_metadata(&file.bytes).map_err(broken)?;
    let data_start = size_of::<u64>() + header_len;
    let stored = metadata.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let range = data_start + start..data_start + end;
        match StoredTensor::dense(file, info.dtype, info.shape.clone(), range) {
            Some(tensor) => Ok((name, tensor)),
            None => Err(file.refused(format!(
                "stores `{name}` as {:?}, in parts of a byte",
                info.dtype
            ))),
        }
    });
    stored.collect()
}

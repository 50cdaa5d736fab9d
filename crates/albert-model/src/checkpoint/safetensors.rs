//! Reads safetensors files.
//!
//! Source: safetensors 0.8 (`SafeTensors::read_metadata`, which checks that the header's offsets
//! cover the file exactly).

use std::sync::Arc;

use safetensors::SafeTensors;

use crate::checkpoint::stored::StoredTensor;
use crate::checkpoint::weight_file::WeightFile;
use crate::error::{Error, Result};

/// Returns true if the bytes start with the length of a header and the header.
pub(super) fn is_safetensors(bytes: &[u8]) -> bool {
    let Some((len, header)) = bytes.split_first_chunk::<8>() else {
        return false;
    };
    header.first() == Some(&b'{') && u64::from_le_bytes(*len) <= header.len() as u64
}

/// Reads the tensors of one file, by name.
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
        let tensor = StoredTensor::dense(file, info.dtype, info.shape.clone(), range);
        let unread = || {
            let what = format!("{:?}, in parts of a byte", info.dtype);
            StoredTensor::unread(file, info.shape.clone(), what)
        };
        (name, tensor.unwrap_or_else(unread))
    });
    Ok(stored.collect())
}

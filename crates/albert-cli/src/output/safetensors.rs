//! `safetensors`: one tensor, `embeddings`, of shape (rows, dim).
//!
//! Format: <https://github.com/huggingface/safetensors>, "Format": the length of the header in
//! eight bytes, the header as JSON padded with spaces, the values.

use albert_data::EMBEDDINGS;
use anyhow::{Context, ensure};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::column::{Element, VectorType};

/// The size of length and JSON together: a multiple of eight, as the format requires, with room for
/// four numbers of 20 digits.
const HEADER_BYTES: usize = 256;

/// Returns the header of a file with a number of vectors.
pub(super) fn header(rows: usize, vectors: VectorType) -> anyhow::Result<Vec<u8>> {
    let bytes = rows
        .checked_mul(vectors.bytes())
        .context("more values than a file can hold")?;
    let info = TensorInfo {
        dtype: dtype(vectors.element),
        shape: vec![rows, vectors.dim],
        data_offsets: (0, bytes),
    };
    let json = serde_json::to_vec(&Metadata::new(None, vec![(EMBEDDINGS.to_string(), info)])?)?;
    let mut header = ((HEADER_BYTES - 8) as u64).to_le_bytes().to_vec();
    header.extend(json);
    ensure!(
        header.len() <= HEADER_BYTES,
        "expected a header of at most {HEADER_BYTES} bytes, found {}",
        header.len()
    );
    header.resize(HEADER_BYTES, b' ');
    Ok(header)
}

fn dtype(element: Element) -> Dtype {
    match element {
        Element::F32 => Dtype::F32,
        Element::I8 => Dtype::I8,
        Element::U8 => Dtype::U8,
    }
}

#[cfg(test)]
mod tests {
    use safetensors::SafeTensors;

    use super::*;

    #[test]
    fn the_header_has_one_length_for_any_shape() {
        for (rows, dim) in [(0, 1), (3, 768), (usize::MAX / 64, 1), (1, usize::MAX / 64)] {
            assert_eq!(
                header(rows, VectorType::f32(dim)).unwrap().len(),
                HEADER_BYTES
            );
        }
        assert!(header(usize::MAX, VectorType::f32(2)).is_err());
    }

    #[test]
    fn a_file_is_read_by_the_format_s_own_reader_and_refused_without_its_end() {
        let mut file = header(2, VectorType::f32(3)).unwrap();
        file.extend([0; 24]);
        let tensors = SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.tensor(EMBEDDINGS).unwrap().shape(), [2, 3]);
        assert!(SafeTensors::deserialize(&file[..file.len() - 1]).is_err());
        // As an interrupted run leaves it.
        file[..HEADER_BYTES].copy_from_slice(&header(0, VectorType::f32(3)).unwrap());
        assert!(SafeTensors::deserialize(&file).is_err());
    }
}

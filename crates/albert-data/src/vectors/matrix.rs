//! Vectors without texts: NumPy arrays and safetensors.

use std::io::{self, Read};
use std::sync::Arc;

use crate::error::{Context, ErrorKind, bail, error};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::{EMBEDDINGS, VectorRow};

/// Vectors of f32, one after the other.
pub(super) struct Matrix<R> {
    reader: R,
    name: Arc<str>,
    left: usize,
    dim: usize,
}

impl<R: Read> Matrix<R> {
    /// Opens a NumPy array of shape (rows, dim), in a file of `length` bytes.
    ///
    /// # Errors
    /// If it is none, holds other numbers, or is not complete.
    pub(super) fn npy(mut reader: R, length: u64, name: Arc<str>) -> crate::Result<Self> {
        let mut start = [0; 10];
        let not_npy = || error!("{name}: expected a NumPy array");
        reader.read_exact(&mut start).map_err(|_| not_npy())?;
        if !start.starts_with(b"\x93NUMPY") {
            return Err(not_npy());
        }
        let mut header_bytes = u64::from(u16::from_le_bytes([start[8], start[9]]));
        let mut data_from = 10 + header_bytes;
        if start[6] > 1 {
            // From version 2 on the length has four bytes.
            let mut high = [0; 2];
            reader.read_exact(&mut high).map_err(|_| not_npy())?;
            header_bytes |= u64::from(u16::from_le_bytes(high)) << 16;
            data_from = 12 + header_bytes;
        }
        let mut header = Vec::new();
        reader
            .by_ref()
            .take(header_bytes.min(length))
            .read_to_end(&mut header)
            .with_context(|| format!("cannot read {name}"))?;
        let header = String::from_utf8_lossy(&header);
        let expected = "expected an array of little-endian f32 in rows, as `embed` writes it";
        let (rows, dim) =
            shape(&header).ok_or_else(|| error!("{name}: {expected}, found {}", header.trim()))?;
        Self::new(reader, name, [rows, dim], length.saturating_sub(data_from))
    }

    /// Opens the tensor `embeddings` of shape (rows, dim), in a file of `length` bytes.
    ///
    /// # Errors
    /// If there is no such tensor, it holds other numbers, or is not complete.
    pub(super) fn safetensors(mut reader: R, length: u64, name: Arc<str>) -> crate::Result<Self> {
        let not_safetensors = || error!("{name}: expected a safetensors file");
        let mut header_bytes = [0; 8];
        reader
            .read_exact(&mut header_bytes)
            .map_err(|_| not_safetensors())?;
        let header_bytes = u64::from_le_bytes(header_bytes);
        if header_bytes > length {
            return Err(not_safetensors());
        }
        let mut header = Vec::new();
        reader
            .by_ref()
            .take(header_bytes)
            .read_to_end(&mut header)
            .with_context(|| format!("cannot read {name}"))?;
        let header: Metadata = serde_json::from_slice(&header).with_context(not_safetensors)?;
        let expected =
            format!("expected a tensor `{EMBEDDINGS}` of f32 in rows, as `embed` writes it");
        let info = header
            .info(EMBEDDINGS)
            .ok_or_else(|| error!("{name}: {expected}, found none"))?;
        let &[rows, dim] = info.shape.as_slice() else {
            bail!("{name}: {expected}, found shape {:?}", info.shape);
        };
        if info.dtype != Dtype::F32 {
            bail!("{name}: {expected}, found {:?}", info.dtype);
        }
        // The tensor of a file of several begins later.
        let (from, to) = (info.data_offsets.0 as u64, info.data_offsets.1 as u64);
        io::copy(&mut reader.by_ref().take(from), &mut io::sink())
            .with_context(|| format!("cannot read {name}"))?;
        let found = (length - header_bytes)
            .saturating_sub(8)
            .saturating_sub(from);
        let others = to.saturating_sub(from) < found && header.tensors().len() > 1;
        Self::new(
            reader,
            name,
            [rows, dim],
            if others {
                to.saturating_sub(from)
            } else {
                found
            },
        )
    }

    fn new(reader: R, name: Arc<str>, [rows, dim]: [usize; 2], found: u64) -> crate::Result<Self> {
        let bytes = rows.checked_mul(dim).and_then(|count| count.checked_mul(4));
        if bytes.is_none_or(|bytes| bytes as u64 != found) {
            let error =
                error!("{name}: expected {rows} rows of {dim} numbers, found {found} bytes");
            return Err(error.with_kind(ErrorKind::CutShort));
        }
        Ok(Self {
            reader,
            name,
            left: rows,
            dim,
        })
    }

    fn row(&mut self) -> crate::Result<VectorRow> {
        let mut bytes = vec![0; self.dim * 4];
        self.reader
            .read_exact(&mut bytes)
            .with_context(|| format!("cannot read {}", self.name))?;
        let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(Some((bytes.chunks_exact(4).map(value).collect(), None)))
    }
}

impl<R: Read> Iterator for Matrix<R> {
    type Item = crate::Result<VectorRow>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        Some(self.row())
    }
}

/// Parses the rows and columns in a header such as `{'descr': '<f4', 'fortran_order': False,
/// 'shape': (2, 3), }`.
fn shape(header: &str) -> Option<(usize, usize)> {
    let squeezed: String = header.split_whitespace().collect();
    if !squeezed.contains("'descr':'<f4'") || !squeezed.contains("'fortran_order':False") {
        return None;
    }
    let (_, rest) = squeezed.split_once("'shape':(")?;
    let (rows, dim) = rest.split_once(')')?.0.split_once(',')?;
    Some((rows.parse().ok()?, dim.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as `embed` writes it, with other rows in the header.
    fn npy(header: &str, values: &[f32]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Vec<f32>>, String> {
        let rows = Matrix::npy(bytes, bytes.len() as u64, "`a`".into())
            .map_err(|error| format!("{error:#}"))?;
        Ok(rows.map(|row| row.unwrap().unwrap().0).collect())
    }

    #[test]
    fn an_array_is_read_row_by_row() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   \n";
        let rows = read(&npy(header, &[1.0, 2.0, 3.0, 4.0, 5.0, f32::NAN])).unwrap();
        assert_eq!(rows[0], [1.0, 2.0, 3.0]);
        assert!(rows[1][2].is_nan() && rows.len() == 2);
    }

    #[test]
    fn an_array_of_another_kind_or_length_is_refused() {
        let header = |shape: &str| {
            format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n")
        };
        for (header, values) in [
            (header("(2, 3)"), 5),
            (header("(0, 3)"), 3),
            (header("(99999999999, 99999999999)"), 3),
            (header("(3,)"), 3),
            (header("(1, 3)").replace("<f4", "<f8"), 3),
            (header("(1, 3)").replace("False", "True"), 3),
        ] {
            assert!(read(&npy(&header, &vec![0.0; values])).is_err(), "{header}");
        }
        for bytes in [
            &b""[..],
            b"\x93NUMPY",
            b"not an array at all",
            b"\x93NUMPY\x02\x00\xff\xff",
        ] {
            assert!(read(bytes).is_err());
        }
    }
}

//! `npy`: a NumPy array of little-endian f32, shape (rows, dim), format version 1.0.
//!
//! The number of rows is known only at the end, so the header is written with room for any number
//! and completed by going back. A file cut short says it has no rows.
//!
//! Format: numpy/lib/format.py, "Format Version 1.0".

use super::{BadRow, Row, RowWriter, Sink};

/// Magic, version, length and text together: a multiple of 64, as the format asks, and room for
/// two numbers of 20 digits.
const HEADER_BYTES: usize = 128;

/// A NumPy array.
pub(super) struct Npy {
    sink: Sink,
    dim: usize,
    rows: usize,
}

impl Npy {
    pub(super) fn new(mut sink: Sink, dim: usize) -> anyhow::Result<Self> {
        sink.write(&header(0, dim))?;
        Ok(Self { sink, dim, rows: 0 })
    }

    fn vector(&mut self, values: impl Iterator<Item = f32>) -> anyhow::Result<()> {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        if bytes.len() != self.dim * size_of::<f32>() {
            let found = bytes.len() / size_of::<f32>();
            anyhow::bail!("row {}: expected {} numbers, found {found}", self.rows, self.dim);
        }
        self.rows += 1;
        self.sink.write(&bytes)
    }
}

fn header(rows: usize, dim: usize) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER_BYTES - 10) as u16).to_le_bytes());
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    bytes.extend(text.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

impl<R: Row> RowWriter<R> for Npy {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        self.vector(row.vector().unwrap_or_default().iter().copied())
    }

    fn bad(&mut self, _: &BadRow) -> anyhow::Result<()> {
        self.vector(std::iter::repeat_n(f32::NAN, self.dim))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.rewrite_start(&header(self.rows, self.dim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_one_length_for_any_shape() {
        for (rows, dim) in [(0, 1), (3, 768), (usize::MAX, usize::MAX)] {
            let bytes = header(rows, dim);
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
            assert_eq!(bytes.last(), Some(&b'\n'));
            let text = String::from_utf8(bytes[10..].to_vec()).unwrap();
            assert!(text.contains(&format!("'shape': ({rows}, {dim}), }}")), "{text}");
        }
    }
}

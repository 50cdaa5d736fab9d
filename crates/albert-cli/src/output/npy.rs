//! `npy`: a NumPy array of shape (rows, dim), format version 1.0.
//!
//! The number of rows is known only at the end, so the header is written with room for any number
//! and completed by going back. A file cut short says it has no rows.
//!
//! Format: numpy/lib/format.py, "Format Version 1.0".

use anyhow::Context;

use super::column::{Element, VectorType};
use super::{BadRow, Row, RowWriter, Sink};

/// Magic, version, length and text together: a multiple of 64, as the format asks, and room for
/// two numbers of 20 digits.
const HEADER_BYTES: usize = 128;

/// A NumPy array.
pub(super) struct Npy {
    sink: Sink,
    vectors: VectorType,
    rows: usize,
}

impl Npy {
    pub(super) fn new(mut sink: Sink, vectors: VectorType) -> anyhow::Result<Self> {
        sink.write(&header(0, vectors))?;
        Ok(Self { sink, vectors, rows: 0 })
    }

    fn vector(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        if bytes.len() != self.vectors.bytes() {
            let found = bytes.len() / self.vectors.element.bytes();
            anyhow::bail!("row {}: expected {}, found {found}", self.rows, self.vectors);
        }
        self.rows += 1;
        self.sink.write(bytes)
    }
}

fn header(rows: usize, vectors: VectorType) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER_BYTES - 10) as u16).to_le_bytes());
    let (descr, dim) = (descr(vectors.element), vectors.dim);
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    bytes.extend(text.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    bytes
}

fn descr(element: Element) -> &'static str {
    match element {
        Element::F32 => "<f4",
        Element::I8 => "|i1",
        Element::U8 => "|u1",
    }
}

impl<R: Row> RowWriter<R> for Npy {
    fn row(&mut self, row: &R) -> anyhow::Result<()> {
        self.vector(&row.vector().map(|vector| vector.bytes()).unwrap_or_default())
    }

    fn bad(&mut self, _: &BadRow) -> anyhow::Result<()> {
        let missing = self.vectors.missing();
        self.vector(&missing.context("no number of these tells that a row is bad")?)
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        self.sink.flush()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.sink.rewrite_start(&header(self.rows, self.vectors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_one_length_for_any_shape() {
        for (rows, dim) in [(0, 1), (3, 768), (usize::MAX, usize::MAX)] {
            let bytes = header(rows, VectorType { element: Element::F32, dim });
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
            assert_eq!(bytes.last(), Some(&b'\n'));
            let text = String::from_utf8(bytes[10..].to_vec()).unwrap();
            assert!(text.contains(&format!("'shape': ({rows}, {dim}), }}")), "{text}");
        }
    }
}

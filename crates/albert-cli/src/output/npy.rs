//! `npy`: a NumPy array of shape (rows, dim), format version 1.0.
//!
//! Format: numpy/lib/format.py, "Format Version 1.0".

use super::column::{Element, VectorType};

/// The size of magic, version, length and text together: a multiple of 64, as the format requires,
/// with room for two numbers of 20 digits.
pub(super) const HEADER_BYTES: usize = 128;

/// Returns the header of an array.
pub(super) fn header(rows: usize, vectors: VectorType) -> anyhow::Result<Vec<u8>> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(((HEADER_BYTES - 10) as u16).to_le_bytes());
    let (descr, dim) = (descr(vectors.element), vectors.dim);
    let text =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    bytes.extend(text.as_bytes());
    bytes.resize(HEADER_BYTES - 1, b' ');
    bytes.push(b'\n');
    Ok(bytes)
}

/// Returns the number of rows in a header.
pub(super) fn rows(header: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(header.get(10..)?).ok()?;
    text.split_once("'shape': (")?
        .1
        .split_once(',')?
        .0
        .parse()
        .ok()
}

fn descr(element: Element) -> &'static str {
    match element {
        Element::F32 => "<f4",
        Element::I8 => "|i1",
        Element::U8 => "|u1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_one_length_for_any_shape() {
        for (rows, dim) in [(0, 1), (3, 768), (usize::MAX, usize::MAX)] {
            let bytes = header(rows, VectorType::f32(dim)).unwrap();
            assert_eq!(bytes.len(), HEADER_BYTES);
            assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
            assert_eq!(bytes.last(), Some(&b'\n'));
            let text = String::from_utf8(bytes[10..].to_vec()).unwrap();
            assert!(
                text.contains(&format!("'shape': ({rows}, {dim}), }}")),
                "{text}"
            );
            assert_eq!(super::rows(&bytes), Some(rows));
        }
    }
}

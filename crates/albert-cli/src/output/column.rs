//! The columns of rows: their names and types, and the vectors among them.

use std::fmt;

/// A column: a key of the rows' JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// True if a row may lack it: only the row of a pair has `pair`.
    pub(crate) optional: bool,
}

impl Column {
    /// Creates a column that every row has.
    pub(crate) const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            optional: false,
        }
    }

    /// Creates a column that a row may lack.
    pub(crate) const fn optional(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            optional: true,
        }
    }
}

/// The type of a column.
#[derive(Debug, Clone, Copy)]
#[cfg_attr(
    not(feature = "parquet"),
    expect(dead_code, reason = "only tables have types")
)]
pub(crate) enum Kind {
    /// A string.
    Text,
    /// A 64-bit integer.
    Integer,
    /// A 32-bit float.
    Float,
    /// A 64-bit float.
    Double,
    /// True or false.
    Boolean,
    /// The vector of a row, or one of its vectors, with the length and type of the output's
    /// vectors.
    Vector,
    /// Two integers.
    Span,
    /// A list of one type.
    List(&'static Kind),
    /// Columns within a column.
    Record(&'static [Column]),
}

/// The element type of a vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Element {
    /// Little-endian 32-bit floats.
    F32,
    /// Signed bytes.
    I8,
    /// Unsigned bytes.
    U8,
}

impl Element {
    /// Returns the size of one element in bytes.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => size_of::<f32>(),
            Self::I8 | Self::U8 => 1,
        }
    }

    /// Decodes the elements from the bytes of a file.
    pub(super) fn numbers(self, bytes: &[u8]) -> Vec<f64> {
        let number = |bytes: &[u8]| match (self, bytes) {
            (Self::F32, &[a, b, c, d]) => f64::from(f32::from_le_bytes([a, b, c, d])),
            (Self::I8, &[byte]) => f64::from(byte.cast_signed()),
            (Self::U8, &[byte]) => f64::from(byte),
            _ => f64::NAN,
        };
        bytes.chunks_exact(self.bytes()).map(number).collect()
    }
}

/// The type of all vectors of an output.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct VectorType {
    /// The type of the elements.
    pub(crate) element: Element,
    /// The number of elements.
    pub(crate) dim: usize,
}

impl VectorType {
    /// Returns the type of vectors of 32-bit floats.
    pub(crate) fn f32(dim: usize) -> Self {
        Self {
            element: Element::F32,
            dim,
        }
    }

    /// Returns the size of one vector in bytes.
    pub(super) fn bytes(self) -> usize {
        self.dim * self.element.bytes()
    }

    /// Returns the bytes of a missing vector, which is all NaN; `None` for integer types.
    pub(super) fn missing(self) -> Option<Vec<u8>> {
        match self.element {
            Element::F32 => Some(f32::NAN.to_le_bytes().repeat(self.dim)),
            Element::I8 | Element::U8 => None,
        }
    }
}

impl fmt::Display for VectorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let element = match self.element {
            Element::F32 => "f32",
            Element::I8 => "i8",
            Element::U8 => "u8",
        };
        write!(f, "{} values of type {element}", self.dim)
    }
}

/// A row's vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Vector<'a> {
    /// Of 32-bit floats.
    F32(&'a [f32]),
    /// Of signed bytes.
    I8(&'a [i8]),
    /// Of unsigned bytes.
    U8(&'a [u8]),
}

impl Vector<'_> {
    /// Encodes the elements as the bytes of a file, little-endian.
    pub(super) fn bytes(self) -> Vec<u8> {
        match self {
            Self::F32(values) => values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
            Self::I8(values) => values.iter().map(|value| value.cast_unsigned()).collect(),
            Self::U8(values) => values.to_vec(),
        }
    }

    /// Formats the first elements and the number of elements, for people to read.
    pub(crate) fn preview(self) -> String {
        const SHOWN: usize = 3;
        let (first, count): (Vec<String>, usize) = match self {
            Self::F32(values) => (
                values
                    .iter()
                    .take(SHOWN)
                    .map(|value| format!("{value:7.4}"))
                    .collect(),
                values.len(),
            ),
            Self::I8(values) => (
                values
                    .iter()
                    .take(SHOWN)
                    .map(|value| format!("{value:4}"))
                    .collect(),
                values.len(),
            ),
            Self::U8(values) => (
                values
                    .iter()
                    .take(SHOWN)
                    .map(|value| format!("{value:4}"))
                    .collect(),
                values.len(),
            ),
        };
        let shown = first.join(" ");
        if count > SHOWN {
            format!("{shown} … ({count})")
        } else {
            shown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preview_of_a_vector_is_short() {
        assert_eq!(Vector::F32(&[1.0, -0.5]).preview(), " 1.0000 -0.5000");
        assert_eq!(
            Vector::F32(&[0.0; 312]).preview(),
            " 0.0000  0.0000  0.0000 … (312)"
        );
        assert_eq!(
            Vector::I8(&[-128, 7, 0, 1]).preview(),
            "-128    7    0 … (4)"
        );
        assert_eq!(Vector::U8(&[255]).preview(), " 255");
    }

    #[test]
    fn bytes_are_their_own_bytes() {
        assert_eq!(Vector::I8(&[-1, 1]).bytes(), [255, 1]);
        assert_eq!(Vector::U8(&[255, 1]).bytes(), [255, 1]);
        assert_eq!(Vector::F32(&[1.0]).bytes(), [0, 0, 128, 63]);
    }
}

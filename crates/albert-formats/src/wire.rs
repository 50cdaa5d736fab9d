//! The fields of a protocol buffer's message, one by one. Nothing is allocated.
//!
//! Source: protobuf.dev, "Encoding".

/// The encoded value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire<'a> {
    /// A whole number of up to 64 bits.
    Varint(u64),
    /// Four bytes, the lowest first.
    Fixed32(u32),
    /// Eight bytes, the lowest first.
    Fixed64(u64),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    /// Returns a whole number; a negative one becomes larger than any size.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Varint(number) => Some(number),
            _ => None,
        }
    }

    /// Returns the four bytes of a fixed-size number.
    pub fn fixed32(self) -> Option<u32> {
        match self {
            Self::Fixed32(number) => Some(number),
            _ => None,
        }
    }

    /// Returns a 32-bit float.
    pub fn float(self) -> Option<f32> {
        self.fixed32().map(f32::from_bits)
    }

    /// Returns the bytes of a string, of bytes or of a message.
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A violation of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// The message ends within a field.
    #[error("it ends within a field")]
    Cut,
    /// A field has an unknown wire type.
    #[error("it is not a protocol buffer: wire type {0}")]
    WireType(u8),
    /// A field has the number 0.
    #[error("it is not a protocol buffer: field 0")]
    FieldZero,
    /// A number has more than ten bytes.
    #[error("it is not a protocol buffer: a number of more than 64 bits")]
    LongNumber,
}

/// Iterates over the number and the value of each field; ends after an error.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Iterates over the fields of a message.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>), Broken> {
        let tag = varint(&mut self.rest)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.rest)?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = varint(&mut self.rest)?;
                Wire::Bytes(take(&mut self.rest, len)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.array()?)),
            wire => return Err(Broken::WireType(wire as u8)), // below 8
        };
        match tag >> 3 {
            0 => Err(Broken::FieldZero),
            number => Ok((number, value)),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        let bytes = take(&mut self.rest, N as u64)?;
        bytes.try_into().map_err(|_| Broken::Cut)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a varint, seven bits per byte, lowest first, from the front of `rest`.
///
/// # Errors
/// If `rest` ends within it, or it has more than 64 bits.
pub fn varint(rest: &mut &[u8]) -> Result<u64, Broken> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().ok_or(Broken::Cut)?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(Broken::LongNumber)
}

/// Takes `len` bytes off the front of `rest`.
///
/// # Errors
/// If there are fewer.
pub fn take<'a>(rest: &mut &'a [u8], len: u64) -> Result<&'a [u8], Broken> {
    let len = usize::try_from(len).map_err(|_| Broken::Cut)?;
    let (taken, after) = rest.split_at_checked(len).ok_or(Broken::Cut)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 7, 0, 0, 0, 0, 0, 0, 0,
        ];
        let fields: Vec<_> = Fields::new(&message).collect();
        let expected = [
            (1, Wire::Varint(150)),
            (2, Wire::Bytes(b"hi")),
            (3, Wire::Fixed32(1)),
            (4, Wire::Fixed64(7)),
        ];
        assert_eq!(fields, expected.map(Ok));
    }

    #[test]
    fn a_broken_message_ends_with_the_reason() {
        for (message, reason) in [
            (&[0x08][..], Broken::Cut),
            (&[0x12, 5, 1], Broken::Cut),
            (&[0x1d, 1], Broken::Cut),
            (&[0x0b], Broken::WireType(3)),
            (&[0x00, 1], Broken::FieldZero),
            (&[0xff; 11], Broken::LongNumber),
        ] {
            let fields: Vec<_> = Fields::new(message).collect();
            assert_eq!(fields, [Err(reason)], "{message:?}");
        }
    }
}

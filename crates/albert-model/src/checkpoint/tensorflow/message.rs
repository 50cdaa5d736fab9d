//! The fields of a protocol buffer's message, one by one.
//!
//! Source: protobuf.dev, "Encoding".

/// A field's value, as it is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    /// A whole number; those below zero are beyond any size.
    pub(super) fn number(self) -> Option<u64> {
        match self {
            Self::Varint(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn fixed(self) -> Option<u32> {
        match self {
            Self::Fixed32(number) => Some(number),
            _ => None,
        }
    }

    /// Bytes, or a message.
    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// Iterates over `(field number, value)`; `None` and the end where the message breaks off.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn field(&mut self) -> Option<(u64, Wire<'a>)> {
        let tag = varint(&mut self.rest)?;
        let value = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.rest)?),
            1 => {
                take(&mut self.rest, 8)?;
                Wire::Fixed64
            }
            2 => {
                let len = varint(&mut self.rest)?;
                Wire::Bytes(take(&mut self.rest, usize::try_from(len).ok()?)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(
                take(&mut self.rest, 4)?.try_into().ok()?,
            )),
            _ => return None,
        };
        Some((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// Takes a number of seven bits a byte, the lowest first.
pub(super) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes `len` bytes.
pub(super) fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_every_kind_are_read() {
        let message = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 1, 0, 0, 0, 0x21, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        let fields: Vec<_> = Fields::of(&message).collect();
        let expected = [
            (1, Wire::Varint(150)),
            (2, Wire::Bytes(b"hi")),
            (3, Wire::Fixed32(1)),
            (4, Wire::Fixed64),
        ];
        assert_eq!(fields, expected.map(Some));
    }

    #[test]
    fn a_broken_message_ends_with_none() {
        for message in [&[0x08][..], &[0x12, 5, 1], &[0x1d, 1], &[0x0b], &[0xff; 11]] {
            let fields: Vec<_> = Fields::of(message).collect();
            assert_eq!(fields, [None], "{message:?}");
        }
    }
}

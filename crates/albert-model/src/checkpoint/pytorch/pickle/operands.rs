//! The operands of a pickle's instructions.

use super::{Result, Trouble, Value};

/// A place in the bytes of a pickle.
#[derive(Debug)]
pub(super) struct Operands<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Operands<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the length of the bytes, with those after the pickle.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the number of bytes read so far.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns an error at the current byte.
    pub(super) fn malformed<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(Trouble::Malformed {
            at: self.at,
            why: why.into(),
        })
    }

    /// Reads `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..len)) {
            Some(bytes) => {
                self.at += len;
                Ok(bytes)
            }
            None => self.malformed(format!(
                "expected {len} more bytes of a pickle, found the end"
            )),
        }
    }

    /// Reads N bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("`take` returns N bytes"))
    }

    /// Reads a little-endian number of N bytes.
    pub(super) fn number<const N: usize>(&mut self) -> Result<u64> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// Reads to the end of a line.
    pub(super) fn line(&mut self) -> Result<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(len) = rest.iter().position(|&byte| byte == b'\n') else {
            return self.malformed("expected a line, found no line end");
        };
        let line = self.take(len + 1)?;
        self.utf8(&line[..len])
    }

    /// Returns bytes of the pickle as a text.
    pub(super) fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => self.malformed("expected UTF-8 text"),
        }
    }

    /// Reads a number of N bytes and as many bytes as it says.
    pub(super) fn counted<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let len = self.number::<N>()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// Parses a decimal number, `00` and `01` for false and true, with an `L` after a long one.
pub(super) fn decimal(line: &str) -> Value<'_> {
    match line {
        "00" | "01" => Value::Bool(line == "01"),
        _ => match line.trim_end_matches('L').parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::Other,
        },
    }
}

/// Returns a number in little-endian two's complement.
pub(super) fn whole_number(bytes: &[u8]) -> Value<'_> {
    if bytes.len() > 8 {
        return Value::Long(bytes);
    }
    let sign = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut wide = [if sign { 0xff } else { 0 }; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    Value::Int(i64::from_le_bytes(wide))
}

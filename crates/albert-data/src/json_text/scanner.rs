//! Scans JSON text for the ends of its values, without building them.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, error};

/// A position at which a text is not JSON.
#[derive(Debug, PartialEq)]
pub(crate) struct SyntaxError {
    /// The byte, counted from 0.
    at: usize,
    expected: &'static str,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (column, expected) = (self.at + 1, self.expected);
        write!(
            f,
            "expected JSON, found an error at byte {column}: expected {expected}"
        )
    }
}

impl std::error::Error for SyntaxError {}

impl From<SyntaxError> for Error {
    fn from(error: SyntaxError) -> Self {
        Self::new(error.to_string())
    }
}

/// A position in a text.
pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    pub(super) at: usize,
}

pub(super) type Scanned<T> = Result<T, SyntaxError>;

impl<'a> Scanner<'a> {
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expected<T>(&self, expected: &'static str) -> Scanned<T> {
        Err(SyntaxError {
            at: self.at,
            expected,
        })
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    /// Reads a value with nothing but space around it.
    pub(super) fn document(&mut self) -> Scanned<&'a str> {
        self.space();
        let value = self.value()?;
        self.end()?;
        Ok(value)
    }

    pub(super) fn end(&mut self) -> Scanned<()> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.expected("the end of the line"),
        }
    }

    pub(super) fn members(&mut self, visit: &mut impl FnMut(Cow<'a, str>, &'a str)) -> Scanned<()> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            let name = self.name()?;
            // A name with half a surrogate pair is that of no field.
            let name = if name.contains('\\') {
                Cow::Owned(string(name).unwrap_or_else(|_| name.to_string()))
            } else {
                Cow::Borrowed(&name[1..name.len() - 1])
            };
            visit(name, self.value()?);
            self.space();
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `}`");
            }
            self.space();
        }
    }

    pub(super) fn elements(&mut self, mut visit: impl FnMut(&'a str)) -> Scanned<()> {
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Ok(());
        }
        loop {
            visit(self.value()?);
            self.space();
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return self.expected("`,` or `]`");
            }
            self.space();
        }
    }

    /// Reads the name of a member, up to the start of its value.
    fn name(&mut self) -> Scanned<&'a str> {
        if self.peek() != Some(b'"') {
            return self.expected("a name in quotes");
        }
        let name = self.string()?;
        self.space();
        if !self.take(b':') {
            return self.expected("`:`");
        }
        self.space();
        Ok(name)
    }

    /// Reads a value of any depth.
    fn value(&mut self) -> Scanned<&'a str> {
        let start = self.at;
        // The brackets that are open.
        let mut open = Vec::new();
        loop {
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    self.space();
                    if !self.take(closing(bracket)) {
                        open.push(bracket);
                        if bracket == b'{' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                Some(b'"') => {
                    self.string()?;
                }
                _ => self.scalar()?,
            }
            // After a value: the brackets that end here, or the next value.
            loop {
                let Some(&bracket) = open.last() else {
                    return Ok(&self.text[start..self.at]);
                };
                self.space();
                if self.take(closing(bracket)) {
                    open.pop();
                    continue;
                }
                if !self.take(b',') {
                    return self.expected(match bracket {
                        b'{' => "`,` or `}`",
                        _ => "`,` or `]`",
                    });
                }
                self.space();
                if bracket == b'{' {
                    self.name()?;
                }
                break;
            }
        }
    }

    /// Reads a string with its quotes.
    fn string(&mut self) -> Scanned<&'a str> {
        let start = self.at;
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(&self.text[start..self.at]);
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                            self.at += 1;
                        }
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                    return self.expected("four hexadecimal digits");
                                }
                                self.at += 1;
                            }
                        }
                        _ => return self.expected("an escape such as `\\n`"),
                    }
                }
                Some(byte) if byte >= 0x20 => self.at += 1,
                Some(_) => return self.expected("an escape in place of a control character"),
                None => return self.expected("a closing quote"),
            }
        }
    }

    /// Reads a number, a boolean or null.
    fn scalar(&mut self) -> Scanned<()> {
        for word in ["true", "false", "null", "NaN", "Infinity", "-Infinity"] {
            if self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(());
            }
        }
        self.take(b'-');
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.expected("a value"),
        }
        if self.take(b'.') {
            self.some_digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            if !self.take(b'+') {
                self.take(b'-');
            }
            self.some_digits()?;
        }
        Ok(())
    }

    fn some_digits(&mut self) -> Scanned<()> {
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.digits();
                Ok(())
            }
            _ => self.expected("a digit"),
        }
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
    }
}

fn closing(bracket: u8) -> u8 {
    match bracket {
        b'{' => b'}',
        _ => b']',
    }
}

/// Reads a string with its quotes.
pub(super) fn string(value: &str) -> crate::Result<String> {
    let inner = &value[1..value.len() - 1];
    if !inner.contains('\\') {
        return Ok(inner.to_string());
    }
    serde_json::from_str(value).map_err(|error| {
        let text = error.to_string();
        // The line is named already, and the column is one within the string.
        let end = text.rfind(" at line ").unwrap_or(text.len());
        error!("{}", &text[..end])
    })
}

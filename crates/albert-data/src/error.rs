//! The errors of reading records.

use std::error::Error as StdError;
use std::{fmt, io};

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why a source, or one of its records, cannot be read.
///
/// The message names the file and the place, what was expected and what was found; its causes are
/// its [sources](StdError::source), which `{:#}` prints after it. The type is opaque, because hardly
/// anybody needs more of it than its text; the predicates are for the rest.
///
/// ```
/// use albert_data::Field;
///
/// let error = Field::parse_list("text,,label").unwrap_err();
/// assert_eq!(error.to_string(), "expected a name, found none");
/// assert!(!error.is_io());
/// ```
#[derive(thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
struct Inner {
    message: String,
    kind: ErrorKind,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of errors that a caller may want to handle in their own way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum ErrorKind {
    /// None of the others.
    Other,
    /// The file ends too early.
    CutShort,
    /// A field is missing.
    MissingField,
    /// A field is missing, which the header would have with another separator.
    OtherSeparator(char),
    /// Vectors are integers, which mean nothing without their scale.
    IntegerVectors,
    /// The content is in another format, which must be converted first, as this hint says.
    Foreign(&'static str),
    /// The file must be changed, as this hint says.
    Advised(&'static str),
}

/// The message alone, or in the alternate form with its causes.
impl fmt::Display for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if f.alternate() {
            let mut source = self.source();
            while let Some(cause) = source {
                write!(f, ": {cause}")?;
                source = cause.source();
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error {
    /// Creates an error without a cause.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            message: message.into(),
            kind: ErrorKind::Other,
            source: None,
        }))
    }

    /// Creates the error of a field that is not there.
    pub(crate) fn missing_field(message: impl Into<String>) -> Self {
        Self::new(message).with_kind(ErrorKind::MissingField)
    }

    /// Sets the kind.
    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Wraps this error as the cause of one with `message`.
    #[must_use]
    pub fn context(self, message: impl fmt::Display) -> Self {
        Self::from_source(message, self)
    }

    fn from_source(
        message: impl fmt::Display,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Inner {
            message: message.to_string(),
            kind: ErrorKind::Other,
            source: Some(source.into()),
        }))
    }

    /// Wraps a caller's own error, such as that of a function given to
    /// [`Shards::read`](crate::Shards::read), with the same message and the error as the source.
    pub fn other(error: impl StdError + Send + Sync + 'static) -> Self {
        Self::from_source(error.to_string(), error)
    }

    /// Returns true if the system could not open or read a file.
    pub fn is_io(&self) -> bool {
        self.causes().any(|cause| cause.is::<io::Error>())
    }

    /// Returns true if the file ends too early, because its writer was interrupted.
    pub fn is_cut_short(&self) -> bool {
        self.has(|kind| kind == ErrorKind::CutShort)
    }

    /// Returns true if a record or a table lacks a requested field.
    pub fn is_missing_field(&self) -> bool {
        self.has(|kind| matches!(kind, ErrorKind::MissingField | ErrorKind::OtherSeparator(_)))
    }

    /// Returns the separator that the file seems to have, if a requested field is missing
    /// because the header was divided at another.
    pub fn other_separator(&self) -> Option<char> {
        self.kinds().find_map(|kind| match kind {
            ErrorKind::OtherSeparator(separator) => Some(separator),
            _ => None,
        })
    }

    /// Returns true if saved vectors are integers, which cannot be compared without their scale.
    pub fn is_integer_vectors(&self) -> bool {
        self.has(|kind| kind == ErrorKind::IntegerVectors)
    }

    /// Returns true if the content is in a format that must be converted first.
    pub fn is_foreign(&self) -> bool {
        self.has(|kind| matches!(kind, ErrorKind::Foreign(_)))
    }

    /// Suggests a remedy, if one is known: one line without a final period.
    pub fn hint(&self) -> Option<&'static str> {
        self.kinds().find_map(|kind| match kind {
            ErrorKind::Foreign(hint) | ErrorKind::Advised(hint) => Some(hint),
            _ => None,
        })
    }

    fn has(&self, predicate: impl Fn(ErrorKind) -> bool) -> bool {
        self.kinds().any(predicate)
    }

    /// Returns the kinds of this error and of its causes.
    fn kinds(&self) -> impl Iterator<Item = ErrorKind> {
        self.causes()
            .filter_map(|cause| cause.downcast_ref::<Self>())
            .map(|error| error.0.kind)
    }

    /// Returns this error and its causes, outermost first.
    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        let mut next: Option<&(dyn StdError + 'static)> = Some(self);
        std::iter::from_fn(move || {
            let cause = next?;
            next = cause.source();
            Some(cause)
        })
    }
}

/// Adds a message to the error of a result.
pub(crate) trait Context<T> {
    /// Makes the error the cause of one with `message`.
    fn context(self, message: impl fmt::Display) -> Result<T>;

    /// Makes the error the cause of one with the message that `message` returns.
    fn with_context<M: fmt::Display>(self, message: impl FnOnce() -> M) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, message: impl fmt::Display) -> Result<T> {
        self.with_context(|| message)
    }

    fn with_context<M: fmt::Display>(self, message: impl FnOnce() -> M) -> Result<T> {
        self.map_err(|error| Error::from_source(message(), error))
    }
}

/// Makes an [`Error`] from a format string.
macro_rules! error {
    ($($message:tt)*) => { $crate::error::Error::new(format!($($message)*)) };
}

/// Returns an [`Error`] made from a format string.
macro_rules! bail {
    ($($message:tt)*) => { return Err($crate::error::error!($($message)*)) };
}

pub(crate) use {bail, error};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_form_shows_the_causes_too() {
        let error = error!("inner").context("middle").context("outer");
        assert_eq!(error.to_string(), "outer");
        assert_eq!(format!("{error:#}"), "outer: middle: inner");
    }

    #[test]
    fn a_kind_is_found_below_its_context() {
        let error = error!("no field").with_kind(ErrorKind::OtherSeparator(';'));
        let error = error.context("line 1").context("`a.csv`");
        assert_eq!(error.other_separator(), Some(';'));
        assert!(error.is_missing_field() && !error.is_cut_short() && !error.is_io());
    }

    #[test]
    fn errors_of_the_system_are_recognized() {
        let missing = std::fs::File::open("/no/such/file").context("cannot open `x`");
        assert!(missing.unwrap_err().context("outer").is_io());
    }
}

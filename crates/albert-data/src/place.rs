//! Places of records, for errors.

use std::sync::Arc;

use crate::Error;

/// The place of a record.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// The only argument: no other to confuse it with.
    OnlyArgument,
    /// One of several arguments, counted from 1.
    Argument(usize),
    /// A line of a file, counted from 1.
    Line(Arc<str>, u64),
    /// A row of a table without lines, counted from 1.
    Row(Arc<str>, u64),
}

impl Place {
    /// Returns the place in words, such as "`a.txt`, line 3"; `None` for the only argument.
    pub fn describe(&self) -> Option<String> {
        match self {
            Self::OnlyArgument => None,
            Self::Argument(number) => Some(format!("argument {number}")),
            Self::Line(name, number) => Some(format!("{name}, line {number}")),
            Self::Row(name, number) => Some(format!("{name}, row {number}")),
        }
    }

    /// Puts the place before an error.
    #[must_use]
    pub fn locate(&self, error: Error) -> Error {
        match self.describe() {
            Some(place) => error.context(place),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::error;

    #[test]
    fn an_error_names_its_place() {
        let at = |place: Place| format!("{:#}", place.locate(error!("bad")));
        assert_eq!(at(Place::OnlyArgument), "bad");
        assert_eq!(at(Place::Argument(2)), "argument 2: bad");
        assert_eq!(at(Place::Line("`a.txt`".into(), 3)), "`a.txt`, line 3: bad");
    }
}

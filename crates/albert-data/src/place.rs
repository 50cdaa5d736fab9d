//! Places of records, for errors.

use std::sync::Arc;

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
    /// Puts the place in front of an error.
    pub fn locate(&self, error: anyhow::Error) -> anyhow::Error {
        match self {
            Self::OnlyArgument => error,
            Self::Argument(number) => error.context(format!("argument {number}")),
            Self::Line(name, number) => error.context(format!("{name}, line {number}")),
            Self::Row(name, number) => error.context(format!("{name}, row {number}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place() {
        let at = |place: Place| format!("{:#}", place.locate(anyhow::anyhow!("bad")));
        assert_eq!(at(Place::OnlyArgument), "bad");
        assert_eq!(at(Place::Argument(2)), "argument 2: bad");
        assert_eq!(at(Place::Line("`a.txt`".into(), 3)), "`a.txt`, line 3: bad");
    }
}

//! Names of enum variants: from the name to the variant and back.

use std::fmt;

use crate::{Error, Result};

/// Writes the name of `choice` among `all`.
pub(crate) fn display<T: PartialEq>(
    all: &[(T, &'static str)],
    choice: &T,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.pad(
        all.iter()
            .find(|(known, _)| known == choice)
            .map_or("", |(_, name)| name),
    )
}

/// Returns the choice of this name among `all`.
pub(crate) fn parse<T: Copy>(
    what: &'static str,
    all: &[(T, &'static str)],
    name: &str,
) -> Result<T> {
    match all.iter().find(|(_, known)| *known == name) {
        Some((choice, _)) => Ok(*choice),
        None => Err(Error::UnknownName {
            what,
            name: name.to_string(),
            expected: all
                .iter()
                .map(|(_, name)| *name)
                .collect::<Vec<_>>()
                .join(", "),
        }),
    }
}

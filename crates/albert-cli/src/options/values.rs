//! Parsers of option values whose errors say what was expected.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::builder::{PathBufValueParser, TypedValueParser};

/// Returns a parser for a folder to write to, which rejects `-`.
pub(crate) fn folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        if path.as_os_str() == "-" {
            Err("expected a folder, found standard output")
        } else {
            Ok(path)
        }
    })
}

/// Returns a parser of whole numbers within a range, whose error names the range.
pub(crate) fn number(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let expected = match *range.end() {
            usize::MAX => format!("expected a whole number from {}", range.start()),
            end => format!("expected a whole number from {} to {end}", range.start()),
        };
        match text.trim().parse::<usize>() {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => Err(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_outside_their_range_are_refused_with_the_range() {
        let parse = number(1..=8);
        assert_eq!(parse("8"), Ok(8));
        for bad in ["0", "9", "-1", "x", "", "99999999999999999999999"] {
            assert_eq!(
                parse(bad),
                Err("expected a whole number from 1 to 8".to_string())
            );
        }
    }
}

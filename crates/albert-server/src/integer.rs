//! Integers in requests. JSON has only one type of number, and JSON Schema accepts `167.0` as an
//! integer, which is what clients in languages without integers send.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};
use serde_json::Number;

/// Returns the value of a number that is an integer of 0 or more, `u64::MAX` at most.
pub(crate) fn from_number(number: &Number) -> Option<u64> {
    number
        .as_u64()
        .or_else(|| number.as_f64().and_then(from_f64))
}

/// Returns the value of an `f64` that is an integer of 0 or more, `u64::MAX` at most.
fn from_f64(value: f64) -> Option<u64> {
    // `as` saturates.
    (value >= 0.0 && value.fract() == 0.0).then_some(value as u64)
}

/// Reads an optional count.
pub(crate) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let count = Option::<Count>::deserialize(deserializer)?;
    Ok(count.map(|Count(value)| usize::try_from(value).unwrap_or(usize::MAX)))
}

/// An integer of 0 or more.
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl Visitor<'_> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer of 0 or more")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Count, E> {
        Ok(Count(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Count, E> {
        let count = u64::try_from(value).map(Count);
        count.map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Count, E> {
        let count = from_f64(value).map(Count);
        count.ok_or_else(|| E::invalid_value(Unexpected::Float(value), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Request {
        #[serde(default, deserialize_with = "count")]
        top_k: Option<usize>,
    }

    fn top_k(json: &str) -> Result<Option<usize>, String> {
        let request: Result<Request, _> = serde_json::from_str(json);
        request
            .map(|request| request.top_k)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_float_without_a_fraction_is_an_integer() {
        assert_eq!(top_k(r#"{"top_k": 167.0}"#), Ok(Some(167)));
        assert_eq!(top_k(r#"{"top_k": 1.67e2}"#), Ok(Some(167)));
        assert_eq!(top_k(r#"{"top_k": 167}"#), Ok(Some(167)));
        assert_eq!(top_k(r#"{"top_k": -0.0}"#), Ok(Some(0)));
    }

    #[test]
    fn a_count_may_be_missing_or_null() {
        assert_eq!(top_k("{}"), Ok(None));
        assert_eq!(top_k(r#"{"top_k": null}"#), Ok(None));
    }

    #[test]
    fn a_count_beyond_the_integers_of_the_machine_is_the_largest() {
        assert_eq!(top_k(r#"{"top_k": 1e300}"#), Ok(Some(usize::MAX)));
        let digits = r#"{"top_k": 99999999999999999999999}"#;
        assert_eq!(top_k(digits), Ok(Some(usize::MAX)));
    }

    #[test]
    fn fractions_negative_numbers_and_strings_are_refused() {
        for wrong in ["1.5", "-1", "-2.0", "\"3\"", "[3]", "true"] {
            let error = top_k(&format!("{{\"top_k\": {wrong}}}")).unwrap_err();
            assert!(
                error.contains("an integer of 0 or more"),
                "{wrong}: {error}"
            );
        }
    }

    #[test]
    fn a_number_of_any_notation_is_read() {
        let number = |json: &str| from_number(&serde_json::from_str(json).unwrap());
        assert_eq!(number("5.0"), Some(5));
        assert_eq!(number("5"), Some(5));
        assert_eq!(number("5.5"), None);
        assert_eq!(number("-5"), None);
    }
}

//! The forms in which requests give texts.

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use utoipa::ToSchema;

use crate::failure::Failure;
use crate::integer;

/// A text, or several.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[schema(examples(json!("What is ALBERT?")))]
#[serde(untagged)]
pub(crate) enum Texts {
    /// One text.
    One(String),
    /// Several texts.
    Many(Vec<String>),
    /// Several texts as token ids, if the server takes them.
    Ids(Vec<Vec<u32>>),
}

/// The reason for refusing token ids, which langchain's `OpenAIEmbeddings` sends by default.
const IDS: &str = "expected texts, found token ids: the ids of another tokenizer mean nothing here; in langchain set `check_embedding_ctx_length=False`";

impl Texts {
    /// Returns the texts.
    pub(crate) fn into_vec(self) -> Result<Vec<String>, Failure> {
        match self {
            Self::One(text) => Ok(vec![text]),
            Self::Many(texts) => Ok(texts),
            Self::Ids(_) => Err(Failure::invalid(IDS)),
        }
    }

    /// Returns the number of texts.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(texts) => texts.len(),
            Self::Ids(texts) => texts.len(),
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let error = serde::de::Error::custom::<String>;
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::One(text)),
            Value::Array(values)
                if values
                    .first()
                    .is_some_and(|value| value.is_number() || value.is_array()) =>
            {
                ids_of_texts(values).map(Self::Ids).map_err(error)
            }
            Value::Array(values) => {
                let text = |(index, value): (usize, Value)| match value {
                    Value::String(text) => Ok(text),
                    other => {
                        let found = kind(&other);
                        Err(error(format!(
                            "text {index}: expected a string, found {found}"
                        )))
                    }
                };
                let texts = values.into_iter().enumerate().map(text);
                Ok(Self::Many(texts.collect::<Result<_, _>>()?))
            }
            other => Err(error(format!(
                "expected a string or a list of strings, found {}",
                kind(&other)
            ))),
        }
    }
}

/// Reads the token ids of texts: a list of ids is one text, a list of such lists several.
pub(crate) fn ids_of_texts(values: Vec<Value>) -> Result<Vec<Vec<u32>>, String> {
    match values.first() {
        None => Ok(Vec::new()),
        Some(Value::Array(_)) => {
            let texts = values.into_iter().map(|value| match value {
                Value::Array(values) => ids(values),
                other => {
                    let found = kind(&other);
                    Err(format!("expected a list of token ids, found {found}"))
                }
            });
            texts.collect()
        }
        Some(_) => ids(values).map(|ids| vec![ids]),
    }
}

fn ids(values: Vec<Value>) -> Result<Vec<u32>, String> {
    let id = |value: Value| {
        let number = value.as_number().and_then(integer::from_number);
        let id = number.and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| format!("expected token ids of 0 to {}, found {value}", u32::MAX))
    };
    values.into_iter().map(id).collect()
}

/// Reads a value from a JSON object. Serde would also read the fields of a struct from a list.
pub(crate) fn object<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: serde::de::DeserializeOwned,
{
    let error = |error: serde_json::Error| serde::de::Error::custom(error.to_string());
    let map = serde_json::Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(map)).map_err(error)
}

/// A text or a pair of texts to classify, or several: a list of two strings is a pair.
#[derive(Debug, Clone, PartialEq, ToSchema)]
#[serde(untagged)]
pub(crate) enum Pairs {
    /// One text.
    One(String),
    /// One pair of texts.
    Pair([String; 2]),
    /// Several texts or pairs, each a list of one or two strings.
    Many(Vec<Vec<String>>),
}

/// A text, or a pair of texts.
pub(crate) type Pair = (String, Option<String>);

impl Pairs {
    /// Returns the texts and pairs, and true if the request gave a list of them.
    pub(crate) fn into_vec(self) -> Result<(Vec<Pair>, bool), Failure> {
        match self {
            Self::One(text) => Ok((vec![(text, None)], false)),
            Self::Pair([first, second]) => Ok((vec![(first, Some(second))], false)),
            Self::Many(rows) => {
                let pair = |(index, row): (usize, Vec<String>)| {
                    let mut row = row.into_iter();
                    match (row.next(), row.next(), row.next()) {
                        (Some(first), second, None) => Ok((first, second)),
                        _ => Err(Failure::invalid(format!(
                            "input {index}: expected a list of one or two strings"
                        ))),
                    }
                };
                let rows = rows.into_iter().enumerate().map(pair);
                Ok((rows.collect::<Result<_, _>>()?, true))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "expected a string, a list of two strings, or a list of such lists";
        let error = || serde::de::Error::custom(expected);
        let strings = |values: Vec<Value>| -> Result<Vec<String>, D::Error> {
            let string = |value| match value {
                Value::String(text) => Ok(text),
                _ => Err(error()),
            };
            values.into_iter().map(string).collect()
        };
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::One(text)),
            Value::Array(rows) if rows.iter().all(Value::is_array) => {
                let row = |row| match row {
                    Value::Array(values) => strings(values),
                    _ => Err(error()),
                };
                Ok(Self::Many(
                    rows.into_iter().map(row).collect::<Result<_, _>>()?,
                ))
            }
            Value::Array(values) => {
                let pair = strings(values)?;
                Ok(Self::Pair(pair.try_into().map_err(|_| error())?))
            }
            _ => Err(error()),
        }
    }
}

/// Returns the name of a JSON value's type.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(json: &str) -> Result<Vec<String>, String> {
        let texts: Texts = serde_json::from_str(json).map_err(|error| error.to_string())?;
        texts.into_vec().map_err(|failure| failure.message)
    }

    #[test]
    fn one_text_and_several_are_read() {
        assert_eq!(texts("\"a\""), Ok(vec!["a".into()]));
        assert_eq!(texts("[\"a\", \"\"]"), Ok(vec!["a".into(), String::new()]));
        assert_eq!(texts("[]"), Ok(vec![]));
    }

    #[test]
    fn token_ids_are_refused_with_the_option_that_avoids_them() {
        for ids in ["[1, 2]", "[[1, 2], [3]]"] {
            assert!(
                texts(ids)
                    .unwrap_err()
                    .contains("check_embedding_ctx_length")
            );
        }
        let read: Texts = serde_json::from_str("[1, 2]").unwrap();
        assert_eq!((read.len(), read), (1, Texts::Ids(vec![vec![1, 2]])));
        let read: Texts = serde_json::from_str("[1, 2.0]").unwrap();
        assert_eq!(read, Texts::Ids(vec![vec![1, 2]]));
        for wrong in ["[1, -2]", "[1.5]", "[[1], \"a\"]", "[[4294967296]]"] {
            assert!(texts(wrong).unwrap_err().starts_with("expected"), "{wrong}");
        }
        assert!(
            texts("[\"a\", null]")
                .unwrap_err()
                .contains("text 1: expected a string, found null")
        );
    }

    #[test]
    fn an_object_is_not_read_from_a_list() {
        #[derive(Debug, Deserialize)]
        struct Request {
            #[serde(deserialize_with = "object")]
            parameters: Parameters,
        }
        #[derive(Debug, Deserialize)]
        struct Parameters {
            top_k: Option<usize>,
        }
        let read = |json: &str| serde_json::from_str::<Request>(json);
        let request = read("{\"parameters\": {\"top_k\": 3}}").unwrap();
        assert_eq!(request.parameters.top_k, Some(3));
        assert!(read("{\"parameters\": [3]}").is_err());
    }

    #[test]
    fn a_list_of_two_strings_is_a_pair_and_a_list_of_lists_is_several() {
        let read = |json| {
            serde_json::from_str::<Pairs>(json)
                .unwrap()
                .into_vec()
                .unwrap()
        };
        let pair = || ("a".to_string(), Some("b".to_string()));
        assert_eq!(read("[\"a\", \"b\"]"), (vec![pair()], false));
        assert_eq!(
            read("[[\"a\"], [\"a\", \"b\"]]"),
            (vec![("a".into(), None), pair()], true)
        );
        assert!(serde_json::from_str::<Pairs>("[\"a\", \"b\", \"c\"]").is_err());
    }
}

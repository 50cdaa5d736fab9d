//! A model's small JSON files, with errors that name the file.

use albert_formats::json::{self, WrongValue, to_usize};
use serde_json::{Map, Value};

use crate::{Error, ModelFiles, Result};

/// A JSON object with the name of its file.
pub(crate) struct JsonObject {
    file: String,
    map: Map<String, Value>,
}

impl JsonObject {
    /// Reads the object in `file`; `None` if the model has no such file.
    pub(crate) fn read(files: &ModelFiles, file: &str) -> Result<Option<Self>> {
        match read_value(files, file)? {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                file: file.to_string(),
                map,
            })),
            Some(other) => Err(wrong_type(file, "(top level)", "an object", &other)),
        }
    }

    /// Takes `value`, a part of `file`, as an object.
    pub(crate) fn from_value(file: &str, part: &str, value: Value) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self {
                file: file.to_string(),
                map,
            }),
            other => Err(wrong_type(file, part, "an object", &other)),
        }
    }

    /// Returns the name of the file.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// Returns a value that is neither absent nor null.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        json::get(&self.map, key)
    }

    pub(crate) fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn str(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn usize(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a whole number", to_usize)
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// Returns the error for a wrong value of `key`.
    pub(crate) fn unexpected(&self, key: &str, expected: &str, found: &Value) -> Error {
        wrong_type(&self.file, key, expected, found)
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        json::typed(&self.map, key, expected, convert).map_err(|wrong| field(&self.file, wrong))
    }
}

/// Reads the JSON value in `file`; `None` if the model has no such file.
pub(crate) fn read_value(files: &ModelFiles, file: &str) -> Result<Option<Value>> {
    let Some(bytes) = files.read(file)? else {
        return Ok(None);
    };
    match json::parse(&bytes) {
        Ok(value) => Ok(Some(value)),
        Err(source) => Err(Error::Json {
            file: file.to_string(),
            source,
        }),
    }
}

/// Reads the value of `key` of the JSON object in `file`, skipping the rest, which may be long;
/// `None` if the model has no such file, or the key is absent or null.
pub(crate) fn read_key(files: &ModelFiles, file: &str, key: &str) -> Result<Option<Value>> {
    let Some(bytes) = files.read(file)? else {
        return Ok(None);
    };
    json::parse_key(&bytes, key).map_err(|source| Error::Json {
        file: file.to_string(),
        source,
    })
}

/// Returns the error for a JSON value of the wrong type.
pub(crate) fn wrong_type(file: &str, key: &str, expected: &str, found: &Value) -> Error {
    field(file, WrongValue::new(key, expected, found))
}

fn field(file: &str, wrong: WrongValue) -> Error {
    Error::Field {
        file: file.to_string(),
        field: wrong.field,
        expected: wrong.expected,
        found: wrong.found,
    }
}

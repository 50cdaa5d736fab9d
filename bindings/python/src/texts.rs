//! Texts from Python, borrowed without a copy.

use std::str;

use albert_tasks::TextInput;
use numpy::PyReadonlyArray1;
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::{PyString, PyTuple};

use crate::error::{invalid, invalid_text, with_index};

/// A text, or a pair of texts.
#[derive(Debug)]
pub(crate) struct Input {
    first: PyBackedStr,
    second: Option<PyBackedStr>,
}

impl TextInput for Input {
    fn first(&self) -> &str {
        &self.first
    }

    fn second(&self) -> Option<&str> {
        self.second.as_deref()
    }
}

/// Takes the strings of an iterable.
///
/// # Errors
/// A `TypeError` for an element that is not a string, such as None, and an `AlbertError` for one
/// with a lone surrogate. Both have the element's index.
pub(crate) fn texts(texts: &Bound<'_, PyAny>) -> PyResult<Vec<PyBackedStr>> {
    let mut taken = Vec::with_capacity(texts.len().unwrap_or(0));
    for (index, text) in texts.try_iter()?.enumerate() {
        taken.push(text_at(index, &text?)?);
    }
    Ok(taken)
}

/// Takes the strings, and the tuples of two strings, of an iterable.
///
/// # Errors
/// See [`texts`].
pub(crate) fn inputs(inputs: &Bound<'_, PyAny>) -> PyResult<Vec<Input>> {
    let mut taken = Vec::with_capacity(inputs.len().unwrap_or(0));
    for (index, input) in inputs.try_iter()?.enumerate() {
        let input = input?;
        taken.push(match input.cast::<PyTuple>() {
            Ok(pair) if pair.len() == 2 => Input {
                first: text_at(index, &pair.get_item(0)?)?,
                second: Some(text_at(index, &pair.get_item(1)?)?),
            },
            _ => Input {
                first: text_at(index, &input)?,
                second: None,
            },
        });
    }
    Ok(taken)
}

fn text_at(index: usize, text: &Bound<'_, PyAny>) -> PyResult<PyBackedStr> {
    let py = text.py();
    let Ok(string) = text.cast::<PyString>() else {
        let found = text.get_type().name()?;
        let error = PyTypeError::new_err(format!("text {index}: expected str, found {found}"));
        return Err(with_index(py, error, index));
    };
    PyBackedStr::try_from(string.clone()).map_err(|error| {
        if !error.is_instance_of::<PyUnicodeEncodeError>(py) {
            return error;
        }
        let position = error.value(py).getattr("start");
        let position = position.and_then(|start| start.extract::<usize>());
        let place = position.map_or(String::new(), |start| format!(" at character {start}"));
        let message = format!("expected Unicode text, found a lone surrogate{place}");
        invalid_text(py, index, &message)
    })
}

/// Texts in the layout of Arrow's `large_utf8`: one buffer, and the offset of each text and of the
/// end.
#[derive(Debug)]
pub(crate) struct Column<'py> {
    data: PyReadonlyArray1<'py, u8>,
    offsets: PyReadonlyArray1<'py, i64>,
    /// False for a null; `None` if there are none.
    valid: Option<PyReadonlyArray1<'py, bool>>,
}

impl<'py> Column<'py> {
    /// Creates a column of three buffers.
    pub(crate) fn new(
        data: PyReadonlyArray1<'py, u8>,
        offsets: PyReadonlyArray1<'py, i64>,
        valid: Option<PyReadonlyArray1<'py, bool>>,
    ) -> Self {
        Self {
            data,
            offsets,
            valid,
        }
    }

    /// Returns the number of rows, nulls included.
    pub(crate) fn rows(&self) -> PyResult<usize> {
        Ok(self.offsets.as_slice()?.len().saturating_sub(1))
    }

    /// Returns the texts with their rows, without the nulls.
    ///
    /// # Errors
    /// If offsets leave the buffer, or a text is not UTF-8.
    pub(crate) fn texts(&self, py: Python<'_>) -> PyResult<(Vec<usize>, Vec<&str>)> {
        let (data, offsets) = (self.data.as_slice()?, self.offsets.as_slice()?);
        let valid = self.valid.as_ref().map(PyReadonlyArray1::as_slice);
        let valid = valid.transpose()?;
        if valid.is_some_and(|valid| valid.len() + 1 != offsets.len()) {
            return Err(invalid("column: expected one validity for each row"));
        }
        let (mut rows, mut texts) = (Vec::new(), Vec::new());
        for (row, ends) in offsets.windows(2).enumerate() {
            if valid.is_some_and(|valid| !valid[row]) {
                continue;
            }
            let ends = (usize::try_from(ends[0]), usize::try_from(ends[1]));
            let bytes = match ends {
                (Ok(start), Ok(end)) => data.get(start..end),
                _ => None,
            };
            let Some(bytes) = bytes else {
                return Err(invalid_text(py, row, "offsets leave the column's buffer"));
            };
            let Ok(text) = str::from_utf8(bytes) else {
                return Err(invalid_text(py, row, "expected UTF-8"));
            };
            rows.push(row);
            texts.push(text);
        }
        Ok((rows, texts))
    }
}

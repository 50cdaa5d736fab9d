//! Python exceptions for the errors of albert-tasks.
//!
//! The classes are defined in Python, `albert_candle/_errors.py`.

use std::error::Error as _;

use albert_tasks::Error;
use pyo3::prelude::*;

mod classes {
    #![allow(unreachable_pub, missing_docs)]
    pyo3::import_exception!(albert_candle._errors, AlbertError);
    pyo3::import_exception!(albert_candle._errors, HubError);
}
use classes::{AlbertError, HubError};

/// Creates an `AlbertError` with a message.
pub(crate) fn invalid(message: impl Into<String>) -> PyErr {
    AlbertError::new_err(message.into())
}

/// Creates an `AlbertError` about the text at `index`.
pub(crate) fn invalid_text(py: Python<'_>, index: usize, message: &str) -> PyErr {
    let error = invalid(format!("text {index}: {message}"));
    with_index(py, error, index)
}

/// Stores the index of a text in its exception.
pub(crate) fn with_index(py: Python<'_>, error: PyErr, index: usize) -> PyErr {
    match error.value(py).setattr("index", index) {
        Ok(()) => error,
        Err(failed) => failed,
    }
}

/// Converts an error, with its hint.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    raise_with(py, error, message(error))
}

/// Converts an error about the text at `index`.
pub(crate) fn raise_for_text(py: Python<'_>, error: &Error, index: usize) -> PyErr {
    let raised = raise_with(py, error, format!("text {index}: {}", message(error)));
    with_index(py, raised, index)
}

/// Returns true if an error is about one of the texts, whichever options are used.
pub(crate) fn is_about_text(error: &Error) -> bool {
    matches!(
        error,
        Error::Tokenize(_)
            | Error::TokenId { .. }
            | Error::NoMask(_)
            | Error::MaskTruncated { .. }
            | Error::TargetTooLong { .. }
    )
}

fn raise_with(py: Python<'_>, error: &Error, message: String) -> PyErr {
    let raised = match error {
        Error::Hub(_) => HubError::new_err(message),
        _ => AlbertError::new_err(message),
    };
    match error.hint() {
        Some(hint) => match raised.value(py).setattr("hint", hint) {
            Ok(()) => raised,
            Err(failed) => failed,
        },
        None => raised,
    }
}

/// Returns the messages of an error and of its sources.
fn message(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

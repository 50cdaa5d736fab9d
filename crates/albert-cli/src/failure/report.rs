//! The form in which an error is shown.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use albert_model::candle_core;

use super::hints::{data_hint, hint_for};
use super::{ClosedPipe, Hinted, Interrupted, USAGE, Usage, causes};

/// An error in the form in which it is shown: the `error:` line, the `hint:` line and the exit
/// code.
#[derive(Debug, PartialEq)]
pub(crate) struct Report {
    /// The causes, outermost first, joined by colons.
    pub(crate) message: String,
    /// A suggested remedy.
    pub(crate) hint: Option<String>,
    /// 2 for wrong usage, 128 plus the signal's number for a signal, else 1.
    pub(crate) code: u8,
}

impl Report {
    /// Creates a report of an error; `None` for a closed pipe, which is not a failure.
    pub(crate) fn new(error: &anyhow::Error) -> Option<Self> {
        let mut parts: Vec<String> = Vec::new();
        let mut hint = None;
        let mut code = 1;
        for cause in causes(error) {
            if cause.is::<ClosedPipe>() {
                return None;
            }
            if let Some(hinted) = cause.downcast_ref::<Hinted>() {
                hint.get_or_insert_with(|| hinted.hint.clone());
                continue;
            }
            if let Some(error) = cause.downcast_ref::<albert_data::Error>() {
                hint = hint.or_else(|| data_hint(error));
            }
            if let Some(error) = cause.downcast_ref::<albert_tasks::Error>() {
                hint = hint.or_else(|| hint_for(error));
            }
            if cause.is::<Usage>() {
                code = USAGE;
            }
            if let Some(interrupted) = cause.downcast_ref::<Interrupted>() {
                code = interrupted.code;
            }
            let text = plain(cause);
            // Some libraries repeat their source in their own text: show it once.
            if !parts.last().is_some_and(|last| last.ends_with(&text)) {
                parts.push(text);
            }
        }
        Some(Self {
            message: printable(&parts.join(": ")),
            hint: hint.as_deref().map(printable),
            code,
        })
    }

    /// Returns the text of an error for a row that `--skip-bad` writes.
    pub(crate) fn message(error: &anyhow::Error) -> String {
        match Self::new(error) {
            Some(report) => report.message,
            None => ClosedPipe.to_string(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Escapes control characters: names from files and from the Hub must not drive the terminal.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => shown.push(c),
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}

/// Returns the text of one cause: a system error without its trailing number, a Candle error
/// without the backtrace that RUST_BACKTRACE adds.
fn plain(cause: &(dyn StdError + 'static)) -> String {
    use albert_tasks::Error;
    if let Some(Error::Compute(error) | Error::Model(albert_model::Error::Candle(error))) =
        cause.downcast_ref()
    {
        return computation(error);
    }
    if let Some(error) = cause.downcast_ref() {
        return computation(error);
    }
    let text = cause.to_string();
    if !cause.is::<io::Error>() {
        return text;
    }
    match text.find(" (os error ") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}

/// Returns a Candle error on one line.
fn computation(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => computation(inner),
        candle_core::Error::WithPath { inner, path } => {
            format!("`{}`: {}", path.display(), computation(inner))
        }
        candle_core::Error::Context { inner, context } => {
            format!("{context}: {}", computation(inner))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{Hint, carried, usage};
    use anyhow::Context;

    fn report(error: anyhow::Error) -> Report {
        Report::new(&error).unwrap()
    }

    #[test]
    fn causes_are_joined_outermost_first() {
        let error = anyhow::anyhow!("inner").context("outer");
        assert_eq!(report(error).to_string(), "error: outer: inner");
    }

    #[test]
    fn a_hint_keeps_the_message_and_adds_a_line() {
        let error = anyhow::anyhow!("inner").hint("do this").context("outer");
        let report = report(error);
        assert_eq!(report.to_string(), "error: outer: inner\nhint: do this");
        assert_eq!(report.code, 1);
    }

    #[test]
    fn usage_is_found_below_a_hint_and_a_context() {
        let error = usage("wrong").hint("right").context("while reading");
        assert_eq!(report(error).code, 2);
    }

    #[test]
    fn the_outermost_hint_wins() {
        let error = anyhow::anyhow!("inner")
            .hint("second")
            .context("outer")
            .hint("first");
        assert_eq!(report(error).hint.as_deref(), Some("first"));
    }

    #[test]
    fn a_closed_pipe_is_no_failure_however_deep() {
        let error = anyhow::Error::from(ClosedPipe)
            .context("row 3")
            .hint("nothing");
        assert_eq!(Report::new(&error), None);
    }

    #[test]
    fn a_usage_error_keeps_its_code_and_hint_on_the_way_through_a_library() {
        let error = usage("wrong").hint("right");
        let report = report(carried(error).context("line 1").into());
        assert_eq!(report.to_string(), "error: line 1: wrong\nhint: right");
        assert_eq!(report.code, 2);
    }

    #[test]
    fn the_number_of_a_system_error_is_left_out() {
        let missing = std::fs::File::open("/no/such/file").context("cannot open `x`");
        let text = report(missing.unwrap_err()).message;
        assert_eq!(text, "cannot open `x`: no such file or directory");
    }

    #[test]
    fn candles_errors_stay_on_one_line() {
        let error = candle_core::Error::Msg("no such id".to_string());
        let backtrace = Box::new(std::backtrace::Backtrace::force_capture());
        let error = candle_core::Error::WithBacktrace {
            inner: Box::new(error),
            backtrace,
        };
        let bare = report(error.context("layer 3").into());
        assert_eq!(bare.message, "layer 3: no such id");
        let error = candle_core::Error::Msg("no such id".to_string()).bt();
        assert_eq!(
            report(albert_tasks::Error::Compute(error).into()).message,
            "no such id"
        );
    }

    #[test]
    fn a_source_that_its_parent_already_names_is_said_once() {
        let error = anyhow::anyhow!("no such tensor").context("cannot load: no such tensor");
        assert_eq!(report(error).message, "cannot load: no such tensor");
    }
}

//! Reports a panic as a bug: on one line, with exit code 1.
//!
//! Panics that a library turns into errors, such as those of the tokenizers crate on a broken file,
//! are not printed here.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, PoisonError};

use crate::failure::Hint;

/// Runs `work` and turns a panic inside it into an error.
pub(crate) fn contain(work: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let last = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&last);
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        // One line with the message, which may have several, and its location in the source.
        let text = panic
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        *seen.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    result.unwrap_or_else(|_| {
        let text = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Err(anyhow::anyhow!("internal error: {text}")
            .hint("this is a bug in albert-cli: please report it"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Report;

    #[test]
    fn a_panic_is_an_error_of_one_line_that_asks_for_a_report() {
        let error = contain(|| panic!("first\nsecond")).unwrap_err();
        let report = Report::new(&error).unwrap();
        assert!(
            report.message.starts_with("internal error: panicked at "),
            "{}",
            report.message
        );
        assert!(
            report.message.ends_with("first second"),
            "{}",
            report.message
        );
        assert_eq!(report.code, 1);
        assert!(report.hint.unwrap().contains("report"));
    }

    #[test]
    fn what_does_not_panic_is_left_as_it_is() {
        assert!(contain(|| Ok(())).is_ok());
        assert_eq!(
            contain(|| anyhow::bail!("no")).unwrap_err().to_string(),
            "no"
        );
    }
}

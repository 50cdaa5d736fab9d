//! The failures of a run: wrong usage (exit code 2), other failures (exit code 1), and the hint
//! that may follow either.
//!
//! They are wrappers inside an [`anyhow::Error`], so that any function can attach them with `?` on
//! the way up; at the end [`Report`] takes the chain apart again.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use albert_model::candle_core;

/// The exit code of wrong usage.
pub(crate) const USAGE: u8 = 2;

/// An error together with a suggested remedy.
#[derive(Debug)]
struct Hinted {
    hint: String,
    error: anyhow::Error,
}

impl fmt::Display for Hinted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hint)
    }
}

impl StdError for Hinted {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.error.as_ref())
    }
}

/// Attaches a hint to an error.
pub(crate) trait Hint {
    /// Adds a suggested remedy to an error, or to the error of a result.
    #[must_use]
    fn hint(self, hint: impl Into<String>) -> Self;
}

impl Hint for anyhow::Error {
    fn hint(self, hint: impl Into<String>) -> Self {
        Hinted {
            hint: hint.into(),
            error: self,
        }
        .into()
    }
}

impl<T> Hint for anyhow::Result<T> {
    fn hint(self, hint: impl Into<String>) -> Self {
        self.map_err(|error| error.hint(hint))
    }
}

/// An error of the command line on its way through a library that knows other errors only.
#[derive(Debug)]
struct Carried(anyhow::Error);

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Carried {}

/// Wraps an error for the way through albert-data; [`Report`] unwraps it.
pub(crate) fn carried(error: anyhow::Error) -> albert_data::Error {
    albert_data::Error::other(Carried(error))
}

/// Returns an error's causes, outermost first, with those of a carried error in its place.
fn causes(error: &anyhow::Error) -> Vec<&(dyn StdError + 'static)> {
    let mut causes = Vec::new();
    for cause in error.chain() {
        if let Some(Carried(error)) = cause.downcast_ref() {
            // The library's error around it has the same text.
            causes.pop();
            causes.extend(self::causes(error));
            break;
        }
        causes.push(cause);
    }
    causes
}

/// A mistake in the command line: exit code 2.
#[derive(Debug)]
struct Usage(String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Usage {}

/// The reader closed standard output, as `head` does: the run ends early, without an error.
#[derive(Debug)]
pub(crate) struct ClosedPipe;

impl fmt::Display for ClosedPipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl StdError for ClosedPipe {}

/// A signal ended the run early; the output is complete up to that point.
#[derive(Debug)]
pub(crate) struct Interrupted {
    pub(crate) message: String,
    /// 128 plus the signal's number.
    pub(crate) code: u8,
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Interrupted {}

/// Returns an error about the command line itself.
pub(crate) fn usage(message: impl Into<String>) -> anyhow::Error {
    Usage(message.into()).into()
}

/// Returns the error of a table format that this build does not support.
#[cfg(not(feature = "parquet"))]
pub(crate) fn without_tables(format: &str) -> anyhow::Error {
    anyhow::anyhow!("format `{format}`: this build lacks the feature `parquet`")
        .hint("build with `cargo build --release --features parquet`, or use jsonl or csv")
}

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

/// Returns a hint about a library's error in terms of the command line, or else the library's own
/// hint.
fn hint_for(error: &albert_tasks::Error) -> Option<String> {
    use albert_model::Error as ModelError;
    use albert_tasks::Error;
    #[cfg(feature = "hub")]
    use albert_tasks::HubError;
    let hint = match error {
        Error::Model(ModelError::MissingHead { served, .. }) => {
            let commands: Vec<&str> = served
                .iter()
                .flat_map(|&head| commands(head))
                .copied()
                .collect();
            return Some(format!("this model serves {}", commands.join(", ")));
        }
        Error::Model(ModelError::OtherClassifier { found, .. }) => {
            return Some(format!("this model serves {}", commands(*found).join(", ")));
        }
        #[cfg(feature = "hub")]
        Error::Hub(HubError::Revision(_) | HubError::NoRevision { .. }) => {
            "leave `--revision` out for the branch `main`"
        }
        #[cfg(feature = "hub")]
        Error::Hub(HubError::Offline { .. }) => {
            "run `albert-cli download` once with a network, without `--offline` and HF_HUB_OFFLINE"
        }
        Error::NoHub(_) => {
            "build with `--features hub`, or download the model's files into a folder and pass it"
        }
        Error::OutOfMemory { .. } => {
            "truncate texts with `--max-length`, use `--dtype bf16`, or free GPU memory (`nvidia-smi` lists the processes that hold it)"
        }
        Error::UnknownTarget(_) => "`tokenize` shows the pieces of a text",
        Error::NoPooler => "choose another pooling, such as mean or cls",
        error if error.is_out_of_memory() => {
            "free GPU memory (`nvidia-smi` lists the processes that hold it), or use `--device cpu`"
        }
        error => return error.hint(),
    };
    Some(hint.to_string())
}

/// Returns the commands whose tasks a model with this head can do.
fn commands(head: albert_model::Head) -> &'static [&'static str] {
    use albert_model::Head;
    match head {
        Head::Encoder => &["embed", "similarity", "search", "neighbors"],
        Head::MaskedLm => &["fill-mask", "score"],
        Head::PreTraining | Head::NextSentence => &["order"],
        Head::SequenceClassification => &["classify", "zero-shot", "rerank"],
        Head::TokenClassification => &["tag"],
        Head::QuestionAnswering => &["answer"],
        Head::MultipleChoice => &["choose"],
        _ => &[],
    }
}

/// Returns the remedy for an error of reading, in the words of the command line.
fn data_hint(error: &albert_data::Error) -> Option<String> {
    if let Some(separator) = error.other_separator() {
        return Some(separator_hint(separator));
    }
    let hint = if error.is_cut_short() {
        "the run that wrote it was interrupted: run it again"
    } else if error.is_integer_vectors() {
        "vectors that `embed --precision` wrote cannot be compared: write them without it"
    } else {
        error.hint()?
    };
    Some(hint.to_string())
}

/// Returns a hint that names the option for a file with this separator.
fn separator_hint(separator: char) -> String {
    match separator {
        '\t' => "its separator looks like a tab: use `--input-format tsv`".to_string(),
        ',' => "its separator looks like a comma: use `--input-format csv`".to_string(),
        other => format!("its separator looks like `{other}`: use `--delimiter '{other}'`"),
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

//! Answers to a command line that names no work: help, the version, and mistakes.

use std::process::ExitCode;

use clap::error::ErrorKind::{
    DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
};

use crate::failure::{Report, USAGE};
use crate::output::print_to_stdout;
use crate::progress::Talk;

/// Shows a message of clap and returns the exit code: help and version as clap writes them, a
/// mistake in the words of our own errors, whose advice is a `hint:` and no `tip:`.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // Help is data like any other: it is an error if it cannot be written.
        DisplayHelp | DisplayVersion => match print_to_stdout(|| error.print()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => match Report::new(&error) {
                Some(report) => {
                    Talk::new(false).say(&report);
                    ExitCode::from(report.code)
                }
                None => ExitCode::SUCCESS,
            },
        },
        DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to report to if standard error itself is gone.
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            Talk::new(false).say(hinted(&error.render().to_string()).trim_end());
            ExitCode::from(USAGE)
        }
    }
}

/// Turns the advice of clap into a hint.
fn hinted(text: &str) -> String {
    text.replace("\n\n  tip: ", "\nhint: ")
        .replace("\n  tip: ", "\nhint: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claps_advice_is_a_hint_below_the_error() {
        let long = "error: invalid value 'a'\n  [possible values: ab, b]\n\n  tip: a similar value exists: 'ab'\n\nMore";
        let error = "error: invalid value 'a'\n  [possible values: ab, b]\n";
        assert_eq!(
            hinted(long),
            format!("{error}hint: a similar value exists: 'ab'\n\nMore")
        );
        assert_eq!(hinted("error: b\n\nUsage: c\n"), "error: b\n\nUsage: c\n");
    }
}

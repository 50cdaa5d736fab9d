//! Handles command lines that run no command: help, the version, and mistakes.

use std::process::ExitCode;

use clap::error::ErrorKind::{
    DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion,
};

use crate::failure::{Report, USAGE};
use crate::output::print_to_stdout;
use crate::progress::Talk;

/// Shows a message of clap and returns the exit code. Help and version stay as clap formats them; a
/// mistake gets the form of our own errors, with `hint:` instead of `tip:`.
pub(crate) fn explain(error: &clap::Error) -> ExitCode {
    match error.kind() {
        // Help is data: it is an error if it cannot be written.
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
            // A failure to write to standard error cannot be reported.
            let _ = error.print();
            ExitCode::from(USAGE)
        }
        _ => {
            Talk::new(false).say(hinted(&error.render().to_string()).trim_end());
            ExitCode::from(USAGE)
        }
    }
}

/// Turns clap's tip into a hint.
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

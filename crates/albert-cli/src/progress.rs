//! Messages on standard error: notes, warnings, the progress bar, and the final summary.
//!
//! `--quiet` silences all of them. A failure to write them never fails a run: a closed standard
//! error is ignored.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Standard error, or nothing when quiet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Talk {
    quiet: bool,
}

impl Talk {
    /// Creates the messages of a run, which `--quiet` silences.
    pub(crate) fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Returns true unless `--quiet` silences it.
    pub(crate) fn is_heard(self) -> bool {
        !self.quiet
    }

    /// Writes one line to standard error.
    pub(crate) fn say(self, line: impl Display) {
        if !self.quiet {
            // A failure to write to standard error cannot be reported.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

const BAR: &str = "[{bar:30}] {percent:>3}%  {msg}  {elapsed} so far, {eta} left";
#[cfg(any(feature = "hub", test))]
const TRANSFER: &str = "[{bar:30}] {percent:>3}%  {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}, {eta} left";
const SPINNER: &str = "{spinner} {msg}  {elapsed} so far";

/// The extent of the input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Extent {
    /// Too short for a bar.
    Short,
    /// A number of bytes.
    Bytes(u64),
    /// A stream of unknown length.
    Unknown,
}

/// A progress bar, invisible unless standard error is a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    talk: Talk,
}

impl Progress {
    /// Starts the bar. `crowded`: the rows are also written to the terminal.
    pub(crate) fn new(talk: Talk, extent: Extent, crowded: bool) -> Self {
        let visible = !talk.quiet && !crowded && io::stderr().is_terminal();
        let bar = match extent {
            Extent::Bytes(bytes) if visible => ProgressBar::new(bytes).with_style(style(BAR)),
            Extent::Unknown if visible => ProgressBar::new_spinner().with_style(style(SPINNER)),
            _ => ProgressBar::hidden(),
        };
        if visible && extent != Extent::Short {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self { bar, talk }
    }

    /// Shows that `rows` rows are done and `bytes` bytes of the input have been read.
    pub(crate) fn update(&self, rows: usize, bytes: u64) {
        self.bar.set_message(format!("{rows} rows"));
        self.bar.set_position(bytes);
    }

    /// Writes a line without tearing the bar.
    pub(crate) fn say(&self, line: impl Display) {
        self.bar.suspend(|| self.talk.say(line));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// Removes the bar, even if the run fails.
    fn drop(&mut self) {
        self.finish();
    }
}

#[cfg(feature = "train")]
const STEPS: &str = "[{bar:30}] {pos}/{len}  {msg}  {elapsed} so far, {eta} left";

#[cfg(feature = "train")]
const SECONDS: &str = "[{bar:30}] step {prefix}  {msg}  {elapsed} so far, {eta} left";

/// The bar of a training run, invisible unless standard error is a terminal.
#[cfg(feature = "train")]
#[derive(Debug)]
pub(crate) struct Steps {
    bar: ProgressBar,
    talk: Talk,
    /// The start of a run whose length is a time, and the time that it had taken before.
    timed_from: Option<(std::time::Instant, Duration)>,
}

#[cfg(feature = "train")]
impl Steps {
    /// Starts the bar of a run of `steps` steps, `done` of them taken before.
    pub(crate) fn new(talk: Talk, steps: u64, done: u64) -> Self {
        let bar = if !talk.quiet && io::stderr().is_terminal() {
            ProgressBar::new(steps)
                .with_style(style(STEPS))
                .with_position(done)
        } else {
            ProgressBar::hidden()
        };
        bar.reset_eta();
        let timed_from = None;
        Self {
            bar,
            talk,
            timed_from,
        }
    }

    /// Starts the bar of a run that takes `time`, `done` of it taken before.
    pub(crate) fn with_time(talk: Talk, time: Duration, done: Duration) -> Self {
        let mut steps = Self::new(talk, time.as_secs(), done.as_secs());
        if steps.is_visible() {
            steps.bar.set_style(style(SECONDS));
        }
        steps.timed_from = Some((std::time::Instant::now(), done));
        steps
    }

    /// Returns true if the bar is visible.
    pub(crate) fn is_visible(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows the loss and the speed after a step.
    pub(crate) fn update(&self, step: u64, loss: f64, tokens_per_second: f64) {
        self.bar
            .set_message(format!("loss {loss:.3}, {tokens_per_second:.0} tokens/s"));
        match self.timed_from {
            Some((start, done)) => {
                self.bar.set_prefix(step.to_string());
                self.bar.set_position((start.elapsed() + done).as_secs());
            }
            None => self.bar.set_position(step),
        }
    }

    /// Writes a line without tearing the bar.
    pub(crate) fn say(&self, line: impl Display) {
        self.bar.suspend(|| self.talk.say(line));
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(feature = "train")]
impl Drop for Steps {
    fn drop(&mut self) {
        self.finish();
    }
}

/// The bar of a file that is downloaded, invisible unless standard error is a terminal.
#[cfg(feature = "hub")]
#[derive(Debug)]
pub(crate) struct Transfer {
    bar: ProgressBar,
    talk: Talk,
}

#[cfg(feature = "hub")]
impl Transfer {
    /// Starts the bar of a file of `total` bytes.
    pub(crate) fn new(talk: Talk, total: Option<u64>) -> Self {
        let visible = !talk.quiet && io::stderr().is_terminal();
        let bar = match total {
            Some(total) if visible => ProgressBar::new(total).with_style(style(TRANSFER)),
            _ => ProgressBar::hidden(),
        };
        Self { bar, talk }
    }

    /// Shows that `bytes` bytes have arrived.
    pub(crate) fn update(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// Writes a line without tearing the bar.
    pub(crate) fn say(&self, line: impl Display) {
        self.bar.suspend(|| self.talk.say(line));
    }
}

#[cfg(feature = "hub")]
impl Drop for Transfer {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Formats a number of rows: `1 row`, `2 rows`.
pub(crate) fn rows(count: usize) -> String {
    format!("{count} {}", if count == 1 { "row" } else { "rows" })
}

/// Formats a number of bytes: `47.4 MB`.
pub(crate) fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates are constants of this file")
        .progress_chars("=> ")
}

/// Counts of a run.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub(crate) struct Tally {
    /// Rows written, bad ones included.
    pub(crate) rows: usize,
    /// Rows without a result.
    pub(crate) bad: usize,
    /// Tokens that entered the model; `None` if the task does not count them.
    pub(crate) tokens: Option<usize>,
    /// Texts truncated to the model's limit; `None` if the task never truncates.
    pub(crate) truncated: Option<usize>,
    /// The time from the first row to the last.
    pub(crate) elapsed: Duration,
}

impl Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A run too short for the clock has no meaningful rate; avoid a division by zero.
        let seconds = self.elapsed.as_secs_f64().max(1e-6);
        write!(f, "{}", rows(self.rows))?;
        if self.bad > 0 {
            write!(f, " ({} bad)", self.bad)?;
        }
        if let Some(tokens) = self.tokens {
            write!(f, ", {tokens} tokens")?;
        }
        if let Some(truncated) = self.truncated {
            write!(f, ", {truncated} truncated")?;
        }
        let (count, unit) = match self.tokens {
            Some(tokens) => (tokens, "tokens"),
            None => (self.rows, "rows"),
        };
        write!(
            f,
            ", {seconds:.2} s, {:.0} {unit}/s",
            count as f64 / seconds
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_rows_tokens_and_time() {
        let tally = Tally {
            rows: 3,
            bad: 1,
            tokens: Some(20),
            truncated: Some(2),
            elapsed: Duration::from_millis(500),
        };
        assert_eq!(
            tally.to_string(),
            "3 rows (1 bad), 20 tokens, 2 truncated, 0.50 s, 40 tokens/s"
        );
    }

    #[test]
    fn nothing_in_no_time_is_no_division_by_zero() {
        assert_eq!(Tally::default().to_string(), "0 rows, 0.00 s, 0 rows/s");
    }

    #[test]
    fn the_bars_of_every_extent_can_be_drawn() {
        for template in [BAR, TRANSFER, SPINNER] {
            style(template);
        }
        let progress = Progress::new(Talk::new(true), Extent::Unknown, false);
        progress.update(1, 2);
        progress.finish();
    }
}

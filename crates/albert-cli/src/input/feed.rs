//! Lines in windows: enough of them to fill batches well, few enough to keep memory constant.
//!
//! A file is read as the work goes on. A pipe is read by a thread of its own, so that a window can
//! end early when its writer pauses: who writes one line and waits gets that line's answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use super::{Line, Lines};

/// How long a pipe may be silent before the lines at hand are worked on.
const LULL: Duration = Duration::from_millis(100);

/// How many lines the thread may be ahead of the work.
const AHEAD: usize = 64;

/// When a window is full.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    /// At this many lines,
    pub(crate) rows: usize,
    /// or at this many bytes of text, whichever comes first.
    pub(crate) bytes: usize,
}

impl Window {
    /// A window that fills several batches of so many tokens.
    pub(crate) fn of_batches(batch_tokens: usize) -> Self {
        /// Several batches a window: texts of like length can be put together.
        const BATCHES: usize = 4;
        /// English takes a little more than four bytes a token.
        const BYTES_PER_TOKEN: usize = 4;
        let tokens = batch_tokens.clamp(256, 1 << 20) * BATCHES;
        Self { rows: tokens / 4, bytes: tokens * BYTES_PER_TOKEN }
    }
}

/// Lines, a window at a time.
pub(crate) enum Feed {
    /// Read here, when asked.
    Direct(Lines),
    /// Read by a thread.
    Paced(Receiver<anyhow::Result<Line>>),
}

impl Feed {
    pub(super) fn new(lines: Lines, paced: bool) -> Self {
        if !paced {
            return Self::Direct(lines);
        }
        let (sender, receiver) = sync_channel(AHEAD);
        thread::spawn(move || {
            let read = AssertUnwindSafe(|| {
                for line in lines {
                    let last = line.is_err();
                    if sender.send(line).is_err() || last {
                        return;
                    }
                }
            });
            // A panic must not look like the end of the input.
            if catch_unwind(read).is_err() {
                let _ = sender.send(Err(anyhow::anyhow!("internal error: reading the input panicked")));
            }
        });
        Self::Paced(receiver)
    }

    /// The next lines; none at the end of the input.
    ///
    /// # Errors
    /// If reading fails; the lines before the failure come first, in a window of their own.
    pub(crate) fn window(&mut self, window: Window) -> (Vec<Line>, anyhow::Result<()>) {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < window.rows && bytes < window.bytes {
            match self.next(lines.is_empty()) {
                Some(Ok(line)) => {
                    bytes += line.text.as_ref().map_or(0, super::Text::len);
                    lines.push(line);
                }
                Some(Err(error)) => return (lines, Err(error)),
                None => break,
            }
        }
        (lines, Ok(()))
    }

    /// The next line, waiting for it only if it is the first of a window.
    fn next(&mut self, first: bool) -> Option<anyhow::Result<Line>> {
        match self {
            Self::Direct(lines) => lines.next(),
            Self::Paced(receiver) if first => receiver.recv().ok(),
            Self::Paced(receiver) => receiver.recv_timeout(LULL).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Text};
    use super::*;

    fn line(text: &str) -> anyhow::Result<Line> {
        let text = Ok(Text { text: text.to_string(), pair: None });
        Ok(Line { place: Place::OnlyArgument, text })
    }

    fn sizes(lines: Vec<anyhow::Result<Line>>, paced: bool, window: Window) -> Vec<usize> {
        let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
        let mut sizes = Vec::new();
        loop {
            let (lines, end) = feed.window(window);
            end.unwrap();
            if lines.is_empty() {
                return sizes;
            }
            sizes.push(lines.len());
        }
    }

    #[test]
    fn a_window_ends_at_its_rows_or_its_bytes() {
        for paced in [false, true] {
            let short = || (0..5).map(|_| line("ab")).collect();
            assert_eq!(sizes(short(), paced, Window { rows: 2, bytes: 100 }), [2, 2, 1]);
            assert_eq!(sizes(short(), paced, Window { rows: 9, bytes: 5 }), [3, 2]);
        }
    }

    #[test]
    fn one_text_larger_than_the_window_is_a_window() {
        let window = Window { rows: 9, bytes: 1 };
        assert_eq!(sizes(vec![line("long"), line("long")], false, window), [1, 1]);
    }

    #[test]
    fn a_failure_comes_after_the_lines_before_it() {
        for paced in [false, true] {
            let lines = vec![line("a"), Err(anyhow::anyhow!("disk"))];
            let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
            let (lines, end) = feed.window(Window { rows: 9, bytes: 9 });
            assert_eq!(lines.len(), 1);
            assert!(end.is_err());
        }
    }

    #[test]
    fn a_pause_ends_the_window() {
        let (sender, receiver) = sync_channel(4);
        sender.send(line("a")).unwrap();
        let mut feed = Feed::Paced(receiver);
        let (lines, _) = feed.window(Window { rows: 9, bytes: 9 });
        assert_eq!(lines.len(), 1);
        drop(sender);
        assert!(feed.window(Window { rows: 9, bytes: 9 }).0.is_empty());
    }
}

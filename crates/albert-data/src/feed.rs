//! Lines in windows: enough of them to fill batches well, few enough to keep memory constant.
//!
//! A file is read as the work goes on. A pipe is read by a thread of its own, so that a window can
//! end early when its writer pauses: who writes one line and waits gets that line's answer.

use std::fmt;
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
pub struct Window {
    /// At this many lines,
    pub rows: usize,
    /// or at this many bytes of text, whichever comes first.
    pub bytes: usize,
    /// How many windows are worked on at a time.
    pub at_once: usize,
}

/// Lines, a window at a time.
#[derive(Debug)]
pub struct Feed(Way);

/// Where the lines are read.
enum Way {
    /// Here, when asked.
    Direct(Lines),
    /// By a thread.
    Paced(Receiver<anyhow::Result<Line>>),
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct(_) => "Direct",
            Self::Paced(_) => "Paced",
        })
    }
}

/// How long to wait for a line.
#[derive(Debug, Clone, Copy)]
enum Patience {
    Endless,
    ALull,
    None,
}

impl Feed {
    pub(super) fn new(lines: Lines, paced: bool) -> Self {
        if !paced {
            return Self(Way::Direct(lines));
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
                let _ = sender.send(Err(anyhow::anyhow!(
                    "internal error: reading the input panicked"
                )));
            }
        });
        Self(Way::Paced(receiver))
    }

    /// The next lines; none at the end of the input, or if a pipe has none yet and waiting for them
    /// is not wanted.
    ///
    /// # Errors
    /// If reading fails; the lines before the failure come first, in a window of their own.
    pub fn window(&mut self, window: Window, may_wait: bool) -> (Vec<Line>, anyhow::Result<()>) {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < window.rows && bytes < window.bytes {
            let patience = match (lines.is_empty(), may_wait) {
                (true, true) => Patience::Endless,
                (true, false) => Patience::None,
                (false, _) => Patience::ALull,
            };
            match self.next(patience) {
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

    /// The next line, waiting for a pipe's no longer than that.
    fn next(&mut self, patience: Patience) -> Option<anyhow::Result<Line>> {
        match (&mut self.0, patience) {
            (Way::Direct(lines), _) => lines.next(),
            (Way::Paced(receiver), Patience::Endless) => receiver.recv().ok(),
            (Way::Paced(receiver), Patience::ALull) => receiver.recv_timeout(LULL).ok(),
            (Way::Paced(receiver), Patience::None) => receiver.try_recv().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, Text};
    use super::*;

    fn line(text: &str) -> anyhow::Result<Line> {
        let text = Ok(Text {
            text: text.to_string(),
            pair: None,
        });
        Ok(Line {
            place: Place::OnlyArgument,
            text,
        })
    }

    fn of(rows: usize, bytes: usize) -> Window {
        Window {
            rows,
            bytes,
            at_once: 1,
        }
    }

    fn sizes(lines: Vec<anyhow::Result<Line>>, paced: bool, window: Window) -> Vec<usize> {
        let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
        let mut sizes = Vec::new();
        loop {
            let (lines, end) = feed.window(window, true);
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
            assert_eq!(sizes(short(), paced, of(2, 100)), [2, 2, 1]);
            assert_eq!(sizes(short(), paced, of(9, 5)), [3, 2]);
        }
    }

    #[test]
    fn one_text_larger_than_the_window_is_a_window() {
        let window = of(9, 1);
        assert_eq!(
            sizes(vec![line("long"), line("long")], false, window),
            [1, 1]
        );
    }

    #[test]
    fn a_failure_comes_after_the_lines_before_it() {
        for paced in [false, true] {
            let lines = vec![line("a"), Err(anyhow::anyhow!("disk"))];
            let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
            let (lines, end) = feed.window(of(9, 9), true);
            assert_eq!(lines.len(), 1);
            assert!(end.is_err());
        }
    }

    #[test]
    fn a_pause_ends_the_window() {
        let (sender, receiver) = sync_channel(4);
        sender.send(line("a")).unwrap();
        let mut feed = Feed(Way::Paced(receiver));
        let (lines, _) = feed.window(of(9, 9), true);
        assert_eq!(lines.len(), 1);
        let (lines, end) = feed.window(of(9, 9), false);
        assert!(
            lines.is_empty() && end.is_ok(),
            "nothing has come, and nothing was waited for"
        );
        drop(sender);
        assert!(feed.window(of(9, 9), true).0.is_empty());
    }
}

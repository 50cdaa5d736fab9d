//! Lines in windows: enough of them to fill batches well, few enough to keep memory constant.
//!
//! A file is read as the work goes on. A pipe is read by a thread of its own, so that a window can
//! end early when its writer pauses: who writes one line and waits gets that line's answer.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Line;
use crate::reader::Lines;

/// The silence of a pipe after which the lines at hand are worked on.
const LULL: Duration = Duration::from_millis(100);

/// The lines that the thread may be ahead of the work.
const AHEAD_LINES: usize = 64;

/// The bytes of text that it may be ahead, unless a single line has more.
const AHEAD_BYTES: usize = 8 << 20;

/// When a window is full.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// At this many lines,
    pub rows: usize,
    /// or at this many bytes of text, whichever comes first.
    pub bytes: usize,
    /// The number of windows that are worked on at a time.
    pub at_once: usize,
}

/// Lines, a window at a time.
#[derive(Debug)]
pub struct Feed(Way);

/// The two places where lines are read.
enum Way {
    /// Here, when asked.
    Direct(Lines),
    /// By a thread.
    Paced {
        receiver: Receiver<anyhow::Result<Line>>,
        ahead: Ahead,
    },
}

/// Bounds the bytes that are read and not yet taken. Clones share the bound.
#[derive(Clone, Default)]
struct Ahead(Arc<(Mutex<Amount>, Condvar)>);

#[derive(Default)]
struct Amount {
    bytes: usize,
    /// Nobody takes any more.
    is_over: bool,
}

impl Ahead {
    fn amount(&self) -> MutexGuard<'_, Amount> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room for a line.
    fn add(&self, bytes: usize) {
        let is_full = |amount: &mut Amount| {
            let is_full = amount.bytes + bytes > AHEAD_BYTES;
            is_full && amount.bytes > 0 && !amount.is_over
        };
        let waited = self.0.1.wait_while(self.amount(), is_full);
        waited.unwrap_or_else(PoisonError::into_inner).bytes += bytes;
    }

    fn take(&self, bytes: usize) {
        let mut amount = self.amount();
        amount.bytes = amount.bytes.saturating_sub(bytes);
        self.0.1.notify_all();
    }
}

impl Drop for Feed {
    /// Lets a waiting thread go.
    fn drop(&mut self) {
        if let Way::Paced { ahead, .. } = &self.0 {
            ahead.amount().is_over = true;
            ahead.0.1.notify_all();
        }
    }
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct(_) => "Direct",
            Self::Paced { .. } => "Paced",
        })
    }
}

/// The time to wait for a line.
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
        let (sender, receiver) = sync_channel(AHEAD_LINES);
        let ahead = Ahead::default();
        let read_ahead = ahead.clone();
        thread::spawn(move || {
            let read = AssertUnwindSafe(|| {
                for line in lines {
                    let last = line.is_err();
                    read_ahead.add(line.as_ref().map_or(0, Line::size));
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
        Self(Way::Paced { receiver, ahead })
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
                    bytes += line.size();
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
        let (receiver, ahead) = match &mut self.0 {
            Way::Direct(lines) => return lines.next(),
            Way::Paced { receiver, ahead } => (receiver, ahead),
        };
        let line = match patience {
            Patience::Endless => receiver.recv().ok(),
            Patience::ALull => receiver.recv_timeout(LULL).ok(),
            Patience::None => receiver.try_recv().ok(),
        };
        if let Some(Ok(line)) = &line {
            ahead.take(line.size());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{Place, Text};

    fn line(text: &str) -> anyhow::Result<Line> {
        let text = Ok(Text {
            text: text.to_string(),
            ..Text::default()
        });
        Ok(Line {
            place: Place::OnlyArgument,
            text,
            kept: Vec::new(),
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
        let ahead = Ahead::default();
        let mut feed = Feed(Way::Paced { receiver, ahead });
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

    #[test]
    fn few_long_lines_are_read_ahead() {
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let long = "x".repeat(AHEAD_BYTES / 2 + 1);
        let lines = (0..20).map(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            line(&long)
        });
        let mut feed = Feed::new(Box::new(lines), true);
        // Long enough for the thread to read all of them, were it let.
        thread::sleep(2 * LULL);
        // One that waits to be taken, and one for which there is no room.
        assert_eq!(read.load(Ordering::SeqCst), 2);
        let mut taken = 0;
        while !feed.window(of(9, 1), true).0.is_empty() {
            taken += 1;
        }
        assert_eq!(taken, 20);
    }

    #[test]
    fn a_thread_that_waits_for_room_ends_with_its_feed() {
        let (sender, ended) = sync_channel(1);
        let long = "x".repeat(AHEAD_BYTES + 1);
        let mut lines = (0..20).map(move |_| line(&long));
        let lines = std::iter::from_fn(move || {
            // Dropped with the lines, when the thread ends.
            let _sender = &sender;
            lines.next()
        });
        let feed: Feed = Feed::new(Box::new(lines), true);
        thread::sleep(LULL);
        drop(feed);
        let end: Result<(), _> = ended.recv();
        assert!(end.is_err());
    }
}

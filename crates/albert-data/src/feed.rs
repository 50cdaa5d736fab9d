//! Reads lines in chunks: large enough to fill batches well, and small enough to keep memory
//! constant.
//!
//! A file is read on demand. A pipe is read by a separate thread, so that a chunk can end early if
//! the writer pauses: a program that writes one line and waits gets the result for that line.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::Line;
use crate::reader::Lines;

/// The pause of a pipe after which the lines received so far are processed.
const LULL: Duration = Duration::from_millis(100);

/// The number of lines that the thread may read ahead.
const AHEAD_LINES: usize = 64;

/// The bytes of text that it may read ahead, unless a single line has more.
const AHEAD_BYTES: usize = 8 << 20;

/// The size of a chunk: it is full as soon as one of the limits is reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChunkLimits {
    /// The number of lines.
    pub rows: usize,
    /// The number of bytes of text.
    pub bytes: usize,
}

/// Lines, a chunk at a time.
#[derive(Debug)]
pub struct Feed {
    way: Way,
    /// Ends the feed early once it is set.
    stop: Arc<AtomicBool>,
}

/// The two ways to read lines.
enum Way {
    /// On the caller's thread, on demand.
    Direct(Lines),
    /// On a separate thread.
    Paced {
        receiver: Receiver<crate::Result<Line>>,
        ahead: Ahead,
    },
}

/// Bounds the bytes that have been read but not taken. Clones share the bound.
#[derive(Clone, Default)]
struct Ahead(Arc<(Mutex<Amount>, Condvar)>);

#[derive(Default)]
struct Amount {
    bytes: usize,
    /// True if no more lines will be taken.
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
    /// Releases a waiting thread.
    fn drop(&mut self) {
        if let Way::Paced { ahead, .. } = &self.way {
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

/// The maximum time to wait for a line.
#[derive(Debug, Clone, Copy)]
enum Patience {
    Endless,
    Lull,
    None,
}

impl Feed {
    pub(super) fn new(lines: Lines, paced: bool) -> Self {
        let way = if paced {
            Way::read_ahead(lines)
        } else {
            Way::Direct(lines)
        };
        Self {
            way,
            stop: Arc::default(),
        }
    }

    /// Ends the feed once `stop` is set: the next chunk is empty, even if a pipe is still open.
    #[must_use]
    pub fn with_stop(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = stop;
        self
    }

    /// Returns the next lines; none at the end of the input, or if a pipe has none yet and
    /// `may_wait` is false.
    ///
    /// The error, if any, is a failure to read after these lines.
    pub fn chunk(&mut self, limits: ChunkLimits, may_wait: bool) -> (Vec<Line>, crate::Result<()>) {
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < limits.rows && bytes < limits.bytes {
            let patience = match (lines.is_empty(), may_wait) {
                (true, true) => Patience::Endless,
                (true, false) => Patience::None,
                (false, _) => Patience::Lull,
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

    /// Returns the next line, waiting no longer than `patience` for a pipe.
    fn next(&mut self, patience: Patience) -> Option<crate::Result<Line>> {
        let is_stopped = || self.stop.load(Ordering::Relaxed);
        if is_stopped() {
            return None;
        }
        let (receiver, ahead) = match &mut self.way {
            Way::Direct(lines) => return lines.next(),
            Way::Paced { receiver, ahead } => (receiver, ahead),
        };
        let line = match patience {
            Patience::Endless => loop {
                match receiver.recv_timeout(LULL) {
                    Ok(line) => break Some(line),
                    Err(RecvTimeoutError::Timeout) if !is_stopped() => {}
                    Err(_) => break None,
                }
            },
            Patience::Lull => receiver.recv_timeout(LULL).ok(),
            Patience::None => receiver.try_recv().ok(),
        };
        if let Some(Ok(line)) = &line {
            ahead.take(line.size());
        }
        line
    }
}

impl Way {
    /// Starts a thread that reads the lines.
    fn read_ahead(lines: Lines) -> Self {
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
                let _ = sender.send(Err(crate::error::error!(
                    "internal error: reading the input panicked"
                )));
            }
        });
        Self::Paced { receiver, ahead }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::{Place, Text};

    fn line(text: &str) -> crate::Result<Line> {
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

    fn limits(rows: usize, bytes: usize) -> ChunkLimits {
        ChunkLimits { rows, bytes }
    }

    fn paced(receiver: Receiver<crate::Result<Line>>) -> Feed {
        Feed {
            way: Way::Paced {
                receiver,
                ahead: Ahead::default(),
            },
            stop: Arc::default(),
        }
    }

    fn sizes(lines: Vec<crate::Result<Line>>, paced: bool, limits: ChunkLimits) -> Vec<usize> {
        let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
        let mut sizes = Vec::new();
        loop {
            let (lines, end) = feed.chunk(limits, true);
            end.unwrap();
            if lines.is_empty() {
                return sizes;
            }
            sizes.push(lines.len());
        }
    }

    #[test]
    fn a_chunk_ends_at_its_rows_or_its_bytes() {
        for paced in [false, true] {
            let short = || (0..5).map(|_| line("ab")).collect();
            assert_eq!(sizes(short(), paced, limits(2, 100)), [2, 2, 1]);
            assert_eq!(sizes(short(), paced, limits(9, 5)), [3, 2]);
        }
    }

    #[test]
    fn one_text_larger_than_the_limit_is_a_chunk() {
        let lines = vec![line("long"), line("long")];
        assert_eq!(sizes(lines, false, limits(9, 1)), [1, 1]);
    }

    #[test]
    fn a_failure_comes_after_the_lines_before_it() {
        for paced in [false, true] {
            let lines = vec![line("a"), Err(crate::error::error!("disk"))];
            let mut feed = Feed::new(Box::new(lines.into_iter()), paced);
            let (lines, end) = feed.chunk(limits(9, 9), true);
            assert_eq!(lines.len(), 1);
            assert!(end.is_err());
        }
    }

    #[test]
    fn a_pause_ends_the_chunk() {
        let (sender, receiver) = sync_channel(4);
        sender.send(line("a")).unwrap();
        let mut feed = paced(receiver);
        let (lines, _) = feed.chunk(limits(9, 9), true);
        assert_eq!(lines.len(), 1);
        let (lines, end) = feed.chunk(limits(9, 9), false);
        assert!(
            lines.is_empty() && end.is_ok(),
            "no line has come, and the call did not wait for one"
        );
        drop(sender);
        assert!(feed.chunk(limits(9, 9), true).0.is_empty());
    }

    #[test]
    fn a_stop_ends_the_feed_of_an_open_pipe() {
        let (sender, receiver) = sync_channel(4);
        let stop = Arc::new(AtomicBool::new(false));
        let mut feed = paced(receiver).with_stop(Arc::clone(&stop));
        let waiting = thread::spawn(move || feed.chunk(limits(9, 9), true).0.len());
        stop.store(true, Ordering::Relaxed);
        assert_eq!(waiting.join().unwrap(), 0);
        drop(sender);
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
        while !feed.chunk(limits(9, 1), true).0.is_empty() {
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

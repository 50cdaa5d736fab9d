//! SIGINT and SIGTERM while rows are written: the first ends the run with a complete output, the
//! second ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::failure::{Hint, Interrupted};
use crate::progress::Talk;

/// The signal that asks a run to end, if it has come.
#[derive(Debug, Default)]
pub(crate) struct Interruption {
    /// Set with the first signal: no more input is read.
    stop: Arc<AtomicBool>,
    /// The number of the signal, or 0.
    number: Arc<AtomicI32>,
}

/// A signal that asks a process to end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Signal(i32);

impl Interruption {
    /// Starts to watch for the signals. If that is not possible, they end the process as usual.
    pub(crate) fn watch(talk: Talk) -> Self {
        let interruption = Self::default();
        #[cfg(unix)]
        interruption.start(talk);
        #[cfg(not(unix))]
        let _ = talk;
        interruption
    }

    #[cfg(unix)]
    fn start(&self, talk: Talk) {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::iterator::Signals;

        let Ok(mut signals) = Signals::new([SIGINT, SIGTERM]) else {
            return;
        };
        let (stop, number) = (Arc::clone(&self.stop), Arc::clone(&self.number));
        std::thread::spawn(move || {
            for signal in signals.forever() {
                if stop.swap(true, Ordering::SeqCst) {
                    // Exits without running destructors or waiting for threads.
                    signal_hook::low_level::exit(Signal(signal).code().into());
                }
                number.store(signal, Ordering::SeqCst);
                talk.say(
                    "interrupted: finishing the rows in progress; a second signal ends at once",
                );
            }
        });
    }

    /// Returns the flag that the first signal sets.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Returns the first signal, if one has arrived.
    pub(crate) fn signal(&self) -> Option<Signal> {
        match self.number.load(Ordering::SeqCst) {
            0 => None,
            number => Some(Signal(number)),
        }
    }
}

impl Signal {
    /// Returns the exit code that shells report for a process ended by this signal.
    fn code(self) -> u8 {
        u8::try_from(128 + self.0).unwrap_or(1)
    }

    fn name(self) -> &'static str {
        match self.0 {
            2 => "SIGINT",
            15 => "SIGTERM",
            _ => "a signal",
        }
    }

    /// Returns the error of a run that ended early with `rows` rows in the output, with a hint
    /// about `--resume`.
    pub(crate) fn error(
        self,
        output: &str,
        rows: usize,
        can_resume: Option<bool>,
    ) -> anyhow::Error {
        let written = match rows {
            0 => "before the first row: the output is unchanged".to_string(),
            1 => format!("1 row was written to {output}, which is a complete file"),
            rows => format!("{rows} rows were written to {output}, which is a complete file"),
        };
        let error = anyhow::Error::from(Interrupted {
            message: format!("interrupted by {}, {written}", self.name()),
            code: self.code(),
        });
        match can_resume {
            Some(true) if rows > 0 => {
                error.hint("to continue, run the same command with `--resume`")
            }
            Some(false) if rows > 0 => {
                error.hint("`--resume` can continue outputs in jsonl, csv and npy")
            }
            _ => error,
        }
    }
}

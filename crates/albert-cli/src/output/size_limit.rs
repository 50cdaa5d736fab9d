//! Turns a write beyond the size limit of files (`ulimit -f`) into an error.
//!
//! The system sends SIGXFSZ for such a write, which ends a process that does not handle it, before
//! the output is completed. If the signal is handled, the write fails as on a full disk.

use std::sync::Arc;

use signal_hook::consts::SIGXFSZ;

/// Handles the signal from now on.
pub(crate) fn report_size_limit() {
    // Nothing reads the flag that the handler sets: the failed write is the report. If no handler
    // can be registered, the signal ends the process as usual.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

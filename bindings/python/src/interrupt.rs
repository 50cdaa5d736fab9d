//! Signals during a download: Ctrl-C ends it with a `KeyboardInterrupt`.

use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;

/// The time between two checks for signals.
const INTERVAL: Duration = Duration::from_millis(100);

/// Runs `download` on a separate thread, while this one handles signals. Once a handler raises an
/// exception, `download` finds its flag set, and this call returns without waiting for its end.
///
/// # Errors
/// The exception of a signal handler.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    download: impl FnOnce(Arc<AtomicBool>) -> T + Send + 'static,
) -> PyResult<T> {
    let is_cancelled = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&is_cancelled);
    let (sender, mut receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Nobody receives the result of a cancelled download.
        let _ = sender.send(download(flag));
    });
    loop {
        let receiver = &mut receiver;
        match py.detach(move || receiver.recv_timeout(INTERVAL)) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(raised) = py.check_signals() {
                    is_cancelled.store(true, Ordering::Relaxed);
                    return Err(raised);
                }
            }
            Err(RecvTimeoutError::Disconnected) => {
                if let Err(panic) = thread.join() {
                    panic::resume_unwind(panic);
                }
                unreachable!("a thread that does not panic sends its result");
            }
        }
    }
}

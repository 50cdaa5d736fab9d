//! Detects a standard output that was closed before the start, as by `>&-`.
//!
//! Rust's standard library opens `/dev/null` in its place before `main`, so all rows would vanish
//! without an error. The check therefore runs earlier.

use std::sync::atomic::{AtomicBool, Ordering};

static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

#[ctor::ctor(unsafe)]
fn look() {
    let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_err();
    WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

/// Returns true if standard output was closed before the start.
pub(super) fn stdout_was_closed() -> bool {
    WAS_CLOSED.load(Ordering::Relaxed)
}

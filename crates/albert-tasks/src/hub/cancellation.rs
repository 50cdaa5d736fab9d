//! Cancellation of a download.

use std::sync::Arc;
use std::time::Duration;

use super::HubError;

/// The time between two checks during a pause.
const INTERVAL: Duration = Duration::from_millis(50);

/// Decides whether a download continues. The default never cancels.
#[derive(Clone, Default)]
pub(super) struct Cancellation(Option<Arc<IsCancelled>>);

/// A function that returns true once the download must end.
type IsCancelled = dyn Fn() -> bool + Send + Sync;

impl Cancellation {
    /// Creates a cancellation that calls `is_cancelled` at each check.
    pub(super) fn new(is_cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(is_cancelled)))
    }

    /// Returns an error if the download is cancelled.
    pub(super) fn check(&self) -> Result<(), HubError> {
        match &self.0 {
            Some(is_cancelled) if is_cancelled() => Err(HubError::Cancelled),
            _ => Ok(()),
        }
    }

    /// Sleeps, unless the download is cancelled first.
    pub(super) fn sleep(&self, pause: Duration) -> Result<(), HubError> {
        let mut left = pause;
        while !left.is_zero() {
            self.check()?;
            let interval = left.min(INTERVAL);
            std::thread::sleep(interval);
            left -= interval;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_cancelled_pause_is_cut_short() {
        let checks = AtomicUsize::new(0);
        let cancellation = Cancellation::new(move || checks.fetch_add(1, Ordering::Relaxed) == 2);
        let start = Instant::now();
        let slept = cancellation.sleep(Duration::from_secs(60));
        assert!(matches!(slept, Err(HubError::Cancelled)));
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn nothing_is_cancelled_by_default() {
        let start = Instant::now();
        Cancellation::default().sleep(2 * INTERVAL).unwrap();
        assert!(start.elapsed() >= 2 * INTERVAL);
    }
}

//! The events that a running task reports to its observer.

use std::fmt;
use std::sync::Arc;

/// Something that happened while a task was running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A batch needed more memory than the GPU has, so it and all later batches are computed in
    /// halves. Reported once per loaded task.
    SmallerBatches {
        /// Rows of the batch.
        rows: usize,
        /// Tokens of its longest row.
        tokens: usize,
    },
    /// One more mask of every text has been filled, if masks are filled jointly
    /// ([`FillOptions::joint`](crate::FillOptions::joint)).
    MasksFilled {
        /// Masks filled so far.
        done: usize,
        /// Masks of all texts.
        total: usize,
    },
}

/// Receives the events of a task. The default ignores them.
///
/// ```
/// use albert_tasks::{Event, RunOptions};
///
/// let options = RunOptions::default().with_observer(|event| {
///     if let Event::SmallerBatches { rows, tokens } = event {
///         eprintln!("no memory for {rows} rows of {tokens} tokens: computing halves");
///     }
/// });
/// # assert!(options.batch_tokens.is_none());
/// ```
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Observe>>);

/// A function that receives events.
type Observe = dyn Fn(&Event) + Send + Sync;

impl Observer {
    /// Creates an observer that calls `observe` for each event, on the thread where it happens.
    pub fn new(observe: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observe)))
    }

    /// Reports an event.
    pub(crate) fn notify(&self, event: &Event) {
        if let Some(observe) = &self.0 {
            observe(event);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Observer(..)"
        } else {
            "Observer(none)"
        })
    }
}

//! Threads for computing that survive a fork.
//!
//! A forked child has none of its parent's threads, so a pool that was started before the fork
//! would wait for them forever. [`Pool`] starts its threads at the first use, and again in a child.

use std::mem;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::invalid;

/// The pool of all objects that do not have a number of threads of their own.
static SHARED: Pool = Pool::new(0);

/// A pool of threads that is started when it is first used.
#[derive(Debug)]
pub(crate) struct Pool {
    /// The number of threads; 0 for one per core, or RAYON_NUM_THREADS.
    threads: usize,
    /// Locked only while the global interpreter lock is held. Python forks with that lock held, so
    /// a child never finds it locked.
    running: Mutex<Option<Running>>,
}

#[derive(Debug)]
struct Running {
    /// The process that started the threads.
    process: u32,
    pool: Arc<ThreadPool>,
}

impl Pool {
    const fn new(threads: usize) -> Self {
        Self {
            threads,
            running: Mutex::new(None),
        }
    }

    /// Returns the pool in this process, and starts it if it is not running.
    fn get(&self) -> PyResult<Arc<ThreadPool>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let process = process::id();
        if let Some(running) = running.as_ref()
            && running.process == process
        {
            return Ok(Arc::clone(&running.pool));
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .thread_name(|index| format!("albert-{index}"))
            .build()
            .map_err(|error| invalid(format!("cannot start threads: {error}")))?;
        let pool = Arc::new(pool);
        let started = Running {
            process,
            pool: Arc::clone(&pool),
        };
        abandon(running.replace(started));
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let running = self.running.get_mut();
        let running = running.unwrap_or_else(PoisonError::into_inner).take();
        if running
            .as_ref()
            .is_some_and(|it| it.process != process::id())
        {
            abandon(running);
        }
    }
}

/// Leaks the pool of a parent process: dropping it would wake threads that this process lacks.
fn abandon(running: Option<Running>) {
    mem::forget(running);
}

/// Initializes Candle's own pool of threads with none.
///
/// Candle reads their number from the environment at the first use. The variable is restored, for
/// the processes that this one starts.
pub(crate) fn disable_candle_threads(py: Python<'_>) -> PyResult<()> {
    const VARIABLE: &str = "CANDLE_NUM_THREADS";
    let environment = py.import("os")?.getattr("environ")?;
    let before = environment.call_method1("get", (VARIABLE,))?;
    // One thread is the calling one.
    environment.set_item(VARIABLE, "1")?;
    candle_core::utils::barrier_pool();
    if before.is_none() {
        environment.del_item(VARIABLE)
    } else {
        environment.set_item(VARIABLE, before)
    }
}

/// The threads of an object: its own, or those that all others share.
#[derive(Debug)]
pub(crate) struct Threads(Option<Pool>);

impl Threads {
    /// Creates a pool of `threads`; `None` means the shared one.
    pub(crate) fn new(threads: Option<usize>) -> PyResult<Self> {
        match threads {
            Some(0) => Err(invalid("threads: expected at least 1, found 0")),
            Some(threads) => Ok(Self(Some(Pool::new(threads)))),
            None => Ok(Self(None)),
        }
    }

    /// Runs `work` on these threads without the global interpreter lock.
    pub(crate) fn run<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce() -> T + Send,
    ) -> PyResult<T> {
        let pool = self.0.as_ref().unwrap_or(&SHARED).get()?;
        Ok(py.detach(|| pool.install(work)))
    }

    /// Returns the number of threads.
    pub(crate) fn count(&self) -> PyResult<usize> {
        let pool = self.0.as_ref().unwrap_or(&SHARED).get()?;
        Ok(pool.current_num_threads())
    }
}

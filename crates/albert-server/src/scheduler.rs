//! One thread that computes, a step of the queue at a time.
//!
//! There is no timer: a request that comes to an idle server starts at once, and while a step is
//! computed others wait in the queue, from which the next step is made up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::queue::{Part, Queue};
use crate::times::Times;
use crate::work::{Embeddings, Work};

/// The weight of the last step in the mean of the tokens per second.
const LAST_STEP: f64 = 0.1;

/// The longest time in `Retry-After`: openai's client gives up on more than 120 s.
const MAX_RETRY_SECONDS: f64 = 60.0;

/// Admits requests, computes them, and wakes the tasks that wait for them.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    wake: Condvar,
    /// The number of tokens in a step.
    step_tokens: usize,
    /// Seconds of work that may wait.
    queue_seconds: f64,
    /// The bits of the mean of finished steps' tokens per second.
    rate: AtomicU64,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    queue: Queue<Arc<Request>>,
    /// No request is admitted any more.
    closed: bool,
}

/// A request that was admitted.
struct Request {
    work: Arc<dyn Work>,
    /// Texts that are not computed yet.
    remaining: AtomicUsize,
    arrived: Instant,
    deadline: Option<Instant>,
    started: OnceLock<Instant>,
    end: Mutex<Option<oneshot::Sender<Result<(), Failure>>>>,
}

/// Takes a request out of the queue if the client goes away before its end.
struct Ticket<'a> {
    scheduler: &'a Scheduler,
    request: Arc<Request>,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.request.remaining.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut state = self.scheduler.state();
        let gone = |request: &Arc<Request>| Arc::ptr_eq(request, &self.request);
        if !state.queue.remove(gone).is_empty() {
            self.scheduler.metrics.failed("dropped");
        }
    }
}

impl Scheduler {
    /// Returns a scheduler whose steps have `step_tokens` tokens, and whose queue holds at most
    /// `queue_seconds` of work at `tokens_per_second`, which every step measures anew.
    pub(crate) fn new(
        step_tokens: usize,
        queue_seconds: f64,
        tokens_per_second: f64,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            state: Mutex::default(),
            wake: Condvar::new(),
            step_tokens,
            queue_seconds,
            rate: AtomicU64::new(tokens_per_second.to_bits()),
            metrics,
        }
    }

    /// Admits work, whose texts have these lengths in tokens, and waits for its end.
    pub(crate) async fn compute(
        &self,
        work: Arc<dyn Work>,
        lengths: &[usize],
        timeout: Option<Duration>,
    ) -> Result<Times, Failure> {
        let tokens: usize = lengths.iter().sum();
        let mut times = Times {
            texts: lengths.len(),
            tokens,
            ..Times::default()
        };
        if lengths.is_empty() {
            return Ok(times);
        }
        let (end, ended) = oneshot::channel();
        let arrived = Instant::now();
        let request = Arc::new(Request {
            work,
            remaining: AtomicUsize::new(lengths.len()),
            arrived,
            deadline: timeout.map(|timeout| arrived + timeout),
            started: OnceLock::new(),
            end: Mutex::new(Some(end)),
        });
        {
            let mut state = self.state();
            if state.closed {
                return Err(Failure::closing());
            }
            let limit = (self.queue_seconds * self.tokens_per_second()) as usize;
            if !state.queue.admit(Arc::clone(&request), lengths, limit) {
                let queued = state.queue.tokens();
                drop(state);
                return Err(Failure::overloaded(
                    queued,
                    tokens,
                    self.retry_after(queued),
                ));
            }
            self.metrics.queue(state.queue.len(), state.queue.tokens());
        }
        self.wake.notify_one();
        let ticket = Ticket {
            scheduler: self,
            request,
        };
        ended.await.unwrap_or_else(|_| Err(Failure::closing()))?;
        let started = ticket.request.started.get().copied().unwrap_or(arrived);
        times.queue = started.saturating_duration_since(arrived);
        times.inference = started.elapsed();
        Ok(times)
    }

    /// Computes steps until [`close`](Self::close).
    pub(crate) fn run(&self) {
        while let Some(step) = self.next_step() {
            let begin = Instant::now();
            let tokens: usize = step.iter().map(|part| part.tokens).sum();
            let texts: usize = step.iter().map(|part| part.texts.len()).sum();
            for part in &step {
                let _ = part.request.started.set(begin);
            }
            self.compute_step(&step);
            self.measured(tokens, begin.elapsed());
            self.metrics.step(texts, tokens, self.tokens_per_second());
        }
    }

    /// Admits no request any more and answers those that wait with 503.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let waiting = state.queue.remove(|_| true);
        drop(state);
        for request in waiting {
            request.finish(Err(Failure::closing()));
        }
        self.wake.notify_all();
    }

    /// Returns the mean of finished steps' tokens per second.
    pub(crate) fn tokens_per_second(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    /// Waits for texts and takes a step of them; `None` after [`close`](Self::close).
    fn next_step(&self) -> Option<Vec<Part<Arc<Request>>>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            let now = Instant::now();
            let is_late = |request: &Arc<Request>| {
                request.started.get().is_none() && request.deadline.is_some_and(|it| it < now)
            };
            let late = state.queue.remove(is_late);
            for request in late {
                request.finish(Err(Failure::too_late(request.arrived.elapsed())));
            }
            let step = state.queue.take_step(self.step_tokens);
            self.metrics.queue(state.queue.len(), state.queue.tokens());
            if !step.is_empty() {
                return Some(step);
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Computes a step: the embeddings of one model together, everything else a part at a time.
    fn compute_step(&self, step: &[Part<Arc<Request>>]) {
        let mut groups: Vec<Vec<&Part<Arc<Request>>>> = Vec::new();
        for part in step {
            let embedder = |part: &Part<Arc<Request>>| {
                let work = part.request.work.embeddings()?;
                Some(Arc::as_ptr(&work.embedder))
            };
            let of_same = |group: &&mut Vec<&Part<Arc<Request>>>| {
                embedder(part).is_some() && embedder(group[0]) == embedder(part)
            };
            match groups.iter_mut().find(of_same) {
                Some(group) => group.push(part),
                None => groups.push(vec![part]),
            }
        }
        for group in groups {
            let together: Vec<(&Embeddings, &[usize])> = group
                .iter()
                .filter_map(|part| Some((part.request.work.embeddings()?, &part.texts[..])))
                .collect();
            if together.len() > 1 && contained(|| Embeddings::compute_together(&together)).is_ok() {
                group
                    .iter()
                    .for_each(|part| part.request.computed(part.texts.len()));
                continue;
            }
            // One request's error must not be another's: each by itself.
            for part in group {
                match contained(|| part.request.work.compute(&part.texts)) {
                    Ok(()) => part.request.computed(part.texts.len()),
                    Err(failure) => {
                        let failed = |request: &Arc<Request>| Arc::ptr_eq(request, &part.request);
                        self.state().queue.remove(failed);
                        part.request.finish(Err(failure));
                    }
                }
            }
        }
    }

    fn measured(&self, tokens: usize, time: Duration) {
        let now = tokens as f64 / time.as_secs_f64().max(1e-9);
        let mean = (1.0 - LAST_STEP) * self.tokens_per_second() + LAST_STEP * now;
        self.rate.store(mean.to_bits(), Ordering::Relaxed);
    }

    /// Returns the time after which the queue will have room.
    fn retry_after(&self, queued: usize) -> Duration {
        let seconds = queued as f64 / self.tokens_per_second().max(1.0);
        Duration::from_secs_f64(seconds.ceil().clamp(1.0, MAX_RETRY_SECONDS))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler")
            .field("step_tokens", &self.step_tokens)
            .field("queue_seconds", &self.queue_seconds)
            .finish_non_exhaustive()
    }
}

impl Request {
    /// Counts texts as computed; after the last one the request ends.
    fn computed(&self, texts: usize) {
        if self.remaining.fetch_sub(texts, Ordering::AcqRel) == texts {
            self.finish(Ok(()));
        }
    }

    fn finish(&self, result: Result<(), Failure>) {
        let end = self
            .end
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(end) = end {
            self.remaining.store(0, Ordering::Release);
            // The client may have gone away.
            let _ = end.send(result);
        }
    }
}

/// Runs a computation whose panic ends one request, and not the server.
fn contained(compute: impl FnOnce() -> albert_tasks::Result<()>) -> Result<(), Failure> {
    match catch_unwind(AssertUnwindSafe(compute)) {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::internal("the computation panicked")),
    }
}

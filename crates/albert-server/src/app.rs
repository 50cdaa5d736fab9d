//! The state that all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use albert_tasks::TextInput;
use tokio::sync::Semaphore;

use crate::failure::Failure;
use crate::metrics::{Kind, Metrics};
use crate::model::{Model, lengths};
use crate::scheduler::Scheduler;
use crate::settings::Settings;
use crate::times::Times;
use crate::work::{Batch, Work};

/// The models, the queue in front of them, and the limits.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) models: Vec<Arc<Model>>,
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: Settings,
    pub(crate) step_tokens: usize,
    /// The time of the server's start, in seconds since 1970.
    pub(crate) started: u64,
    /// The number of requests that are tokenized at a time: one per thread.
    pub(crate) tokenizing: Semaphore,
    /// The bytes left for the bodies of requests that are not answered yet.
    pub(crate) body_memory: Arc<Semaphore>,
    pub(crate) draining: AtomicBool,
}

/// An answer, with the time that it took.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) values: Vec<T>,
    pub(crate) times: Times,
}

impl App {
    /// Returns the model with this name; without a name, the first one.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Arc<Model>, Failure> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Ok(Arc::clone(&self.models[0]));
        };
        let found = self.models.iter().find(|model| model.name() == name);
        found.cloned().ok_or_else(|| {
            let served: Vec<&str> = self.models.iter().map(|model| model.name()).collect();
            Failure::no_model(name, &served)
        })
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Refuses a request with no text or with too many.
    pub(crate) fn check_texts(&self, field: &'static str, texts: usize) -> Result<(), Failure> {
        match texts {
            0 => Err(Failure::empty(field)),
            texts if texts > self.settings.max_texts => {
                Err(Failure::too_many(field, texts, self.settings.max_texts))
            }
            _ => Ok(()),
        }
    }

    /// Runs `prepare`, which loads or tokenizes, on a thread that may block.
    pub(crate) async fn prepare<T: Send + 'static>(
        &self,
        prepare: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = self.tokenizing.acquire().await;
        let prepared = tokio::task::spawn_blocking(prepare).await;
        drop(permit);
        prepared.unwrap_or_else(|_| Err(Failure::internal("the tokenizer panicked")))
    }

    /// Waits until work is computed and counts it.
    pub(crate) async fn compute(
        &self,
        kind: Kind,
        work: Arc<dyn Work>,
        lengths: &[usize],
        arrived: Instant,
    ) -> Result<Times, Failure> {
        let tokenization = arrived.elapsed();
        let timeout = self.settings.timeout;
        let mut times = self.scheduler.compute(work, lengths, timeout).await?;
        times.tokenization = tokenization;
        self.metrics
            .answered(kind, lengths, &times, arrived.elapsed());
        Ok(times)
    }

    /// Loads a task, tokenizes inputs to know their lengths, and computes them in the queue.
    pub(crate) async fn run<T, I, R>(
        &self,
        kind: Kind,
        inputs: Vec<I>,
        truncate: bool,
        load: impl FnOnce() -> Result<Arc<T>, Failure> + Send + 'static,
        about: impl Fn(&T) -> (&albert_tasks::Tokenizer, usize) + Send + 'static,
        compute: impl Fn(&T, &[&I]) -> albert_tasks::Result<Vec<R>> + Send + Sync + 'static,
    ) -> Result<Answered<R>, Failure>
    where
        T: Send + Sync + 'static,
        I: TextInput + Send + Sync + 'static,
        R: Send + 'static,
    {
        let arrived = Instant::now();
        self.metrics.request(kind, inputs.len());
        let (task, inputs, lengths) = self
            .prepare(move || {
                let task = load()?;
                let (tokenizer, max_length) = about(&task);
                let lengths = lengths(tokenizer, max_length, &inputs, truncate)?;
                Ok((task, inputs, lengths))
            })
            .await?;
        let work = Arc::new(Batch::new(inputs.len(), move |texts: &[usize]| {
            let inputs: Vec<&I> = texts.iter().map(|&text| &inputs[text]).collect();
            compute(&task, &inputs)
        }));
        let waiting: Arc<dyn Work> = Arc::clone(&work) as _;
        let times = self.compute(kind, waiting, &lengths, arrived).await?;
        Ok(Answered {
            values: work.results.take(),
            times,
        })
    }
}

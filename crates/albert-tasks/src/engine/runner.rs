//! Runs a task's batches: sizes them, calls the device from a single thread, and halves a batch
//! that does not fit into the device's memory.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use albert_model::AlbertConfig;
use candle_core::{Device, DeviceLocation};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batching::chunks;
use super::budget::Budget;
use super::in_order::in_order;
use super::pipelined::pipelined;
use crate::error::is_out_of_memory;
use crate::{Error, Event, Observer, Result, RunOptions};

/// The bytes of text in a chunk. It is bounded because many questions may share a long context, and
/// windows keep the tokens of a long text.
pub(crate) const CHUNK_BYTES: usize = 1 << 20;

/// The batches that are computed at the same time on the CPU: while one thread ends a batch, the
/// others start on the next, and what only one thread does, looking up embeddings and pooling,
/// overlaps with the encoder.
const BATCHES_IN_FLIGHT: usize = 2;

/// Runs the batches of a task.
#[derive(Debug)]
pub(crate) struct Runner {
    device: Device,
    budget: Budget,
    /// The GPU's thread; `None` on the CPU.
    thread: Option<Arc<ThreadPool>>,
    chunks_in_flight: usize,
    /// At most as many batches are computed at the same time on the CPU.
    batches_in_flight: usize,
    observer: Observer,
    has_reported: AtomicBool,
}

impl Runner {
    /// Creates a runner for a network whose weights are loaded.
    ///
    /// # Errors
    /// If the device does not answer.
    pub(crate) fn new(config: &AlbertConfig, options: &RunOptions) -> Result<Self> {
        let device = options.load.device.clone();
        // The weights may still be in transfer, and only the thread that loads them can wait for
        // that.
        device.synchronize()?;
        Ok(Self {
            budget: Budget::new(config, options)?,
            thread: device_thread(&device)?,
            chunks_in_flight: options.chunks_in_flight(),
            batches_in_flight: BATCHES_IN_FLIGHT,
            observer: options.observer.clone(),
            has_reported: AtomicBool::new(false),
            device,
        })
    }

    /// Returns the device that computes.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the observer of the run.
    pub(crate) fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Processes the inputs in chunks of about `limit`; results are in input order.
    ///
    /// On a GPU one chunk is tokenized while another is computed.
    pub(crate) fn in_chunks<I: Sync, T: Send, E: Send>(
        &self,
        inputs: &[I],
        limit: usize,
        size: impl Fn(&I) -> usize,
        answer: impl Fn(&[I]) -> Result<Vec<T>, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let mut answers = Vec::with_capacity(inputs.len());
        let mut chunks = chunks(inputs, limit, size).into_iter();
        let in_flight = self.chunks_in_flight.min(chunks.len());
        let take = |answered: Result<Vec<T>, E>| -> Result<(), E> {
            answers.extend(answered?);
            Ok(())
        };
        pipelined(in_flight, |_| chunks.next(), answer, take)?;
        Ok(answers)
    }

    /// Runs rows of these lengths through `compute`, in batches of similar lengths, and passes each
    /// result to `take` with the batch's rows as indices into `lengths`, in the order of the
    /// batches. `take` processes one batch while the next is computed.
    ///
    /// The longest rows come first, so that a batch too large for a GPU's memory fails early: it is
    /// computed again in halves, as are later batches. `take` must not use the device: it would
    /// deadlock.
    ///
    /// # Errors
    /// If `compute` or `take` fails, or the device has no memory for a single row.
    pub(crate) fn run<T: Send>(
        &self,
        lengths: &[usize],
        compute: impl Fn(&[usize]) -> Result<T> + Sync,
        mut take: impl FnMut(&[usize], T) -> Result<()> + Send,
    ) -> Result<()> {
        let Some(thread) = &self.thread else {
            let in_flight = self.batches_in_flight.min(rayon::current_num_threads());
            if in_flight > 1 {
                let batches = self.plan(lengths);
                let compute = |batch: usize| compute(&batches[batch]);
                let take = |batch: usize, result| take(&batches[batch], result);
                return in_order(batches.len(), in_flight, compute, take);
            }
            return self.batches(lengths, &compute).try_for_each(|computed| {
                let (batch, result) = computed?;
                take(&batch, result)
            });
        };
        let compute = &compute;
        let (sender, receiver) = sync_channel(0);
        thread.in_place_scope(|scope| {
            scope.spawn(move |_| {
                for computed in self.batches(lengths, compute) {
                    let failed = computed.is_err();
                    if sender.send(computed).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
                .into_iter()
                .try_for_each(|computed: Result<(Vec<usize>, T)>| {
                    let (batch, result) = computed?;
                    take(&batch, result)
                })
        })
    }

    /// Runs `work`, which uses the device, on the device's thread.
    pub(crate) fn on_device<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.thread {
            Some(thread) => thread.install(work),
            None => work(),
        }
    }

    /// Returns the number of rows that fit into a batch whose longest row has `longest` tokens.
    pub(crate) fn rows(&self, longest: usize) -> usize {
        self.budget.rows(longest)
    }

    /// Divides rows of these lengths into batches.
    pub(crate) fn plan(&self, lengths: &[usize]) -> Vec<Vec<usize>> {
        self.batches(lengths, &|_| Ok(()))
            .flatten()
            .map(|(batch, ())| batch)
            .collect()
    }

    /// Iterates over the batches with the results of `compute`, up to the first that fails.
    fn batches<T>(
        &self,
        lengths: &[usize],
        compute: &impl Fn(&[usize]) -> Result<T>,
    ) -> impl Iterator<Item = Result<(Vec<usize>, T)>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&index| (Reverse(lengths[index]), index));
        let mut done = 0;
        std::iter::from_fn(move || {
            let rest = &order[done..];
            let longest = lengths[*rest.first()?];
            loop {
                let batch = &rest[..self.budget.rows(longest).min(rest.len())];
                match compute(batch) {
                    Err(Error::Compute(source)) if is_out_of_memory(&source) => {
                        if batch.len() == 1 {
                            return Some(Err(Error::OutOfMemory {
                                tokens: longest,
                                source,
                            }));
                        }
                        if let Err(error) = self.halve_budget(batch.len(), longest) {
                            return Some(Err(error));
                        }
                    }
                    computed => {
                        done += batch.len();
                        return Some(computed.map(|result| (batch.to_vec(), result)));
                    }
                }
            }
        })
    }

    fn halve_budget(&self, rows: usize, longest: usize) -> Result<()> {
        // The device frees the memory of the failed batch once its work is done.
        self.device.synchronize()?;
        self.budget.halve(rows, longest);
        if !self.has_reported.swap(true, Ordering::Relaxed) {
            self.observer.notify(&Event::SmallerBatches {
                rows,
                tokens: longest,
            });
        }
        Ok(())
    }
}

/// Returns the thread from which a GPU is used, one per GPU in the process; `None` for the CPU.
///
/// Candle's CUDA device issues work on the calling thread's own stream. Two streams do not wait for
/// each other and cannot share cuBLAS's workspace.
fn device_thread(device: &Device) -> Result<Option<Arc<ThreadPool>>> {
    static THREADS: Mutex<Vec<(DeviceLocation, Arc<ThreadPool>)>> = Mutex::new(Vec::new());
    let location = device.location();
    if location == DeviceLocation::Cpu {
        return Ok(None);
    }
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, thread)) = threads.iter().find(|(known, _)| *known == location) {
        return Ok(Some(Arc::clone(thread)));
    }
    let thread = Arc::new(new_thread()?);
    threads.push((location, Arc::clone(&thread)));
    Ok(Some(thread))
}

fn new_thread() -> Result<ThreadPool> {
    let thread = ThreadPoolBuilder::new()
        .num_threads(1)
        .thread_name(|_| "device".to_string());
    Ok(thread.build().map_err(candle_core::Error::wrap)?)
}

#[cfg(test)]
impl Runner {
    /// Creates a runner for the CPU with `tokens` in a batch, on the calling thread or, as for a
    /// GPU, on a separate thread.
    pub(crate) fn with_budget(tokens: usize, has_thread: bool) -> Self {
        Self {
            device: Device::Cpu,
            budget: Budget::with_limits(tokens, usize::MAX),
            thread: has_thread.then(|| Arc::new(new_thread().unwrap())),
            chunks_in_flight: if has_thread { 3 } else { 1 },
            batches_in_flight: 1,
            observer: Observer::default(),
            has_reported: AtomicBool::new(false),
        }
    }
}

/// Returns Candle's error for a failed allocation: cudarc's, whose text begins with the status.
#[cfg(test)]
pub(crate) fn out_of_memory() -> candle_core::Error {
    let status = r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#;
    candle_core::Error::Cuda(status.into()).bt()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const LENGTHS: [usize; 12] = [5, 40, 3, 3, 17, 64, 8, 1, 40, 40, 2, 9];

    /// A device with memory for `tokens`, which counts the batches it refused.
    struct SmallDevice {
        tokens: usize,
        refused: AtomicUsize,
    }

    impl SmallDevice {
        fn new(tokens: usize) -> Self {
            Self {
                tokens,
                refused: AtomicUsize::new(0),
            }
        }

        /// Returns the square of each row's length.
        fn compute(&self, batch: &[usize]) -> Result<Vec<usize>> {
            let longest = batch.iter().map(|&row| LENGTHS[row]).max().unwrap();
            if batch.len() * longest > self.tokens {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(out_of_memory().into());
            }
            Ok(batch.iter().map(|&row| LENGTHS[row].pow(2)).collect())
        }
    }

    /// Returns the rows' results in input order, and the sizes of the batches.
    fn squares(runner: &Runner, device: &SmallDevice) -> Result<(Vec<usize>, Vec<usize>)> {
        let (mut results, mut sizes) = (vec![0; LENGTHS.len()], Vec::new());
        let take = |batch: &[usize], made: Vec<usize>| {
            sizes.push(batch.len());
            batch
                .iter()
                .zip(made)
                .for_each(|(&row, made)| results[row] += made);
            Ok(())
        };
        runner.run(&LENGTHS, |batch| device.compute(batch), take)?;
        Ok((results, sizes))
    }

    #[test]
    fn every_row_is_in_one_batch_within_the_budget() {
        let batches = Runner::with_budget(64, false).plan(&LENGTHS);
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..LENGTHS.len()).collect::<Vec<_>>());
        for batch in &batches {
            let longest = batch.iter().map(|&row| LENGTHS[row]).max().unwrap();
            assert!(batch.len() == 1 || batch.len() * longest <= 64, "{batch:?}");
        }
    }

    #[test]
    fn rows_of_like_length_go_together_longest_first() {
        assert_eq!(
            Runner::with_budget(18, false).plan(&[3, 9, 3, 9]),
            [vec![1, 3], vec![0, 2]]
        );
        assert_eq!(
            Runner::with_budget(0, false).plan(&[2, 2]),
            [vec![0], vec![1]]
        );
        assert!(Runner::with_budget(0, false).plan(&[]).is_empty());
    }

    #[test]
    fn less_memory_than_foreseen_changes_batches_and_no_result() {
        let expected: Vec<usize> = LENGTHS.iter().map(|length| length.pow(2)).collect();
        for has_thread in [false, true] {
            for memory in [usize::MAX, 200, 100, 64] {
                let (runner, device) = (
                    Runner::with_budget(256, has_thread),
                    SmallDevice::new(memory),
                );
                let (found, sizes) = squares(&runner, &device).unwrap();
                assert_eq!(found, expected);
                assert_eq!(sizes.iter().sum::<usize>(), LENGTHS.len());
                // 256 tokens are halved at most twice, and the smaller budget is kept.
                let refused = device.refused.swap(0, Ordering::Relaxed);
                assert!(
                    (memory == usize::MAX) == (refused == 0) && refused <= 2,
                    "{memory}: {refused}"
                );
                squares(&runner, &device).unwrap();
                assert_eq!(device.refused.into_inner(), 0);
            }
        }
    }

    #[test]
    fn a_row_without_memory_is_an_error_that_names_its_length() {
        for has_thread in [false, true] {
            let error =
                squares(&Runner::with_budget(256, has_thread), &SmallDevice::new(63)).unwrap_err();
            assert!(
                matches!(error, Error::OutOfMemory { tokens: 64, .. }),
                "{error:?}"
            );
            assert!(error.hint().unwrap().contains("max_length"));
        }
    }

    #[test]
    fn smaller_batches_are_reported_once() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let mut runner = Runner::with_budget(256, false);
        let log = Arc::clone(&reported);
        runner.observer = Observer::new(move |event| {
            if let Event::SmallerBatches { rows, tokens } = event {
                log.lock().unwrap().push((*rows, *tokens));
            }
        });
        squares(&runner, &SmallDevice::new(64)).unwrap();
        assert_eq!(*reported.lock().unwrap(), [(4, 64)]);
    }

    #[test]
    fn batches_in_flight_have_the_results_of_single_ones() {
        let expected: Vec<usize> = LENGTHS.iter().map(|length| length.pow(2)).collect();
        let device = SmallDevice::new(usize::MAX);
        let mut runner = Runner::with_budget(64, false);
        runner.batches_in_flight = 2;
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let (found, sizes) = pool.install(|| squares(&runner, &device)).unwrap();
        let planned: Vec<usize> = runner.plan(&LENGTHS).iter().map(Vec::len).collect();
        assert_eq!((found, sizes), (expected, planned));
    }

    #[test]
    fn any_other_failure_ends_the_run_at_once() {
        for has_thread in [false, true] {
            let runner = Runner::with_budget(64, has_thread);
            let computed = AtomicUsize::new(0);
            let compute = |_: &[usize]| {
                computed.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(Error::NotFinite)
            };
            let error = runner.run(&LENGTHS, compute, |_, ()| Ok(())).unwrap_err();
            assert!(matches!(error, Error::NotFinite));
            assert_eq!(computed.into_inner(), 1);
            let error = runner
                .run(&LENGTHS, |_| Ok(()), |_, ()| Err(Error::PairInWindows))
                .unwrap_err();
            assert!(matches!(error, Error::PairInWindows));
        }
    }

    #[test]
    fn chunks_in_flight_overlap_and_keep_their_order() {
        for has_thread in [false, true] {
            let runner = Runner::with_budget(64, has_thread);
            let inputs: Vec<usize> = (0..50).collect();
            let answer = |chunk: &[usize]| {
                let mut answers = vec![0; chunk.len()];
                let take = |batch: &[usize], made: Vec<usize>| {
                    batch
                        .iter()
                        .zip(made)
                        .for_each(|(&row, made)| answers[row] = made);
                    Ok(())
                };
                let compute =
                    |batch: &[usize]| Ok(batch.iter().map(|&row| chunk[row] + 1).collect());
                runner.run(&vec![9; chunk.len()], compute, take)?;
                Ok::<_, Error>(answers)
            };
            let answers = runner.in_chunks(&inputs, 8, |_| 1, answer).unwrap();
            assert_eq!(answers, (1..51).collect::<Vec<_>>());
        }
    }
}

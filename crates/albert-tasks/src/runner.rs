//! Batches on their way through the network: how large they are, which thread asks the device for
//! them, and what becomes of one that the device has no memory for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};

use albert_model::AlbertConfig;
use candle_core::{Device, DeviceLocation};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::batching::portions;
use crate::budget::Budget;
use crate::error::is_out_of_memory;
use crate::overlap::overlap;
use crate::{Error, Result, RunOptions};

/// Bytes of text that are cut into tokens at a time: many questions may share a long context, and
/// windows keep a long text's tokens.
pub(crate) const TEXT_AT_ONCE: usize = 1 << 20;

/// Runs the batches of a task.
#[derive(Debug)]
pub(crate) struct Runner {
    device: Device,
    budget: Budget,
    /// The GPU's thread; the CPU has none.
    thread: Option<Arc<ThreadPool>>,
    portions_at_once: usize,
    on_smaller_batches: Option<fn(usize, usize)>,
    has_told: AtomicBool,
}

impl Runner {
    /// For a network whose weights are loaded.
    ///
    /// # Errors
    /// If the device does not answer.
    pub(crate) fn new(config: &AlbertConfig, options: &RunOptions) -> Result<Self> {
        let device = options.load.device.clone();
        // The weights are on their way, which only the thread that loads them waits for by itself.
        device.synchronize()?;
        Ok(Self {
            budget: Budget::new(config, options)?,
            thread: thread_of(&device)?,
            portions_at_once: options.portions_at_once(),
            on_smaller_batches: options.on_smaller_batches,
            has_told: AtomicBool::new(false),
            device,
        })
    }

    /// Where it computes.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// What `answer` makes of the inputs, a portion of about `limit` at a time; results in input
    /// order.
    ///
    /// On a GPU one portion is made ready while another is computed.
    pub(crate) fn in_portions<I: Sync, T: Send, E: Send>(
        &self,
        inputs: &[I],
        limit: usize,
        size: impl Fn(&I) -> usize,
        answer: impl Fn(&[I]) -> Result<Vec<T>, E> + Sync,
    ) -> Result<Vec<T>, E> {
        let mut answers = Vec::with_capacity(inputs.len());
        let mut portions = portions(inputs, limit, size).into_iter();
        let at_once = self.portions_at_once.min(portions.len());
        let take = |answered: Result<Vec<T>, E>| -> Result<(), E> {
            answers.extend(answered?);
            Ok(())
        };
        overlap(at_once, |_| portions.next(), answer, take)?;
        Ok(answers)
    }

    /// Takes rows of these lengths through `compute`, a batch of like length at a time, and what it
    /// makes of each to `take`, which gets the batch's rows by their indices in `lengths`. On a GPU
    /// `take` works on one batch while the next is computed.
    ///
    /// Longest first, so that a batch too large for the memory fails at once: it is computed again
    /// in halves, and so are those that follow. `take` must not ask for the device, which it would
    /// wait for in vain.
    ///
    /// # Errors
    /// If `compute` or `take` fails, or the device has no memory for a single row.
    pub(crate) fn run<T: Send>(
        &self,
        lengths: &[usize],
        compute: impl Fn(&[usize]) -> Result<T> + Sync,
        mut take: impl FnMut(&[usize], T) -> Result<()>,
    ) -> Result<()> {
        let Some(thread) = &self.thread else {
            return self.batches(lengths, &compute).try_for_each(|made| {
                let (batch, made) = made?;
                take(&batch, made)
            });
        };
        let compute = &compute;
        let (sender, receiver) = sync_channel(0);
        thread.in_place_scope(|scope| {
            scope.spawn(move |_| {
                for made in self.batches(lengths, compute) {
                    let failed = made.is_err();
                    if sender.send(made).is_err() || failed {
                        return;
                    }
                }
            });
            receiver
                .into_iter()
                .try_for_each(|made: Result<(Vec<usize>, T)>| {
                    let (batch, made) = made?;
                    take(&batch, made)
                })
        })
    }

    /// What `work` does with the device, on the device's thread.
    pub(crate) fn on_device<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.thread {
            Some(thread) => thread.install(work),
            None => work(),
        }
    }

    /// How many rows fit into a batch whose longest has so many tokens.
    pub(crate) fn rows(&self, longest: usize) -> usize {
        self.budget.rows(longest)
    }

    /// The batches that rows of these lengths make.
    pub(crate) fn plan(&self, lengths: &[usize]) -> Vec<Vec<usize>> {
        self.batches(lengths, &|_| Ok(()))
            .flatten()
            .map(|(batch, ())| batch)
            .collect()
    }

    /// The batches with what `compute` makes of them, up to the first that fails.
    fn batches<T>(
        &self,
        lengths: &[usize],
        compute: &impl Fn(&[usize]) -> Result<T>,
    ) -> impl Iterator<Item = Result<(Vec<usize>, T)>> {
        let mut order: Vec<usize> = (0..lengths.len()).collect();
        order.sort_by_key(|&index| (std::cmp::Reverse(lengths[index]), index));
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
                        if let Err(error) = self.go_on_with_less(batch.len(), longest) {
                            return Some(Err(error));
                        }
                    }
                    made => {
                        done += batch.len();
                        return Some(made.map(|made| (batch.to_vec(), made)));
                    }
                }
            }
        })
    }

    fn go_on_with_less(&self, rows: usize, longest: usize) -> Result<()> {
        // What the failed batch held is given back to the device once it is done with it.
        self.device.synchronize()?;
        self.budget.halve(rows, longest);
        if let Some(tell) = self.on_smaller_batches
            && !self.has_told.swap(true, Ordering::Relaxed)
        {
            tell(rows, longest);
        }
        Ok(())
    }
}

/// The thread that a GPU is used from, one for each GPU in the process; `None` for the CPU.
///
/// A CUDA device of Candle's asks for work on the calling thread's own stream, and two streams
/// neither wait for each other nor can share cuBLAS's workspace.
fn thread_of(device: &Device) -> Result<Option<Arc<ThreadPool>>> {
    static THREADS: Mutex<Vec<(DeviceLocation, Arc<ThreadPool>)>> = Mutex::new(Vec::new());
    let location = device.location();
    if location == DeviceLocation::Cpu {
        return Ok(None);
    }
    let mut threads = THREADS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, thread)) = threads.iter().find(|(of, _)| *of == location) {
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
    /// For the CPU, with so many tokens a batch, on the calling thread or, as for a GPU, on one of
    /// its own.
    pub(crate) fn of(tokens: usize, has_thread: bool) -> Self {
        Self {
            device: Device::Cpu,
            budget: Budget::of(tokens, usize::MAX),
            thread: has_thread.then(|| Arc::new(new_thread().unwrap())),
            portions_at_once: if has_thread { 3 } else { 1 },
            on_smaller_batches: None,
            has_told: AtomicBool::new(false),
        }
    }
}

/// What Candle makes of a failed allocation: cudarc's error, whose text begins with the status.
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

    /// A device with memory for so many tokens, and how often more was asked of it.
    struct SmallDevice {
        tokens: usize,
        refused: AtomicUsize,
    }

    impl SmallDevice {
        fn of(tokens: usize) -> Self {
            Self {
                tokens,
                refused: AtomicUsize::new(0),
            }
        }

        /// The square of each row's length.
        fn compute(&self, batch: &[usize]) -> Result<Vec<usize>> {
            let longest = batch.iter().map(|&row| LENGTHS[row]).max().unwrap();
            if batch.len() * longest > self.tokens {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(out_of_memory().into());
            }
            Ok(batch.iter().map(|&row| LENGTHS[row].pow(2)).collect())
        }
    }

    /// The rows' results in input order, and the sizes of the batches.
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
        let batches = Runner::of(64, false).plan(&LENGTHS);
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
            Runner::of(18, false).plan(&[3, 9, 3, 9]),
            [vec![1, 3], vec![0, 2]]
        );
        assert_eq!(Runner::of(0, false).plan(&[2, 2]), [vec![0], vec![1]]);
        assert!(Runner::of(0, false).plan(&[]).is_empty());
    }

    #[test]
    fn less_memory_than_foreseen_changes_batches_and_no_result() {
        let expected: Vec<usize> = LENGTHS.iter().map(|length| length.pow(2)).collect();
        for has_thread in [false, true] {
            for memory in [usize::MAX, 200, 100, 64] {
                let (runner, device) = (Runner::of(256, has_thread), SmallDevice::of(memory));
                let (found, sizes) = squares(&runner, &device).unwrap();
                assert_eq!(found, expected);
                assert_eq!(sizes.iter().sum::<usize>(), LENGTHS.len());
                // 256 tokens are halved at most twice, and what was learnt is kept.
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
            let error = squares(&Runner::of(256, has_thread), &SmallDevice::of(63)).unwrap_err();
            assert!(
                matches!(error, Error::OutOfMemory { tokens: 64, .. }),
                "{error:?}"
            );
            assert!(error.hint().unwrap().contains("--max-length"));
        }
    }

    #[test]
    fn smaller_batches_are_told_of_once() {
        static TOLD: Mutex<Vec<(usize, usize)>> = Mutex::new(Vec::new());
        let mut runner = Runner::of(256, false);
        runner.on_smaller_batches =
            Some(|rows, longest| TOLD.lock().unwrap().push((rows, longest)));
        squares(&runner, &SmallDevice::of(64)).unwrap();
        assert_eq!(*TOLD.lock().unwrap(), [(4, 64)]);
    }

    #[test]
    fn any_other_failure_ends_the_run_at_once() {
        for has_thread in [false, true] {
            let runner = Runner::of(64, has_thread);
            let computed = AtomicUsize::new(0);
            let compute = |_: &[usize]| {
                computed.fetch_add(1, Ordering::Relaxed);
                Err::<(), _>(Error::NotFinite)
            };
            let error = runner.run(&LENGTHS, compute, |_, ()| Ok(())).unwrap_err();
            assert!(matches!(error, Error::NotFinite));
            assert_eq!(computed.into_inner(), 1);
            let error = runner
                .run(&LENGTHS, |_| Ok(()), |_, ()| Err(Error::NoLabels))
                .unwrap_err();
            assert!(matches!(error, Error::NoLabels));
        }
    }

    #[test]
    fn portions_overlap_and_keep_their_order() {
        for has_thread in [false, true] {
            let runner = Runner::of(64, has_thread);
            let inputs: Vec<usize> = (0..50).collect();
            let answer = |portion: &[usize]| {
                let mut answers = vec![0; portion.len()];
                let take = |batch: &[usize], made: Vec<usize>| {
                    batch
                        .iter()
                        .zip(made)
                        .for_each(|(&row, made)| answers[row] = made);
                    Ok(())
                };
                let compute =
                    |batch: &[usize]| Ok(batch.iter().map(|&row| portion[row] + 1).collect());
                runner.run(&vec![9; portion.len()], compute, take)?;
                Ok::<_, Error>(answers)
            };
            let answers = runner.in_portions(&inputs, 8, |_| 1, answer).unwrap();
            assert_eq!(answers, (1..51).collect::<Vec<_>>());
        }
    }
}

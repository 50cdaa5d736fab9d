//! Runs a stream of chunks through a task with several of them in flight.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread;

/// Runs chunks through `work`, up to `in_flight` of them at a time, and passes each result to
/// `take`, in the order of the chunks.
///
/// On a GPU, a task computes one chunk after another while the CPU tokenizes texts. With
/// [`RunOptions::chunks_in_flight`](crate::RunOptions::chunks_in_flight) chunks in flight, the next
/// chunk is always ready for the GPU while the previous one is written. Memory holds `in_flight`
/// chunks. With one chunk in flight, and inside a rayon job, everything runs on the calling thread:
/// on the CPU that is as fast, and a pool whose threads all waited here could not tokenize.
///
/// `next` returns a chunk. Its argument is true if no chunk is in flight, so that it may block
/// until there is one; `None` then ends the stream. Otherwise `None` means that no chunk is ready
/// yet, and `next` is called again.
///
/// ```
/// use albert_tasks::{Embedder, ModelFiles, RunOptions, pipelined};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let options = RunOptions::default();
/// let embedder = Embedder::load(&ModelFiles::builtin()?, &options)?;
/// let mut chunks = [vec!["A cat.", "A dog."], vec!["A car."]].into_iter();
/// let mut dims = Vec::new();
/// pipelined(
///     options.chunks_in_flight(),
///     |_| chunks.next(),
///     |texts| embedder.embed(&texts),
///     |embeddings| {
///         dims.extend(embeddings?.iter().map(|embedding| embedding.vector.len()));
///         Ok::<(), albert_tasks::Error>(())
///     },
/// )?;
/// assert_eq!(dims, [embedder.dim(); 3]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If `take` fails. Results of chunks that are still in flight are dropped.
pub fn pipelined<C: Send, T: Send, E>(
    in_flight: usize,
    mut next: impl FnMut(bool) -> Option<C>,
    work: impl Fn(C) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    if in_flight <= 1 || rayon::current_thread_index().is_some() {
        while let Some(chunk) = next(true) {
            take(work(chunk))?;
        }
        return Ok(());
    }
    let work = &work;
    thread::scope(|scope| {
        let mut running = VecDeque::with_capacity(in_flight);
        loop {
            let chunk = if running.len() < in_flight {
                next(running.is_empty())
            } else {
                None
            };
            if let Some(chunk) = chunk {
                running.push_back(scope.spawn(move || work(chunk)));
                continue;
            }
            let Some(oldest) = running.pop_front() else {
                return Ok(());
            };
            take(oldest.join().unwrap_or_else(|panic| resume_unwind(panic)))?;
        }
    })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whichever_is_ready_first() {
        for in_flight in [0, 1, 2, 3, 9] {
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut chunks = 0..20u64;
            let mut taken = Vec::new();
            let work = |chunk: u64| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(chunk * 7 % 4));
                running.fetch_sub(1, Ordering::SeqCst);
                chunk
            };
            let take = |chunk| {
                taken.push(chunk);
                Ok::<_, Infallible>(())
            };
            pipelined(in_flight, |_| chunks.next(), work, take).unwrap();
            assert_eq!(taken, (0..20).collect::<Vec<_>>());
            assert!(most.into_inner() <= in_flight.max(1));
        }
    }

    #[test]
    fn several_chunks_are_in_flight_at_the_same_time() {
        // One alone would wait here for ever.
        let all = Barrier::new(3);
        let mut chunks = 0..6;
        let work = |_| all.wait();
        pipelined(3, |_| chunks.next(), work, |_| Ok::<_, Infallible>(())).unwrap();
    }

    #[test]
    fn what_is_done_is_taken_before_the_next_is_waited_for() {
        // The second chunk comes only after the first has been answered.
        let answered = AtomicUsize::new(0);
        let mut given = 0;
        let next = |may_wait: bool| {
            if given == 2 || (given > answered.load(Ordering::SeqCst) && !may_wait) {
                return None;
            }
            assert_eq!(
                given,
                answered.load(Ordering::SeqCst),
                "waited with an answer at hand"
            );
            given += 1;
            Some(())
        };
        let take = |()| {
            answered.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(())
        };
        pipelined(3, next, |()| (), take).unwrap();
        assert_eq!(answered.into_inner(), 2);
    }

    #[test]
    fn a_pool_whose_threads_all_stream_has_threads_left_for_the_work() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let mut chunks = 0..3;
        let work = |chunk| pool.install(|| chunk);
        pool.install(|| pipelined(3, |_| chunks.next(), work, |_| Ok::<_, Infallible>(())))
            .unwrap();
    }

    #[test]
    fn a_failure_ends_the_stream() {
        for in_flight in [1, 3] {
            let mut chunks = 0..;
            let take = |chunk| if chunk == 5 { Err(chunk) } else { Ok(()) };
            assert_eq!(
                pipelined(in_flight, |_| chunks.next(), |chunk| chunk, take),
                Err(5)
            );
            assert!(chunks.start <= 5 + 1 + in_flight);
        }
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_panic_is_passed_on() {
        let mut chunks = 0..9;
        let work = |chunk| assert!(chunk != 4, "out of order");
        let _ = pipelined(3, |_| chunks.next(), work, |()| Ok::<_, Infallible>(()));
    }
}

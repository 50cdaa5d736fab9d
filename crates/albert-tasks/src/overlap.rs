//! A stream of portions on its way through a task, several of them at a time.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::thread;

/// Takes portions through `work`, `at_once` of them at a time, and hands what it makes of them to
/// `take`, in order.
///
/// A task on a GPU computes one portion after another, whoever calls it, and cuts texts into tokens
/// on the CPU: with [`RunOptions::portions_at_once`](crate::RunOptions::portions_at_once) the GPU
/// always finds the next portion ready, while the one before is written. Memory holds `at_once`
/// portions. With one at a time everything happens on the calling thread, which on the CPU is as
/// fast, and so it does within a job of rayon's: a pool whose threads all waited here would have
/// none left to cut texts.
///
/// `next` gives a portion. Its argument says whether it may wait for one: it may when nothing is
/// under way. `None` then is the end, and otherwise means that there is none yet; `next` is asked
/// again.
///
/// ```
/// use albert_tasks::{Embedder, ModelFiles, RunOptions, overlap};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let options = RunOptions::default();
/// let embedder = Embedder::load(&ModelFiles::builtin()?, &options)?;
/// let mut portions = [vec!["A cat.", "A dog."], vec!["A car."]].into_iter();
/// let mut dims = Vec::new();
/// overlap(
///     options.portions_at_once(),
///     |_| portions.next(),
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
/// What `take` fails with. Portions that are under way by then come to nothing.
pub fn overlap<P: Send, T: Send, E>(
    at_once: usize,
    mut next: impl FnMut(bool) -> Option<P>,
    work: impl Fn(P) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    if at_once <= 1 || rayon::current_thread_index().is_some() {
        while let Some(portion) = next(true) {
            take(work(portion))?;
        }
        return Ok(());
    }
    let work = &work;
    thread::scope(|scope| {
        let mut under_way = VecDeque::with_capacity(at_once);
        loop {
            let portion = if under_way.len() < at_once {
                next(under_way.is_empty())
            } else {
                None
            };
            if let Some(portion) = portion {
                under_way.push_back(scope.spawn(move || work(portion)));
                continue;
            }
            let Some(oldest) = under_way.pop_front() else {
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
        for at_once in [0, 1, 2, 3, 9] {
            let (running, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let mut portions = 0..20u64;
            let mut taken = Vec::new();
            let work = |portion: u64| {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(portion * 7 % 4));
                running.fetch_sub(1, Ordering::SeqCst);
                portion
            };
            let take = |portion| {
                taken.push(portion);
                Ok::<_, Infallible>(())
            };
            overlap(at_once, |_| portions.next(), work, take).unwrap();
            assert_eq!(taken, (0..20).collect::<Vec<_>>());
            assert!(most.into_inner() <= at_once.max(1));
        }
    }

    #[test]
    fn several_are_under_way_at_the_same_time() {
        // One alone would wait here for ever.
        let all = Barrier::new(3);
        let mut portions = 0..6;
        let work = |_| all.wait();
        overlap(3, |_| portions.next(), work, |_| Ok::<_, Infallible>(())).unwrap();
    }

    #[test]
    fn what_is_done_is_taken_before_the_next_is_waited_for() {
        // The second portion comes only after the first has been answered.
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
        overlap(3, next, |()| (), take).unwrap();
        assert_eq!(answered.into_inner(), 2);
    }

    #[test]
    fn a_pool_whose_threads_all_stream_has_threads_left_for_the_work() {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .unwrap();
        let mut portions = 0..3;
        let work = |portion| pool.install(|| portion);
        pool.install(|| overlap(3, |_| portions.next(), work, |_| Ok::<_, Infallible>(())))
            .unwrap();
    }

    #[test]
    fn a_failure_ends_the_stream() {
        for at_once in [1, 3] {
            let mut portions = 0..;
            let take = |portion| if portion == 5 { Err(portion) } else { Ok(()) };
            assert_eq!(
                overlap(at_once, |_| portions.next(), |portion| portion, take),
                Err(5)
            );
            assert!(portions.start <= 5 + 1 + at_once);
        }
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_panic_is_passed_on() {
        let mut portions = 0..9;
        let work = |portion| assert!(portion != 4, "out of order");
        let _ = overlap(3, |_| portions.next(), work, |()| Ok::<_, Infallible>(()));
    }
}

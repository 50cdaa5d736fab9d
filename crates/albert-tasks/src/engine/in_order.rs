//! Computes the items of a list several at a time, and delivers the results in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Computes the items `0..count`, up to `in_flight` of them at a time, and passes each result to
/// `take`, in the order of the items.
///
/// While the last part of one item keeps a single thread busy, the other threads start on the next.
/// With one item in flight everything runs on the calling thread.
///
/// # Errors
/// The first error of an item, in their order. Later items are not started.
pub(super) fn in_order<T: Send, E: Send>(
    count: usize,
    in_flight: usize,
    compute: impl Fn(usize) -> Result<T, E> + Sync,
    mut take: impl FnMut(usize, T) -> Result<(), E> + Send,
) -> Result<(), E> {
    let workers = in_flight.min(count);
    if workers <= 1 {
        return (0..count).try_for_each(|item| take(item, compute(item)?));
    }
    let (started, has_failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let delivery = Delivery(Mutex::new(State {
        computed: BTreeMap::new(),
        next: 0,
        take: Some(take),
        failed: None,
    }));
    rayon::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|_| {
                while !has_failed.load(Ordering::Relaxed) {
                    let item = started.fetch_add(1, Ordering::Relaxed);
                    if item >= count {
                        break;
                    }
                    if !delivery.deliver(item, compute(item)) {
                        has_failed.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let state = delivery.0.into_inner();
    let failed = state.unwrap_or_else(PoisonError::into_inner).failed;
    failed.map_or(Ok(()), Err)
}

/// The results that wait for those of earlier items.
struct Delivery<T, E, F>(Mutex<State<T, E, F>>);

struct State<T, E, F> {
    computed: BTreeMap<usize, Result<T, E>>,
    /// The item whose result is taken next.
    next: usize,
    /// `None` while a thread is in it, and after a failure.
    take: Option<F>,
    failed: Option<E>,
}

impl<T, E, F: FnMut(usize, T) -> Result<(), E>> Delivery<T, E, F> {
    /// Passes on the results that are next in order; returns false after a failure.
    ///
    /// No lock is held within `take`: it may use the thread pool, whose threads may come back here.
    fn deliver(&self, item: usize, result: Result<T, E>) -> bool {
        let mut state = self.lock();
        state.computed.insert(item, result);
        while let Some(mut take) = state.take.take() {
            let next = state.next;
            let Some(result) = state.computed.remove(&next) else {
                state.take = Some(take);
                break;
            };
            drop(state);
            let taken = result.and_then(|result| take(next, result));
            state = self.lock();
            match taken {
                Ok(()) => (state.next, state.take) = (next + 1, Some(take)),
                Err(error) => state.failed = Some(error),
            }
        }
        state.failed.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State<T, E, F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
    }

    #[test]
    fn results_come_in_order_whichever_is_ready_first() {
        for (threads, in_flight) in [(1, 1), (1, 2), (2, 2), (3, 2), (3, 9)] {
            let mut taken = Vec::new();
            let compute = |item: usize| {
                std::thread::sleep(Duration::from_millis(item as u64 * 7 % 4));
                Ok::<_, ()>(item * item)
            };
            let take = |item, result| {
                taken.push((item, result));
                Ok(())
            };
            pool(threads)
                .install(|| in_order(20, in_flight, compute, take))
                .unwrap();
            assert_eq!(taken, (0..20).map(|i| (i, i * i)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn several_items_are_in_flight_at_the_same_time() {
        // One alone would wait here for ever.
        let both = Barrier::new(2);
        let compute = |_| {
            both.wait();
            Ok::<_, ()>(())
        };
        pool(2)
            .install(|| in_order(6, 2, compute, |_, ()| Ok(())))
            .unwrap();
    }

    #[test]
    fn the_thread_pool_may_be_used_while_computing_and_taking() {
        let sum = |item: usize| {
            use rayon::prelude::*;
            (0..1000).into_par_iter().map(|i| i * item).sum::<usize>()
        };
        for threads in [1, 2, 3] {
            let mut total = 0;
            let take = |item, result| {
                total += result + sum(item);
                Ok::<_, ()>(())
            };
            pool(threads)
                .install(|| in_order(30, 2, |item| Ok(sum(item)), take))
                .unwrap();
            assert_eq!(total, 2 * 499_500 * 435);
        }
    }

    #[test]
    fn the_first_failure_in_order_ends_the_work() {
        for (threads, in_flight) in [(1, 1), (1, 2), (2, 2), (4, 3)] {
            let computed = AtomicUsize::new(0);
            let mut taken = 0;
            let compute = |item| {
                computed.fetch_add(1, Ordering::Relaxed);
                if item >= 5 { Err(item) } else { Ok(()) }
            };
            let take = |_, ()| {
                taken += 1;
                Ok(())
            };
            let result = pool(threads).install(|| in_order(1000, in_flight, compute, take));
            assert_eq!((result, taken), (Err(5), 5));
            assert!(computed.into_inner() < 1000);

            let take = |item, ()| if item == 3 { Err(3) } else { Ok(()) };
            let result = pool(threads).install(|| in_order(9, in_flight, |_| Ok(()), take));
            assert_eq!(result, Err(3));
        }
    }
}

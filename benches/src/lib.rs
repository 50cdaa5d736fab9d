//! Measuring on machines that are not quiet.
//!
//! Every sample of the work is preceded by a sample of the ceiling: fused multiply-adds in registers,
//! on as many threads. What disturbs the one disturbs the other, mostly; the best sample and the
//! median of the ratios are reported.

use std::time::{Duration, Instant};

use albert_kernels::{Level, peak_flops};

/// How fast some work is.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// Of the fastest sample.
    pub seconds: f64,
    /// Of the fastest sample of the ceiling.
    pub peak_flops: f64,
    /// The median of the samples' own part of the ceiling beside them, from 0 to 1.
    pub median_of_peak: f64,
    /// Samples taken.
    pub samples: usize,
}

impl Speed {
    /// Repeats `work`, which is `operations` floating-point operations, for about `time`.
    ///
    /// # Panics
    /// If the instruction set that was asked for is not there.
    pub fn of(operations: f64, time: Duration, mut work: impl FnMut()) -> Self {
        let level = Level::current().expect("an instruction set of this machine");
        let (mut seconds, mut peak) = (f64::MAX, 0f64);
        let mut ratios = Vec::new();
        let start = Instant::now();
        work();
        while start.elapsed() < time || ratios.len() < 5 {
            // About half a millisecond.
            let ceiling: f64 = rayon::broadcast(|_| peak_flops(level, 30_000)).into_iter().sum();
            let before = Instant::now();
            work();
            let taken = before.elapsed().as_secs_f64();
            (seconds, peak) = (seconds.min(taken), peak.max(ceiling));
            ratios.push(operations / taken / ceiling);
        }
        ratios.sort_by(f64::total_cmp);
        Self { seconds, peak_flops: peak, median_of_peak: ratios[ratios.len() / 2], samples: ratios.len() }
    }
}

/// Starts rayon with the number of threads in `THREADS`, or 2.
///
/// # Panics
/// If `THREADS` is no number, or rayon runs already.
pub fn set_threads() -> usize {
    let threads = std::env::var("THREADS").map_or(2, |threads| threads.parse().expect("a number of threads"));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().expect("rayon starts here");
    threads
}

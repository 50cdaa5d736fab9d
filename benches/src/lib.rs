//! Measuring on machines that are not quiet.
//!
//! Every sample of the work is preceded by a sample of the ceiling: fused multiply-adds, or dot
//! products of bytes, in registers, on as many threads. The best sample of each is reported, and
//! what the processor time says.

use std::time::{Duration, Instant};

use albert_kernels::{InstructionSet, peak_flops, peak_int8_ops};

/// What the machine could do at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// Fused multiply-adds in f32.
    Floats,
    /// Dot products of bytes.
    Bytes,
}

/// How fast some work is.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// Of the fastest sample.
    pub seconds: f64,
    /// Of the fastest sample of the ceiling, all threads together.
    pub peak: f64,
    /// Operations in a second of processor time, as a part of what one thread's ceiling is in a
    /// second of its processor time, from 0 to 1. Others on the machine hardly change it; threads
    /// that wait for each other do.
    pub busy_of_peak: f64,
    /// Samples taken.
    pub samples: usize,
}

impl Speed {
    /// Repeats `work`, which is as many operations, for about `time`.
    ///
    /// # Panics
    /// If the instruction set that was asked for is not there.
    pub fn of(ceiling: Ceiling, operations: f64, time: Duration, mut work: impl FnMut()) -> Self {
        let (measure, rounds): (fn(_, _) -> _, _) = match ceiling {
            Ceiling::Floats => (peak_flops, 30_000),
            Ceiling::Bytes => (peak_int8_ops, 30_000),
        };
        let level = InstructionSet::current().expect("an instruction set of this machine");
        let (mut seconds, mut peak, mut busy, mut samples) = (f64::MAX, 0f64, 0.0, 0);
        let start = Instant::now();
        work();
        while start.elapsed() < time || samples < 5 {
            // About half a millisecond.
            let ceiling: f64 = rayon::broadcast(|_| measure(level, rounds))
                .into_iter()
                .sum();
            let (before, cpu) = (Instant::now(), processor_seconds());
            work();
            busy += processor_seconds() - cpu;
            (seconds, peak) = (
                seconds.min(before.elapsed().as_secs_f64()),
                peak.max(ceiling),
            );
            samples += 1;
        }
        let of_one_thread = peak / rayon::current_num_threads() as f64;
        let busy_of_peak = operations * f64::from(samples) / busy / of_one_thread;
        Self {
            seconds,
            peak,
            busy_of_peak,
            samples: samples as usize,
        }
    }
}

/// Seconds that this process has had a processor, all its threads together; NaN where the system
/// does not say.
pub fn processor_seconds() -> f64 {
    let Ok(threads) = std::fs::read_dir("/proc/self/task") else {
        return f64::NAN;
    };
    let nanoseconds = |thread: std::fs::DirEntry| -> Option<f64> {
        let times = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok()
    };
    threads.flatten().filter_map(nanoseconds).sum::<f64>() * 1e-9
}

/// Starts rayon with the number of threads in `THREADS`, or 2.
///
/// # Panics
/// If `THREADS` is no number, or rayon runs already.
pub fn set_threads() -> usize {
    let threads =
        std::env::var("THREADS").map_or(2, |threads| threads.parse().expect("a number of threads"));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .expect("rayon starts here");
    threads
}

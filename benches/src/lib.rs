//! Measures speed on machines that also run other processes.
//!
//! Each sample of the work follows a sample of the machine's ceiling on as many threads: fused
//! multiply-adds or dot products of bytes in registers. The results are the best sample of each,
//! and the share of the ceiling by processor time.

use std::time::{Duration, Instant};

use albert_kernels::{InstructionSet, peak_flops, peak_int8_ops};

/// Peak arithmetic throughput of the machine, by type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// Fused multiply-adds in f32.
    Float,
    /// Dot products of bytes.
    Int8,
}

/// The rounds in a sample of the ceiling: about half a millisecond.
const ROUNDS: usize = 30_000;

impl Ceiling {
    /// Measures operations per second, all rayon threads together.
    ///
    /// # Panics
    /// If the instruction set of `ALBERT_KERNELS` is unknown.
    pub fn measure(self) -> f64 {
        let instructions = InstructionSet::current().unwrap_or_else(|error| panic!("{error}"));
        let measure = match self {
            Self::Float => peak_flops,
            Self::Int8 => peak_int8_ops,
        };
        rayon::broadcast(|_| measure(instructions, ROUNDS))
            .into_iter()
            .sum()
    }
}

/// The speed of some work.
#[derive(Debug, Clone, Copy)]
pub struct Speed {
    /// Seconds of the fastest sample.
    pub seconds: f64,
    /// Operations per second of the best sample of the ceiling, all threads together.
    pub peak: f64,
    /// Operations per second of processor time, as a share of one thread's ceiling, from 0 to 1.
    /// Other processes hardly affect it; threads that wait for each other do.
    pub busy_of_peak: f64,
    /// Number of samples.
    pub samples: usize,
}

impl Speed {
    /// Repeats `work`, which executes `operations` operations, for about `time`.
    ///
    /// # Panics
    /// See [`Ceiling::measure`].
    pub fn measure(
        ceiling: Ceiling,
        operations: f64,
        time: Duration,
        mut work: impl FnMut(),
    ) -> Self {
        let (mut seconds, mut peak, mut busy, mut samples) = (f64::MAX, 0f64, 0.0, 0);
        let start = Instant::now();
        work();
        while start.elapsed() < time || samples < 5 {
            let ceiling = ceiling.measure();
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

/// Returns the processor time of this process, all threads together; NaN if the system does not
/// report it.
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

/// Builds the global rayon pool with the number of threads in `THREADS`, or 2; returns it.
///
/// # Panics
/// If `THREADS` is not a number, or the pool exists already.
pub fn set_threads() -> usize {
    let threads =
        std::env::var("THREADS").map_or(2, |threads| threads.parse().expect("a number of threads"));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .expect("no rayon pool exists yet");
    threads
}

//! The four products of a layer of ALBERT base, by rows.

#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::time::Duration;

use albert_benches::{Speed, set_threads};
use albert_kernels::{Level, PackedMatrix, Rows, RowsMut, Then, Threads, product};

fn main() {
    let threads = set_threads();
    let level = Level::current().expect("an instruction set of this machine");
    println!(
        "{level}, {threads} threads; GFLOP/s of the best sample, of the measured FMA peak, the same by processor time"
    );
    for (k, n) in [(768, 2304), (768, 768), (768, 3072), (3072, 768)] {
        let weight: Vec<f32> = (0..k * n).map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5).collect();
        let packed = PackedMatrix::from_transposed(level, k, &[&weight]);
        for m in [16, 128, 1024] {
            let (a, mut c) = (vec![0.5; m * k], vec![0.0; m * n]);
            let operations = 2.0 * (m * k * n) as f64;
            let speed = Speed::of(operations, Duration::from_secs(1), || {
                let c = RowsMut::new(&mut c, m, n);
                let who = if threads == 1 { Threads::One } else { Threads::All };
                rayon::scope(|_| product(Rows::new(&a, m, k), &packed.view(), c, Then::Nothing, who));
            });
            let flops = operations / speed.seconds;
            println!(
                "{k:>5} × {n:<5} {m:>5} rows  {:>5.0} GFLOP/s  {:>3.0} %  {:>3.0} %  ({} samples)",
                flops / 1e9,
                100.0 * flops / speed.peak_flops,
                100.0 * speed.busy_of_peak,
                speed.samples
            );
        }
    }
}

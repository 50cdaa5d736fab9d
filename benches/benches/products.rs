//! Measures the four matrix products of a layer of ALBERT base for several numbers of rows, in f32
//! and in 8 bits.

#![allow(clippy::print_stdout, reason = "the table is the output")]

use std::time::Duration;

use albert_benches::{Ceiling, Speed, set_threads};
use albert_kernels::{
    Epilogue, InstructionSet, PackedMatrix, QuantizedMatrix, QuantizedPart, QuantizedRows, Rows,
    RowsMut, Threads, product, quantize_weights, quantized_product,
};

/// In 8-bit products one in this many columns of A stays in f32, as in the model.
const CHANNELS_FOR_AN_OUTLIER: usize = 96;

fn main() {
    let threads = set_threads();
    let instructions = InstructionSet::current().expect("a known ALBERT_KERNELS");
    let who = if threads == 1 {
        Threads::One
    } else {
        Threads::All
    };
    println!(
        "{instructions}, {threads} threads; GOP/s of the best sample, its share of the measured ceiling, and that share by processor time"
    );
    for (k, n) in [(768, 2304), (768, 768), (768, 3072), (3072, 768)] {
        let weight: Vec<f32> = (0..k * n)
            .map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5)
            .collect();
        let packed = PackedMatrix::from_transposed(instructions, k, &[&weight]);
        let (rounded, scales) = quantize_weights(&weight, k);
        let channels: Vec<usize> = (0..k).step_by(CHANNELS_FOR_AN_OUTLIER).collect();
        let outliers: Vec<f32> = weight
            .chunks(k)
            .flat_map(|row| channels.iter().map(|&channel| row[channel]))
            .collect();
        let part = QuantizedPart {
            rounded: &rounded,
            scales: &scales,
            outliers: &outliers,
        };
        let quantized = QuantizedMatrix::from_transposed(instructions, k, &[part], &channels, true);
        for m in [16, 128, 1024] {
            let (a, mut c) = (vec![0.5; m * k], vec![0.0; m * n]);
            let operations = 2.0 * (m * k * n) as f64;
            let a = Rows::new(&a, m, k);
            let speed = Speed::measure(Ceiling::Float, operations, Duration::from_secs(1), || {
                let c = RowsMut::new(&mut c, m, n);
                rayon::scope(|_| product(a, &packed.view(), c, Epilogue::Store, who));
            });
            report("f32 ", [m, k, n], operations, &speed);
            let mut rows = QuantizedRows::default();
            let speed = Speed::measure(Ceiling::Int8, operations, Duration::from_secs(1), || {
                rayon::scope(|_| {
                    rows.quantize(a, &quantized.view(), who);
                    let c = RowsMut::new(&mut c, m, n);
                    quantized_product(&rows, &quantized.view(), c, Epilogue::Store, who);
                });
            });
            report("int8", [m, k, n], operations, &speed);
        }
    }
}

fn report(what: &str, [m, k, n]: [usize; 3], operations: f64, speed: &Speed) {
    let per_second = operations / speed.seconds;
    println!(
        "{k:>5} × {n:<5} {m:>5} rows  {what}  {:>5.0} GOP/s  {:>3.0} %  {:>3.0} %  ({} samples)",
        per_second / 1e9,
        100.0 * per_second / speed.peak,
        100.0 * speed.busy_of_peak,
        speed.samples
    );
}

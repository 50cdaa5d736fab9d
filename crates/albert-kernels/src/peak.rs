//! Peak arithmetic throughput of one core.

use std::hint::black_box;
use std::time::Instant;

use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd};

/// Runs fused multiply-adds in registers for `rounds` rounds on the calling thread; returns
/// operations per second, counting two per multiply-add.
pub fn peak_flops(instructions: InstructionSet, rounds: usize) -> f64 {
    let start = Instant::now();
    let operations = instructions.run(Chains { rounds });
    operations as f64 / start.elapsed().as_secs_f64()
}

/// Like [`peak_flops`] for dot products of bytes; each multiplication and each addition is one
/// operation.
pub fn peak_int8_ops(instructions: InstructionSet, rounds: usize) -> f64 {
    let start = Instant::now();
    let operations = instructions.run_integer(Int8Chains { rounds });
    operations as f64 / start.elapsed().as_secs_f64()
}

struct Chains {
    rounds: usize,
}

struct Int8Chains {
    rounds: usize,
}

impl Kernel for Int8Chains {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let mut sums = [s.splat_bytes(black_box([0; 4])); CHAINS];
        let mut b = [s.splat_bytes([0; 4]); CHAINS];
        for (chain, b) in b.iter_mut().enumerate() {
            *b = s.splat_bytes(black_box([chain as u8; 4]));
        }
        for _ in 0..self.rounds * 8 {
            // Otherwise the compiler would hoist the products out of the loop.
            let a = s.splat_bytes(black_box([1; 4]));
            for (sum, b) in sums.iter_mut().zip(&b) {
                *sum = s.dot_u8i8(*sum, a, *b);
            }
        }
        let mut total = s.splat(0.0);
        for sum in sums {
            total = s.add(total, s.to_f32(sum));
        }
        black_box(s.sum(total));
        self.rounds * 8 * CHAINS * S::LANES * 4 * 2
    }
}

/// The number of independent chains: enough to hide the latency of an instruction, and few enough
/// for 16 registers.
const CHAINS: usize = 12;

impl Kernel for Chains {
    type Output = usize;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> usize {
        let mut sums = [s.splat(black_box(1.0)); CHAINS];
        let (factor, addend) = (s.splat(black_box(0.5)), s.splat(black_box(0.25)));
        for _ in 0..self.rounds {
            for _ in 0..8 {
                for sum in &mut sums {
                    *sum = s.mul_add(*sum, factor, addend);
                }
            }
        }
        let mut total = sums[0];
        for sum in &sums[1..] {
            total = s.add(total, *sum);
        }
        black_box(s.sum(total));
        self.rounds * 8 * CHAINS * S::LANES * 2
    }
}

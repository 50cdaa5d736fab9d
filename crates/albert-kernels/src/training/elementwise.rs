//! Element-wise sums of buffers, and sums over rows and whole buffers.

use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};

/// Computes `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add(instructions: InstructionSet, xs: &[f32], ys: &mut [f32]) {
    add_scaled(instructions, 1.0, xs, ys);
}

/// Computes `y += a x`, with one rounding per element if the CPU has fused multiply-add.
///
/// # Panics
/// If the lengths differ.
pub fn add_scaled(instructions: InstructionSet, a: f32, xs: &[f32], ys: &mut [f32]) {
    assert!(
        xs.len() == ys.len(),
        "{} values, found {}",
        ys.len(),
        xs.len()
    );
    instructions.run(AddScaled { a, xs, ys });
}

/// Computes `x = a x`.
pub fn scale(instructions: InstructionSet, a: f32, xs: &mut [f32]) {
    instructions.run(Scale { a, xs });
}

/// Adds a bias to each row.
///
/// # Panics
/// If the length of `xs` is not a multiple of that of the bias.
pub fn add_bias(instructions: InstructionSet, bias: &[f32], xs: &mut [f32]) {
    check(xs, bias.len());
    for row in xs.chunks_exact_mut(bias.len()) {
        add(instructions, bias, row);
    }
}

/// Computes `sums += Σ rows`, in the order of the rows: the gradient of a bias.
///
/// # Panics
/// If the length of `xs` is not a multiple of that of the sums.
pub fn column_sums(instructions: InstructionSet, xs: &[f32], sums: &mut [f32]) {
    check(xs, sums.len());
    for row in xs.chunks_exact(sums.len()) {
        add(instructions, row, sums);
    }
}

fn check(xs: &[f32], width: usize) {
    assert!(
        width > 0 && xs.len().is_multiple_of(width),
        "rows of {width} values"
    );
}

/// Returns `Σ x²` in f64, in a fixed order: the same bits on every instruction set.
pub fn square_sum(instructions: InstructionSet, xs: &[f32]) -> f64 {
    instructions.run(SquareSum { xs })
}

struct AddScaled<'a> {
    a: f32,
    xs: &'a [f32],
    ys: &'a mut [f32],
}

impl Kernel for AddScaled<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let a = s.splat(self.a);
        each_vector!(S, self.ys.len(), |at, _sum| {
            let y = s.mul_add(
                a,
                s.load(&self.xs[at.clone()]),
                s.load(&self.ys[at.clone()]),
            );
            s.store(&mut self.ys[at], y);
        });
    }
}

struct Scale<'a> {
    a: f32,
    xs: &'a mut [f32],
}

impl Kernel for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let a = s.splat(self.a);
        each_vector!(S, self.xs.len(), |at, _sum| {
            let x = s.mul(a, s.load(&self.xs[at.clone()]));
            s.store(&mut self.xs[at], x);
        });
    }
}

struct SquareSum<'a> {
    xs: &'a [f32],
}

impl Kernel for SquareSum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> f64 {
        /// The number of parallel sums, whatever the vector length of the instruction set.
        const SUMS: usize = 16;
        let mut sums = [0f64; SUMS];
        let (chunks, rest) = self.xs.as_chunks::<SUMS>();
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                let x = f64::from(*x);
                *sum += x * x;
            }
        }
        for (sum, x) in sums.iter_mut().zip(rest) {
            *sum += f64::from(*x) * f64::from(*x);
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    #[test]
    fn rows_and_columns_are_summed() {
        for instructions in InstructionSet::available() {
            let (rows, width) = (3, 21);
            let (xs, bias) = (numbers(rows * width, 1), numbers(width, 2));
            let mut biased = xs.clone();
            add_bias(instructions, &bias, &mut biased);
            let mut sums = bias.clone();
            column_sums(instructions, &xs, &mut sums);
            for column in 0..width {
                let mut sum = bias[column];
                for row in 0..rows {
                    assert_eq!(
                        biased[row * width + column],
                        xs[row * width + column] + bias[column]
                    );
                    sum += xs[row * width + column];
                }
                assert_eq!(sums[column], sum, "{instructions}");
            }
            let mut scaled = xs.clone();
            scale(instructions, 0.5, &mut scaled);
            add_scaled(instructions, 0.5, &xs, &mut scaled);
            assert_eq!(scaled, xs, "{instructions}");
        }
    }

    #[test]
    fn a_sum_of_squares_has_the_same_bits_on_every_instruction_set() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let xs = numbers(len, 1);
            let expected: f64 = xs.iter().map(|x| f64::from(*x).powi(2)).sum();
            let found = square_sum(InstructionSet::available()[0], &xs);
            assert!((expected - found).abs() <= 1e-12 * expected.max(1.0));
            for instructions in InstructionSet::available() {
                assert_eq!(
                    square_sum(instructions, &xs).to_bits(),
                    found.to_bits(),
                    "{instructions}"
                );
            }
        }
    }
}

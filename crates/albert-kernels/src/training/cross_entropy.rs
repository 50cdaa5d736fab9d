//! Cross-entropy over a vocabulary, whose gradient replaces the logits.

use crate::functions::exp_between;
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};

/// The loss of one row of logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CrossEntropy {
    /// `-ln softmax(x + b)[label]`
    pub loss: f32,
    /// The number of logits larger than the label's: 0 if the label is the model's first choice.
    pub rank: usize,
}

/// Returns the cross-entropy of `softmax(x + b)` and one label, and replaces x by its gradient
/// times `factor`, `(softmax(x + b) - onehot) factor`.
///
/// # Panics
/// If the bias and the logits differ in length, or the label is out of range.
pub fn cross_entropy(
    instructions: InstructionSet,
    logits: &mut [f32],
    bias: &[f32],
    label: usize,
    factor: f32,
) -> CrossEntropy {
    assert!(
        bias.len() == logits.len() && label < logits.len(),
        "label {label} of {} logits",
        logits.len()
    );
    instructions.run(Row {
        logits,
        bias,
        label,
        factor,
    })
}

struct Row<'a> {
    logits: &'a mut [f32],
    bias: &'a [f32],
    label: usize,
    factor: f32,
}

impl Kernel for Row<'_> {
    type Output = CrossEntropy;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> CrossEntropy {
        let row = self.logits;
        let label = row[self.label] + self.bias[self.label];
        let (at_label, zero, one) = (s.splat(label), s.splat(0.0), s.splat(1.0));
        let mut largest = [s.splat(f32::NEG_INFINITY); 4];
        let mut above = [zero; 4];
        each_vector!(S, row.len(), |at, part| {
            let x = s.add(
                s.load_or(&row[at.clone()], f32::NEG_INFINITY),
                s.load(&self.bias[at.clone()]),
            );
            s.store(&mut row[at], x);
            largest[part] = s.max(x, largest[part]);
            above[part] = s.add(above[part], s.select_less(at_label, x, one, zero));
        });
        let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));
        let largest = s.max_lane(largest);
        let at_largest = s.splat(largest);
        let mut sums = [zero; 4];
        each_vector!(S, row.len(), |at, part| {
            let x = s.load_or(&row[at.clone()], f32::NEG_INFINITY);
            let y = exp_between(s, s.sub(x, at_largest));
            sums[part] = s.add(sums[part], y);
            s.store(&mut row[at], y);
        });
        let sum = s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])));
        let factor = s.splat(self.factor / sum);
        each_vector!(S, row.len(), |at, _part| {
            let y = s.mul(s.load(&row[at.clone()]), factor);
            s.store(&mut row[at], y);
        });
        row[self.label] -= self.factor;
        CrossEntropy {
            loss: sum.ln() + (largest - label),
            rank: s.sum(s.add(s.add(above[0], above[1]), s.add(above[2], above[3]))) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 exponentials to 2 ULP, and a sum of up to 1000 of them.
    const TOLERANCE: f64 = 2e-6;

    #[test]
    fn loss_rank_and_gradient_are_those_of_the_formula() {
        for instructions in InstructionSet::available() {
            for (width, label) in [(1, 0), (2, 1), (13, 12), (64, 3), (1000, 999)] {
                let (logits, bias) = (numbers(width, 1), numbers(width, 2));
                let logits: Vec<f32> = logits.iter().map(|x| 9.0 * x).collect();
                let sums: Vec<f32> = logits.iter().zip(&bias).map(|(x, b)| x + b).collect();
                let total: f64 = sums.iter().map(|x| f64::from(*x).exp()).sum();
                let mut found = logits.clone();
                let result = cross_entropy(instructions, &mut found, &bias, label, 0.25);
                let loss = total.ln() - f64::from(sums[label]);
                assert!((loss - f64::from(result.loss)).abs() <= TOLERANCE * loss.max(1.0) * 4.0);
                let rank = sums.iter().filter(|x| **x > sums[label]).count();
                assert_eq!(result.rank, rank, "{instructions}");
                for (i, (x, found)) in sums.iter().zip(&found).enumerate() {
                    let p = f64::from(*x).exp() / total;
                    let expected = 0.25 * (p - f64::from(u8::from(i == label)));
                    assert!(
                        (expected - f64::from(*found)).abs() <= TOLERANCE,
                        "{instructions}"
                    );
                }
            }
        }
    }

    #[test]
    fn huge_logits_give_finite_losses() {
        for instructions in InstructionSet::available() {
            let mut logits = [3e4, -3e4, 0.0];
            let result = cross_entropy(instructions, &mut logits, &[0.0; 3], 1, 1.0);
            assert_eq!((result.loss, result.rank), (6e4, 2));
            assert_eq!(logits[..2], [1.0, -1.0]);
            assert!(logits[2] < 1e-30, "{instructions}: {logits:?}");
        }
    }
}

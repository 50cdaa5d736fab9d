//! Forward and backward pass of self-attention of one sequence, with dropout of the probabilities,
//! for the queries that are needed.
//!
//! Only the probabilities of a block of queries of one head exist at a time. The backward pass
//! recomputes them from queries and keys, so that nothing of size T×T is stored.

mod backward;
mod softmax;

use crate::aligned::Aligned;
use crate::attention::Heads;
use crate::gemm::PackedMatrix;
use crate::gemm::{Rows, RowsMut, fit};
use crate::instruction_set::InstructionSet;
use crate::training::attention::softmax::Softmax;
use crate::training::dropout::DropoutKey;
use crate::training::strided::{Into, Strided, strided_product};

/// The number of queries whose probabilities are computed together.
const BLOCK_QUERIES: usize = 128;

/// The row stride of probabilities is a multiple of this, so that rows start at whole vectors.
const ALIGNMENT: usize = 16;

/// The dropout of attention probabilities.
#[derive(Debug, Clone, Copy)]
pub struct AttentionDropout {
    /// In [0, 1).
    pub probability: f32,
    /// The key of the sequence and the layer.
    pub key: DropoutKey,
}

/// The input of attention: one sequence of T tokens, M of which have queries.
///
/// # Shapes
/// - `queries`: M rows of at least H = N D values
/// - `keys_and_values`: T rows of at least 2H values: the keys, then the values of all heads
/// - `places`: the positions of the queries in the sequence, `(M)`
#[derive(Debug, Clone, Copy)]
pub struct TrainingAttention<'a> {
    /// N and D.
    pub heads: Heads,
    /// Q
    pub queries: Rows<'a>,
    /// K and V
    pub keys_and_values: Rows<'a>,
    /// The positions of the queries in the sequence, on which dropout depends.
    pub places: &'a [usize],
    /// `None` during evaluation.
    pub dropout: Option<AttentionDropout>,
}

/// The memory of [`TrainingAttention`], reused between calls.
#[derive(Debug)]
pub struct AttentionScratch {
    instructions: InstructionSet,
    /// Kᵀ, `(D, T)`
    keys: PackedMatrix,
    /// V or Vᵀ
    values: PackedMatrix,
    /// K, `(T, D)`
    key_rows: PackedMatrix,
    /// Q of a block, `(M, D)`
    query_rows: PackedMatrix,
    /// dO of a block, `(M, D)`
    context_rows: PackedMatrix,
    /// `(M, T)`
    probabilities: Aligned,
    /// After dropout, `(M, T)`
    dropped: Aligned,
    /// `(M, T)`
    gradients: Aligned,
}

impl AttentionScratch {
    /// Creates empty memory, which grows on first use.
    pub fn new(instructions: InstructionSet) -> Self {
        let empty = || PackedMatrix::empty(instructions);
        Self {
            instructions,
            keys: empty(),
            values: empty(),
            key_rows: empty(),
            query_rows: empty(),
            context_rows: empty(),
            probabilities: Aligned::default(),
            dropped: Aligned::default(),
            gradients: Aligned::default(),
        }
    }
}

impl TrainingAttention<'_> {
    /// Computes `dropout(softmax(Q Kᵀ / √D)) V` for every head.
    ///
    /// # Shapes
    /// - `context`: M rows of at least H values
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn forward(&self, scratch: &mut AttentionScratch, context: RowsMut<'_>) {
        let (h, d) = (self.check(), self.heads.size);
        let m = self.queries.count;
        assert!(
            context.count == m && fit(context.values, m, context.stride, h),
            "{m} rows of {h} values"
        );
        let tokens = self.keys_and_values.count;
        let stride = tokens.next_multiple_of(ALIGNMENT);
        scratch.probabilities.resize(BLOCK_QUERIES.min(m) * stride);
        for head in 0..self.heads.count {
            let (key, value) = (self.key(head), self.value(head));
            scratch.keys.refill_transposed(key, d);
            scratch.values.refill(value, d);
            for start in (0..m).step_by(BLOCK_QUERIES) {
                let count = BLOCK_QUERIES.min(m - start);
                let probabilities = &mut scratch.probabilities[..count * stride];
                self.probabilities(
                    scratch.instructions,
                    &scratch.keys,
                    head,
                    start,
                    count,
                    probabilities,
                );
                self.drop_out(scratch.instructions, head, start, probabilities, stride);
                strided_product(
                    Strided::new(probabilities, count, stride),
                    &scratch.values,
                    rows_mut_from(
                        &mut context.values[start * context.stride..],
                        count,
                        context.stride,
                        head * d,
                    ),
                    Into::Replace,
                );
            }
        }
    }

    /// Returns H.
    fn check(&self) -> usize {
        let h = self.heads.count * self.heads.size;
        let (m, tokens) = (self.queries.count, self.keys_and_values.count);
        assert!(h > 0 && self.places.len() == m, "{m} places of queries");
        assert!(
            fit(self.queries.values, m, self.queries.stride, h)
                && fit(
                    self.keys_and_values.values,
                    tokens,
                    self.keys_and_values.stride,
                    2 * h
                ),
            "{m} queries and {tokens} keys of {h} values"
        );
        h
    }

    fn key(&self, head: usize) -> Rows<'_> {
        rows_from(
            self.keys_and_values,
            0,
            self.keys_and_values.count,
            head * self.heads.size,
        )
    }

    fn value(&self, head: usize) -> Rows<'_> {
        let first = (self.heads.count + head) * self.heads.size;
        rows_from(self.keys_and_values, 0, self.keys_and_values.count, first)
    }

    /// Computes `softmax(Q Kᵀ / √D)` of a block of queries; values between rows are not changed.
    fn probabilities(
        &self,
        instructions: InstructionSet,
        keys: &PackedMatrix,
        head: usize,
        start: usize,
        count: usize,
        probabilities: &mut [f32],
    ) {
        let tokens = self.keys_and_values.count;
        let stride = tokens.next_multiple_of(ALIGNMENT);
        let query = rows_from(self.queries, start, count, head * self.heads.size);
        strided_product(
            Strided::new(query.values, count, query.stride),
            keys,
            RowsMut::new(probabilities, count, stride),
            Into::Replace,
        );
        instructions.run(Softmax {
            scores: probabilities,
            width: tokens,
            stride,
            scale: (self.heads.size as f32).sqrt().recip(),
        });
    }

    fn drop_out(
        &self,
        instructions: InstructionSet,
        head: usize,
        start: usize,
        block: &mut [f32],
        stride: usize,
    ) {
        let Some(AttentionDropout { probability, key }) = self.dropout else {
            return;
        };
        let (tokens, key) = (self.keys_and_values.count, key.with(head as u64));
        for (row, place) in block.chunks_exact_mut(stride).zip(&self.places[start..]) {
            key.drop_out(
                instructions,
                probability,
                (place * tokens) as u32,
                &mut row[..tokens],
            );
        }
    }
}

/// Returns some rows from a column on.
fn rows_from(rows: Rows<'_>, start: usize, count: usize, column: usize) -> Rows<'_> {
    Rows {
        values: &rows.values[(start * rows.stride + column).min(rows.values.len())..],
        count,
        stride: rows.stride,
    }
}

fn rows_mut_from(values: &mut [f32], count: usize, stride: usize, column: usize) -> RowsMut<'_> {
    let column = column.min(values.len());
    RowsMut {
        values: &mut values[column..],
        count,
        stride,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::numbers;

    /// f32 sums of up to 150 terms, relative to the largest value of the gradient.
    const TOLERANCE: f64 = 3e-6;

    /// Computes `Σ w ∘ context` and its gradients in f64.
    struct Exact {
        heads: Heads,
        tokens: usize,
        places: Vec<usize>,
        /// The dropout factor of each head, query and key.
        factors: Vec<f64>,
    }

    impl Exact {
        fn sum(&self, queries: &[f64], keys_and_values: &[f64], weights: &[f32]) -> f64 {
            let (n, d, t) = (self.heads.count, self.heads.size, self.tokens);
            let h = n * d;
            let mut total = 0.0;
            for (index, query) in queries.chunks(h).enumerate() {
                for head in 0..n {
                    let at = head * d..(head + 1) * d;
                    let scores: Vec<f64> = keys_and_values
                        .chunks(2 * h)
                        .map(|row| {
                            let products = query[at.clone()].iter().zip(&row[at.clone()]);
                            products.map(|(q, k)| q * k).sum::<f64>() / (d as f64).sqrt()
                        })
                        .collect();
                    let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                    for (key, score) in scores.iter().enumerate() {
                        let factor = self.factors[(head * self.places.len() + index) * t + key];
                        let p = score.exp() / sum * factor;
                        let value = &keys_and_values[key * 2 * h + h..][at.clone()];
                        let weights = &weights[index * h..][at.clone()];
                        total += p * value
                            .iter()
                            .zip(weights)
                            .map(|(v, w)| v * f64::from(*w))
                            .sum::<f64>();
                    }
                }
            }
            total
        }
    }

    fn to_f64(xs: &[f32]) -> Vec<f64> {
        xs.iter().map(|x| f64::from(*x)).collect()
    }

    fn check(
        instructions: InstructionSet,
        heads: Heads,
        tokens: usize,
        places: &[usize],
        probability: f32,
    ) {
        let (h, m) = (heads.count * heads.size, places.len());
        let (queries, keys_and_values) = (numbers(m * h, 1), numbers(tokens * 2 * h, 2));
        let weights = numbers(m * h, 3);
        let key = DropoutKey::new(5);
        let dropout = (probability > 0.0).then_some(AttentionDropout { probability, key });
        let attention = TrainingAttention {
            heads,
            queries: Rows::new(&queries, m, h),
            keys_and_values: Rows::new(&keys_and_values, tokens, 2 * h),
            places,
            dropout,
        };
        let mut scratch = AttentionScratch::new(instructions);
        let mut context = vec![0.0; m * h];
        attention.forward(&mut scratch, RowsMut::new(&mut context, m, h));

        let mut factors = vec![1.0f32; heads.count * m * tokens];
        for (head, rows) in factors.chunks_mut(m * tokens).enumerate() {
            for (row, place) in rows.chunks_mut(tokens).zip(places) {
                let first = (place * tokens) as u32;
                key.with(head as u64)
                    .drop_out(instructions, probability, first, row);
            }
        }
        let exact = Exact {
            heads,
            tokens,
            places: places.to_vec(),
            factors: to_f64(&factors),
        };
        let (q, kv) = (to_f64(&queries), to_f64(&keys_and_values));
        let found: f64 = context
            .iter()
            .zip(&weights)
            .map(|(c, w)| f64::from(c * w))
            .sum();
        let expected = exact.sum(&q, &kv, &weights);
        assert!(
            (expected - found).abs() <= 1e-5 * expected.abs().max(1.0),
            "{expected} {found}"
        );

        let (mut d_queries, mut d_keys_and_values) =
            (vec![f32::NAN; m * h], vec![f32::NAN; tokens * 2 * h]);
        attention.backward(
            &mut scratch,
            Rows::new(&weights, m, h),
            RowsMut::new(&mut d_queries, m, h),
            RowsMut::new(&mut d_keys_and_values, tokens, 2 * h),
        );
        const STEP: f64 = 1e-5;
        // Every seventh value: finite differences of all would take minutes.
        for (gradient, is_query) in [(&d_queries, true), (&d_keys_and_values, false)] {
            let scale = gradient
                .iter()
                .fold(0.1f64, |most, x| most.max(f64::from(x.abs())));
            for i in (0..gradient.len()).step_by(7) {
                let shifted = |by: f64| {
                    let (mut q, mut kv) = (q.clone(), kv.clone());
                    if is_query {
                        q[i] += by
                    } else {
                        kv[i] += by
                    }
                    exact.sum(&q, &kv, &weights)
                };
                let expected = (shifted(STEP) - shifted(-STEP)) / (2.0 * STEP);
                let error = (expected - f64::from(gradient[i])).abs() / scale;
                assert!(
                    error <= TOLERANCE,
                    "{error:.1e} at {i}, {tokens} tokens, {m} queries, dropout {probability}, {instructions}"
                );
            }
        }
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        let heads = Heads { count: 2, size: 5 };
        for instructions in InstructionSet::available() {
            for (tokens, places) in [
                (1, vec![0]),
                (7, (0..7).collect()),
                (19, vec![0, 4, 18]),
                (20, vec![]),
            ] {
                for probability in [0.0, 0.3] {
                    if !places.is_empty() {
                        check(instructions, heads, tokens, &places, probability);
                    }
                }
            }
        }
    }

    #[test]
    fn queries_beyond_a_block_add_to_the_gradients_of_keys() {
        let heads = Heads { count: 1, size: 3 };
        let places: Vec<usize> = (0..150).collect();
        check(InstructionSet::available()[0], heads, 150, &places, 0.0);
    }

    #[test]
    fn without_queries_keys_and_values_have_no_gradient() {
        let heads = Heads { count: 1, size: 2 };
        let keys_and_values = numbers(12, 1);
        let attention = TrainingAttention {
            heads,
            queries: Rows::new(&[], 0, 2),
            keys_and_values: Rows::new(&keys_and_values, 3, 4),
            places: &[],
            dropout: None,
        };
        let mut gradient = vec![f32::NAN; 12];
        attention.backward(
            &mut AttentionScratch::new(InstructionSet::available()[0]),
            Rows::new(&[], 0, 2),
            RowsMut::new(&mut [], 0, 2),
            RowsMut::new(&mut gradient, 3, 4),
        );
        assert_eq!(gradient, [0.0; 12]);
    }
}

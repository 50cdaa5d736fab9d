//! Forward and backward pass of self-attention of one sequence, with dropout of the probabilities,
//! for the queries that are needed.
//!
//! Only the probabilities of a block of queries of one head exist at a time. The backward pass
//! recomputes them from queries and keys, so that nothing of size T×T is stored.

use crate::aligned::Aligned;
use crate::attention::{Heads, exponentials};
use crate::gemm::PackedMatrix;
use crate::gemm::{Rows, RowsMut, fit};
use crate::instruction_set::InstructionSet;
use crate::simd::{Kernel, Simd, each_vector};
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

    /// Computes the gradients of queries, keys and values from the gradient of the context, and
    /// overwrites the outputs with them.
    ///
    /// ```text
    /// dV = Pᵀ dO,  dP = dO Vᵀ,  dS = P ∘ (dP - Σ dP ∘ P) / √D,  dQ = dS K,  dK = dSᵀ Q
    /// ```
    ///
    /// # Shapes
    /// - `d_context` and `d_queries`: M rows of at least H values
    /// - `d_keys_and_values`: T rows of at least 2H values
    ///
    /// # Panics
    /// If the shapes do not match.
    pub fn backward(
        &self,
        scratch: &mut AttentionScratch,
        d_context: Rows<'_>,
        d_queries: RowsMut<'_>,
        d_keys_and_values: RowsMut<'_>,
    ) {
        let (h, d) = (self.check(), self.heads.size);
        let (m, tokens) = (self.queries.count, self.keys_and_values.count);
        assert!(
            d_context.count == m
                && d_queries.count == m
                && fit(d_context.values, m, d_context.stride, h)
                && fit(d_queries.values, m, d_queries.stride, h),
            "{m} rows of {h} values"
        );
        assert!(
            d_keys_and_values.count == tokens
                && fit(
                    d_keys_and_values.values,
                    tokens,
                    d_keys_and_values.stride,
                    2 * h
                ),
            "{tokens} rows of {} values",
            2 * h
        );
        let stride = tokens.next_multiple_of(ALIGNMENT);
        let AttentionScratch {
            instructions,
            keys,
            values,
            key_rows,
            query_rows,
            context_rows,
            probabilities,
            dropped,
            gradients,
        } = scratch;
        let size = BLOCK_QUERIES.min(m) * stride;
        for buffer in [&mut *probabilities, &mut *gradients] {
            buffer.resize(size);
        }
        if self.dropout.is_some() {
            dropped.resize(size);
        }
        let scale = (d as f32).sqrt().recip();
        for head in 0..self.heads.count {
            let (key, value) = (self.key(head), self.value(head));
            keys.refill_transposed(key, d);
            values.refill_transposed(value, d);
            key_rows.refill(key, d);
            let [d_key, d_value] = [head * d, h + head * d];
            for start in (0..m).step_by(BLOCK_QUERIES) {
                let count = BLOCK_QUERIES.min(m - start);
                let query = rows_from(self.queries, start, count, head * d);
                let d_out = rows_from(d_context, start, count, head * d);
                // The first block overwrites dK and dV.
                let into = [Into::Add, Into::Replace][usize::from(start == 0)];
                let probabilities = &mut probabilities[..count * stride];
                let gradients = &mut gradients[..count * stride];
                self.probabilities(*instructions, keys, head, start, count, probabilities);
                query_rows.refill(query, d);
                context_rows.refill(d_out, d);

                strided_product(
                    Strided::new(d_out.values, count, d_out.stride),
                    values,
                    RowsMut::new(gradients, count, stride),
                    Into::Replace,
                ); // d(dropped P)
                let weights = if self.dropout.is_some() {
                    let dropped = &mut dropped[..count * stride];
                    dropped.copy_from_slice(probabilities);
                    self.drop_out(*instructions, head, start, dropped, stride);
                    self.drop_out(*instructions, head, start, gradients, stride); // dP
                    &*dropped
                } else {
                    &*probabilities
                };
                strided_product(
                    Strided::transposed(weights, tokens, stride),
                    context_rows,
                    rows_mut_from(
                        &mut *d_keys_and_values.values,
                        tokens,
                        d_keys_and_values.stride,
                        d_value,
                    ),
                    into,
                );
                instructions.run(SoftmaxBackward {
                    probabilities,
                    gradients,
                    width: tokens,
                    stride,
                    scale,
                }); // dS
                strided_product(
                    Strided::new(gradients, count, stride),
                    key_rows,
                    rows_mut_from(
                        &mut d_queries.values[start * d_queries.stride..],
                        count,
                        d_queries.stride,
                        head * d,
                    ),
                    Into::Replace,
                );
                strided_product(
                    Strided::transposed(gradients, tokens, stride),
                    query_rows,
                    rows_mut_from(
                        &mut *d_keys_and_values.values,
                        tokens,
                        d_keys_and_values.stride,
                        d_key,
                    ),
                    into,
                );
            }
        }
        if m == 0 {
            let rows = d_keys_and_values
                .values
                .chunks_mut(d_keys_and_values.stride);
            rows.take(tokens).for_each(|row| row[..2 * h].fill(0.0));
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

struct Softmax<'a> {
    scores: &'a mut [f32],
    width: usize,
    stride: usize,
    scale: f32,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        for row in self.scores.chunks_exact_mut(self.stride) {
            let row = &mut row[..self.width];
            let factor = s.splat(exponentials(s, row, self.scale).recip());
            each_vector!(S, row.len(), |at, _sum| {
                let p = s.mul(s.load(&row[at.clone()]), factor);
                s.store(&mut row[at], p);
            });
        }
    }
}

/// Replaces dP by `dS = scale P ∘ (dP - Σ dP ∘ P)`.
struct SoftmaxBackward<'a> {
    probabilities: &'a [f32],
    gradients: &'a mut [f32],
    width: usize,
    stride: usize,
    scale: f32,
}

impl Kernel for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rows = self.probabilities.chunks_exact(self.stride);
        for (ps, dps) in rows.zip(self.gradients.chunks_exact_mut(self.stride)) {
            let (ps, dps) = (&ps[..self.width], &mut dps[..self.width]);
            let mut sums = [s.splat(0.0); 4];
            each_vector!(S, ps.len(), |at, one| {
                sums[one] = s.mul_add(s.load(&ps[at.clone()]), s.load(&dps[at]), sums[one]);
            });
            let sum = s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])));
            // The rounding of the sum would shift all dS alike. Where tokens have similar values, dS is
            // small compared with dP, and the shift would dominate it: it is summed up again and removed.
            let (sum, scale) = (s.splat(sum), s.splat(self.scale));
            let mut shifts = [s.splat(0.0); 4];
            each_vector!(S, ps.len(), |at, one| {
                let difference = s.sub(s.load(&dps[at.clone()]), sum);
                shifts[one] = s.mul_add(s.load(&ps[at.clone()]), difference, shifts[one]);
                s.store(&mut dps[at], difference);
            });
            let shift = s.sum(s.add(s.add(shifts[0], shifts[1]), s.add(shifts[2], shifts[3])));
            let shift = s.splat(shift);
            each_vector!(S, ps.len(), |at, _one| {
                let p = s.mul(scale, s.load(&ps[at.clone()]));
                let ds = s.mul(p, s.sub(s.load(&dps[at.clone()]), shift));
                s.store(&mut dps[at], ds);
            });
        }
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

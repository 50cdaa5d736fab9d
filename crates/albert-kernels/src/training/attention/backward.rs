//! Backward pass of attention.

use super::softmax::SoftmaxBackward;
use super::{
    ALIGNMENT, AttentionScratch, BLOCK_QUERIES, TrainingAttention, rows_from, rows_mut_from,
};
use crate::gemm::{Rows, RowsMut, fit};
use crate::training::strided::{Into, Strided, strided_product};

impl TrainingAttention<'_> {
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
}

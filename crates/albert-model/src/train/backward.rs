//! The backward pass of a bundle: computes the gradients of all parameters from those of the hidden
//! states.

use albert_kernels::training::{
    NormGradients, activate_backward, add, column_sums, layer_norm_backward,
};
use albert_kernels::{Epilogue, Rows, RowsMut};

use crate::train::bundle::Bundle;
use crate::train::forward::gather;
use crate::train::network::{Dense, Norm};
use crate::train::slot::{Purpose, Slot, Step};

/// Returns the gradients of a norm and of the bias before it.
fn norm_gradients<'a>(
    gradients: &'a mut [f32],
    norm: &Norm,
    bias: Option<&Dense>,
) -> NormGradients<'a> {
    let (gamma, beta) = (norm.gamma.clone(), norm.beta.clone());
    const APART: &str = "parameters do not overlap";
    match bias {
        Some(dense) => {
            let ranges = [gamma, beta, dense.bias.clone()];
            let [gamma, beta, bias] = gradients.get_disjoint_mut(ranges).expect(APART);
            NormGradients {
                gamma,
                beta,
                bias: Some(bias),
            }
        }
        None => {
            let [gamma, beta] = gradients.get_disjoint_mut([gamma, beta]).expect(APART);
            NormGradients {
                gamma,
                beta,
                bias: None,
            }
        }
    }
}

impl Slot {
    /// Propagates `d_states`, the gradient of the rows that are read, back to the embeddings.
    pub(super) fn backward(&mut self, step: &Step<'_>, bundle: &Bundle) {
        if step.frozen.encoder {
            return;
        }
        for layer in (0..step.network.schedule.len()).rev() {
            self.layer_backward(step, bundle, layer);
            if let Some(tap) = &mut self.d_taps[layer] {
                if tap.len() == self.d_states.len() {
                    add(step.instructions, tap, &mut self.d_states);
                }
                tap.resize(0);
            }
        }
        self.embed_backward(step, bundle);
    }

    fn layer_backward(&mut self, step: &Step<'_>, bundle: &Bundle, layer: usize) {
        let weights = &step.network.layers[step.network.schedule[layer]];
        let (instructions, h, i, rows) =
            (step.instructions, step.shape.h, step.shape.i, bundle.rows);
        let is_last = layer + 1 == step.network.schedule.len();
        let read_rows = bundle.read_rows.as_ref().filter(|_| is_last);
        let (is_read, count) = (read_rows.is_some(), read_rows.map_or(rows, Vec::len));
        let kept = &mut self.kept[layer];
        let gradients = &mut self.gradients[..];
        let parameter = |range: &std::ops::Range<usize>| &step.parameters[range.clone()];
        self.narrow.resize(count * h);
        self.narrow_2.resize(count * h);
        self.wide.resize(count * i);

        // Feed-forward network: z = LN(a + dropout(W₂ f(W₁ a + b₁) + b₂))
        let has_dropout = step.dropout.feed_forward > 0.0;
        layer_norm_backward(
            instructions,
            parameter(&weights.norm.gamma),
            &kept.normed,
            &kept.deviations,
            &mut self.d_states,
            norm_gradients(
                gradients,
                &weights.norm,
                (!has_dropout).then_some(&weights.output),
            ),
        );
        let d_output: &[f32] = if has_dropout {
            self.narrow.copy_from_slice(&self.d_states);
            let (places, purpose) = (bundle.row_places(is_read), Purpose::FeedForward { layer });
            let probability = step.dropout.feed_forward;
            step.drop_out(probability, places, purpose, &mut self.narrow, h);
            self.weight_scratch
                .bias(instructions, &weights.output, &self.narrow, gradients);
            &self.narrow
        } else {
            &self.d_states
        };
        step.dense_backward(
            &weights.output,
            d_output,
            count,
            &mut self.wide,
            Epilogue::Store,
        );
        activate_backward(
            instructions,
            step.shape.activation,
            &mut kept.inner,
            parameter(&weights.inner.bias),
            &mut self.wide,
            &mut gradients[weights.inner.bias.clone()],
        );
        self.weight_scratch.pack(&kept.inner, count, i);
        self.weight_scratch
            .weight(&weights.output, d_output, gradients);
        self.weight_scratch.pack(&kept.attended, count, h);
        self.weight_scratch
            .weight(&weights.inner, &self.wide, gradients);
        step.dense_backward(
            &weights.inner,
            &self.wide,
            count,
            &mut self.d_states,
            Epilogue::Accumulate,
        );

        // Attention: a = LN(x + dropout(Wₒ context + bₒ))
        let has_dropout = step.dropout.hidden > 0.0;
        layer_norm_backward(
            instructions,
            parameter(&weights.attention_norm.gamma),
            &kept.attention_normed,
            &kept.attention_deviations,
            &mut self.d_states,
            norm_gradients(
                gradients,
                &weights.attention_norm,
                (!has_dropout).then_some(&weights.attention_output),
            ),
        );
        let d_output: &[f32] = if has_dropout {
            self.narrow_2.copy_from_slice(&self.d_states);
            let (places, purpose) = (
                bundle.row_places(is_read),
                Purpose::AttentionOutput { layer },
            );
            step.drop_out(step.dropout.hidden, places, purpose, &mut self.narrow_2, h);
            self.weight_scratch.bias(
                instructions,
                &weights.attention_output,
                &self.narrow_2,
                gradients,
            );
            &self.narrow_2
        } else {
            &self.d_states
        };
        let output = &weights.attention_output;
        step.dense_backward(output, d_output, count, &mut self.narrow, Epilogue::Store); // d context
        self.weight_scratch.pack(&kept.context, count, h);
        self.weight_scratch.weight(output, d_output, gradients);

        let (d_context, d_query) = (&self.narrow, &mut self.narrow_2);
        self.wide.resize(rows * 2 * h);
        for (index, span) in bundle.spans.iter().enumerate() {
            let attention = step.attention(
                layer,
                bundle,
                index,
                [&kept.query, &kept.key_value],
                is_read,
            );
            let first = if is_read { span.read_start } else { span.start };
            let count = attention.places.len();
            let d_key_value = &mut self.wide[span.start * 2 * h..][..span.tokens * 2 * h];
            attention.backward(
                &mut self.attention,
                Rows::new(&d_context[first * h..], count, h),
                RowsMut::new(&mut d_query[first * h..], count, h),
                RowsMut::new(d_key_value, span.tokens, 2 * h),
            );
        }
        let (d_query, d_key_value) = (&self.narrow_2, &self.wide);
        self.weight_scratch
            .bias(instructions, &weights.query, d_query, gradients);
        self.weight_scratch
            .bias(instructions, &weights.key_value, d_key_value, gradients);
        self.weight_scratch.pack(&kept.input, rows, h);
        self.weight_scratch
            .weight(&weights.key_value, d_key_value, gradients);
        if let Some(read_rows) = read_rows {
            gather(&kept.input, read_rows, h, &mut self.narrow);
            self.weight_scratch.pack(&self.narrow, count, h);
        }
        self.weight_scratch
            .weight(&weights.query, d_query, gradients);
        let d_states = &mut self.d_states;
        step.dense_backward(
            &weights.query,
            d_query,
            count,
            d_states,
            Epilogue::Accumulate,
        );
        if let Some(read_rows) = read_rows {
            // From here on the unread rows have gradients too, through keys and values.
            self.narrow.resize(rows * h);
            step.dense_backward(
                &weights.key_value,
                d_key_value,
                rows,
                &mut self.narrow,
                Epilogue::Store,
            );
            for (row, d_state) in read_rows.iter().zip(d_states.chunks_exact(h)) {
                add(instructions, d_state, &mut self.narrow[row * h..][..h]);
            }
            std::mem::swap(&mut self.narrow, d_states);
        } else {
            step.dense_backward(
                &weights.key_value,
                d_key_value,
                rows,
                d_states,
                Epilogue::Accumulate,
            );
        }
    }

    fn embed_backward(&mut self, step: &Step<'_>, bundle: &Bundle) {
        let (instructions, rows, e) = (step.instructions, bundle.rows, step.shape.e);
        let (network, gradients) = (step.network, &mut self.gradients[..]);
        if let Some(projection) = &network.projection {
            self.weight_scratch
                .bias(instructions, projection, &self.d_states, gradients);
            self.weight_scratch.pack(&self.embeddings, rows, e);
            self.weight_scratch
                .weight(projection, &self.d_states, gradients);
        }
        if step.frozen.freezes_embeddings() {
            return;
        }
        self.narrow.resize(rows * e);
        match &network.projection {
            Some(projection) => step.dense_backward(
                projection,
                &self.d_states,
                rows,
                &mut self.narrow,
                Epilogue::Store,
            ),
            None => self.narrow.copy_from_slice(&self.d_states),
        }
        let places = bundle.row_places(false);
        step.drop_out(
            step.dropout.hidden,
            places,
            Purpose::Embeddings,
            &mut self.narrow,
            e,
        );
        layer_norm_backward(
            instructions,
            &step.parameters[network.embedding_norm.gamma.clone()],
            &self.embedding_normed,
            &self.embedding_deviations,
            &mut self.narrow,
            norm_gradients(gradients, &network.embedding_norm, None),
        );
        let mut d_rows = self.narrow.chunks_exact(e);
        for span in &bundle.spans {
            let batch_rows = step.batch.rows(span.sequence);
            let ids = step.batch.ids(batch_rows.clone());
            let tokens = ids.iter().zip(step.batch.types(batch_rows));
            for ((place, (id, kind)), d_row) in tokens.enumerate().zip(&mut d_rows) {
                for (table, row) in [
                    (&network.words, *id as usize),
                    (&network.positions, place),
                    (&network.types, *kind as usize),
                ] {
                    column_sums(
                        instructions,
                        d_row,
                        &mut gradients[table.start + row * e..][..e],
                    );
                }
            }
        }
    }
}

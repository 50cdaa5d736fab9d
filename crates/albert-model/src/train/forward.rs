//! The forward pass of a bundle, which stores what the backward pass needs.

use albert_kernels::training::{AttentionDropout, TrainingAttention, activate, layer_norm};
use albert_kernels::{LayerNorm, Rows, RowsMut};

use crate::train::bundle::Bundle;
use crate::train::network::Norm;
use crate::train::slot::{Kept, Purpose, Slot, Step};

impl Step<'_> {
    pub(super) fn norm(&self, norm: &Norm) -> LayerNorm<'_> {
        LayerNorm {
            gamma: &self.parameters[norm.gamma.clone()],
            beta: &self.parameters[norm.beta.clone()],
            eps: self.shape.eps,
        }
    }

    /// Returns the attention of a sequence in one layer.
    pub(super) fn attention<'a>(
        &self,
        layer: usize,
        bundle: &'a Bundle,
        index: usize,
        [query, key_value]: [&'a [f32]; 2],
        is_read: bool,
    ) -> TrainingAttention<'a> {
        let (h, span) = (self.shape.h, &bundle.spans[index]);
        let (first, count) = if is_read {
            (span.read_start, span.read)
        } else {
            (span.start, span.tokens)
        };
        let places = if is_read {
            &bundle.read_places
        } else {
            &bundle.places
        };
        let dropout = (self.dropout.attention > 0.0).then(|| AttentionDropout {
            probability: self.dropout.attention,
            key: self.key(span.sequence, Purpose::Probabilities { layer }),
        });
        TrainingAttention {
            heads: self.shape.heads,
            queries: Rows::new(&query[first * h..], count, h),
            keys_and_values: Rows::new(&key_value[span.start * 2 * h..], span.tokens, 2 * h),
            places: &places[first..first + count],
            dropout,
        }
    }
}

impl Bundle {
    /// Returns the sequence and the place of each row, or only of the rows that are read.
    pub(super) fn row_places(&self, is_read: bool) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.spans.iter().flat_map(move |span| {
            let places = if is_read {
                &self.read_places[span.read_start..][..span.read]
            } else {
                &self.places[span.start..][..span.tokens]
            };
            places.iter().map(|place| (span.sequence, *place))
        })
    }
}

impl Slot {
    /// Computes the hidden states of all layers; in the last layer only the rows that are read.
    pub(super) fn forward(&mut self, step: &Step<'_>, bundle: &Bundle) {
        self.embed(step, bundle);
        let layers = step.network.schedule.len();
        for layer in 0..layers {
            let (this, rest) = self.kept[layer..]
                .split_first_mut()
                .expect("the layer is there");
            let output = rest
                .first_mut()
                .map_or(&mut self.output, |next| &mut next.input);
            let scratch = Scratch {
                narrow: &mut self.narrow,
                narrow_2: &mut self.narrow_2,
                wide: &mut self.wide,
                attention: &mut self.attention,
            };
            scratch.layer(step, bundle, layer, layer + 1 == layers, this, output);
        }
    }

    /// Computes the embeddings of words, types and positions, their norm, and the projection from E
    /// to H.
    fn embed(&mut self, step: &Step<'_>, bundle: &Bundle) {
        let (rows, e, h) = (bundle.rows, step.shape.e, step.shape.h);
        let table = |range: &std::ops::Range<usize>| &step.parameters[range.clone()];
        let network = step.network;
        let (words, types) = (table(&network.words), table(&network.types));
        let positions = table(&network.positions);
        self.narrow.resize(rows * e);
        self.embedding_normed.resize(rows * e);
        self.embedding_deviations.resize(rows);
        self.embeddings.resize(rows * e);
        let mut sums = self.narrow.chunks_exact_mut(e);
        for span in &bundle.spans {
            let batch_rows = step.batch.rows(span.sequence);
            let tokens = step
                .batch
                .ids(batch_rows.clone())
                .iter()
                .zip(step.batch.types(batch_rows));
            for ((place, (id, kind)), sum) in tokens.enumerate().zip(&mut sums) {
                let word = &words[*id as usize * e..][..e];
                let kind = &types[*kind as usize * e..][..e];
                let position = &positions[place * e..][..e];
                for (i, sum) in sum.iter_mut().enumerate() {
                    *sum = (word[i] + kind[i]) + position[i];
                }
            }
        }
        layer_norm(
            step.instructions,
            step.norm(&network.embedding_norm),
            &self.narrow,
            None,
            &mut self.embedding_normed,
            &mut self.embedding_deviations,
            &mut self.embeddings,
        );
        let places = bundle.row_places(false);
        step.drop_out(
            step.dropout.hidden,
            places,
            Purpose::Embeddings,
            &mut self.embeddings,
            e,
        );
        let states = &mut self.kept[0].input;
        states.resize(rows * h);
        match &network.projection {
            Some(projection) => step.dense(projection, &self.embeddings, rows, states),
            None => states.copy_from_slice(&self.embeddings),
        }
    }
}

/// The memory that layers share.
struct Scratch<'a> {
    narrow: &'a mut albert_kernels::Aligned,
    narrow_2: &'a mut albert_kernels::Aligned,
    wide: &'a mut albert_kernels::Aligned,
    attention: &'a mut albert_kernels::training::AttentionScratch,
}

impl Scratch<'_> {
    fn layer(
        self,
        step: &Step<'_>,
        bundle: &Bundle,
        layer: usize,
        is_last: bool,
        kept: &mut Kept,
        output: &mut albert_kernels::Aligned,
    ) {
        let weights = &step.network.layers[step.network.schedule[layer]];
        let (h, i, rows) = (step.shape.h, step.shape.i, bundle.rows);
        // The rows that are needed: the read rows of the last layer, and all rows before it.
        let read_rows = bundle.read_rows.as_ref().filter(|_| is_last);
        let (is_read, count) = (read_rows.is_some(), read_rows.map_or(rows, Vec::len));
        for buffer in [
            &mut kept.query,
            &mut kept.context,
            &mut kept.attention_normed,
            &mut kept.attended,
            &mut kept.normed,
            output,
            self.narrow,
            self.narrow_2,
        ] {
            buffer.resize(count * h);
        }
        kept.key_value.resize(rows * 2 * h);
        kept.attention_deviations.resize(count);
        kept.deviations.resize(count);
        kept.inner.resize(count * i);
        self.wide.resize(count * i);

        let residual: &[f32] = match read_rows {
            Some(read_rows) => {
                gather(&kept.input, read_rows, h, self.narrow_2);
                self.narrow_2
            }
            None => &kept.input,
        };
        step.dense(&weights.query, residual, count, &mut kept.query);
        step.dense(&weights.key_value, &kept.input, rows, &mut kept.key_value);
        for (index, span) in bundle.spans.iter().enumerate() {
            let attention = step.attention(
                layer,
                bundle,
                index,
                [&kept.query, &kept.key_value],
                is_read,
            );
            let first = if is_read { span.read_start } else { span.start };
            let context = &mut kept.context[first * h..];
            let context = RowsMut::new(context, attention.places.len(), h);
            attention.forward(self.attention, context);
        }
        let bias = &step.parameters[weights.attention_output.bias.clone()];
        let bias = if step.dropout.hidden > 0.0 {
            step.dense(&weights.attention_output, &kept.context, count, self.narrow);
            let purpose = Purpose::AttentionOutput { layer };
            let places = bundle.row_places(is_read);
            step.drop_out(step.dropout.hidden, places, purpose, self.narrow, h);
            &step.zeros[..h]
        } else {
            step.dense_without_bias(&weights.attention_output, &kept.context, count, self.narrow);
            bias
        };
        layer_norm(
            step.instructions,
            step.norm(&weights.attention_norm),
            residual,
            Some((self.narrow, bias)),
            &mut kept.attention_normed,
            &mut kept.attention_deviations,
            &mut kept.attended,
        );

        step.dense_without_bias(&weights.inner, &kept.attended, count, &mut kept.inner);
        let bias = &step.parameters[weights.inner.bias.clone()];
        activate(
            step.instructions,
            step.shape.activation,
            &kept.inner,
            bias,
            self.wide,
        );
        let bias = &step.parameters[weights.output.bias.clone()];
        let bias = if step.dropout.feed_forward > 0.0 {
            step.dense(&weights.output, self.wide, count, self.narrow);
            let purpose = Purpose::FeedForward { layer };
            let places = bundle.row_places(is_read);
            step.drop_out(step.dropout.feed_forward, places, purpose, self.narrow, h);
            &step.zeros[..h]
        } else {
            step.dense_without_bias(&weights.output, self.wide, count, self.narrow);
            bias
        };
        layer_norm(
            step.instructions,
            step.norm(&weights.norm),
            &kept.attended,
            Some((self.narrow, bias)),
            &mut kept.normed,
            &mut kept.deviations,
            output,
        );
    }
}

/// Copies some rows of `width` values next to each other.
pub(super) fn gather(from: &[f32], rows: &[usize], width: usize, to: &mut [f32]) {
    for (row, to) in rows.iter().zip(to.chunks_exact_mut(width)) {
        to.copy_from_slice(&from[row * width..][..width]);
    }
}

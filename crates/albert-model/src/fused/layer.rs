//! One layer over the rows of a bundle: attention within each sequence, products over all rows.

use albert_kernels::{Epilogue, Heads, Rows, RowsMut, Threads, attention, attention_int16};

use super::bundle::Sequence;
use super::scratch::Scratch;
use crate::attention::PackedAttention;
use crate::layer::PackedLayer;
use crate::observer::ProductInput;

/// The longest sequence whose attention is computed in f32 in int8 models too: products in 16 bits
/// would save less time than rounding takes. On a Xeon with AVX-512, f32 took 0.5 to 0.6 of the time
/// at 16 tokens and 0.8 to 0.9 at 128; with AVX2, 0.6 to 0.7 and 1.0 to 1.1.
const SHORT_TOKENS: usize = 128;

/// The number of columns of the inner feed-forward layer that are computed and consumed together,
/// while they are cached.
const COLUMNS_TOGETHER: usize = 768;

impl PackedLayer {
    /// Computes the layer on the hidden states in `scratch`. With `read`, ascending rows, only the
    /// results of these rows are computed, and follow one another at the start of the hidden states.
    ///
    /// `see` is given the input of each product with its width.
    pub(super) fn apply(
        &self,
        heads: Heads,
        bundle: &[Sequence<'_>],
        read: Option<&[usize]>,
        scratch: &mut Scratch,
        threads: Threads,
        mut see: impl FnMut(ProductInput, &[f32], usize),
    ) {
        let h = heads.count * heads.size;
        let rows = scratch.states.len() / h;
        see(ProductInput::HiddenStates, &scratch.states, h);
        self.attention.attend(heads, bundle, scratch, threads);
        let rows = match read {
            Some(read) => {
                keep_rows(&mut scratch.states, read, h);
                keep_rows(&mut scratch.context, read, h);
                read.len()
            }
            None => rows,
        };
        if rows > 0 {
            self.project_context(rows, h, scratch, threads, &mut see);
            self.feed_forward(rows, h, scratch, threads, &mut see);
        }
    }

    /// Adds the projected context to the first `rows` hidden states, and normalizes them.
    fn project_context(
        &self,
        rows: usize,
        h: usize,
        scratch: &mut Scratch,
        threads: Threads,
        see: &mut impl FnMut(ProductInput, &[f32], usize),
    ) {
        let linear = &self.attention.output;
        let context = &scratch.context[..rows * h];
        let output = &mut scratch.output[..rows * h];
        see(ProductInput::Context, context, h);
        let context = Rows::new(context, rows, h);
        let context = linear.prepare(context, 0..h, &mut scratch.rounded, threads);
        linear.product(
            context,
            [0..h, 0..h],
            RowsMut::new(output, rows, h),
            Epilogue::Store,
            threads,
        );
        let states = &mut scratch.states[..rows * h];
        let instructions = self.feed_forward.inner.instruction_set();
        let norm = self.attention.norm.kernel();
        norm.apply_to_sum(instructions, states, output, &linear.bias);
    }

    /// Adds the output of the feed-forward network to the first `rows` hidden states, and
    /// normalizes them. The inner layer is computed and consumed in parts.
    fn feed_forward(
        &self,
        rows: usize,
        h: usize,
        scratch: &mut Scratch,
        threads: Threads,
        see: &mut impl FnMut(ProductInput, &[f32], usize),
    ) {
        let feed_forward = &self.feed_forward;
        let Scratch {
            states,
            output,
            inner,
            rounded,
            rounded_inner,
            ..
        } = scratch;
        let states = &mut states[..rows * h];
        let output = &mut output[..rows * h];
        let i = feed_forward.inner.out();
        // In f32 a sum over all of K has the same bits as a sum in parts; in int8 each part is
        // rounded separately.
        let is_whole = threads == Threads::All && !feed_forward.output.is_int8();
        let together = COLUMNS_TOGETHER.next_multiple_of(feed_forward.inner.panel_width());
        let step = if is_whole { i } else { together };
        inner.resize(rows * step.min(i));
        see(ProductInput::Attended, states, h);
        let attended = Rows::new(states, rows, h);
        let attended = feed_forward.inner.prepare(attended, 0..h, rounded, threads);
        for start in (0..i).step_by(step) {
            let part = start..(start + step).min(i);
            let width = part.len();
            let epilogue = Epilogue::BiasActivation(
                &feed_forward.inner.bias[part.clone()],
                feed_forward.activation,
            );
            feed_forward.inner.product(
                attended,
                [0..h, part.clone()],
                RowsMut::new(inner, rows, width),
                epilogue,
                threads,
            );
            if width == i {
                see(ProductInput::Activations, inner, i);
            }
            let activated = Rows::new(inner, rows, width);
            let activated =
                feed_forward
                    .output
                    .prepare(activated, part.clone(), rounded_inner, threads);
            let epilogue = if start == 0 {
                Epilogue::Store
            } else {
                Epilogue::Accumulate
            };
            feed_forward.output.product(
                activated,
                [part, 0..h],
                RowsMut::new(output, rows, h),
                epilogue,
                threads,
            );
        }
        let instructions = feed_forward.inner.instruction_set();
        let norm = self.norm.kernel();
        norm.apply_to_sum(instructions, states, output, &feed_forward.output.bias);
    }
}

impl PackedAttention {
    /// Computes queries, keys and values of all hidden states, and the context of each token: the
    /// attention-weighted values of its own sequence.
    fn attend(
        &self,
        heads: Heads,
        bundle: &[Sequence<'_>],
        scratch: &mut Scratch,
        threads: Threads,
    ) {
        let h = heads.count * heads.size;
        let Scratch {
            states,
            wide,
            context,
            rounded,
            ..
        } = scratch;
        let rows = states.len() / h;
        let states = Rows::new(states, rows, h);
        let qkv = RowsMut::new(wide, rows, 3 * h);
        self.projections.apply(states, rounded, qkv, threads);
        let is_int8 = self.projections.is_int8();
        let instructions = self.projections.instruction_set();
        let (mut queries, mut contexts) = (&wide[..], &mut context[..]);
        for sequence in bundle {
            let tokens = sequence.tokens;
            let (qkv, context);
            (qkv, queries) = queries.split_at(tokens * 3 * h);
            (context, contexts) = contexts.split_at_mut(tokens * h);
            let attend = if is_int8 && tokens > SHORT_TOKENS {
                attention_int16
            } else {
                attention
            };
            attend(instructions, heads, qkv, context, threads);
        }
    }
}

/// Moves ascending rows of a matrix to its start.
fn keep_rows(matrix: &mut [f32], rows: &[usize], width: usize) {
    for (to, &from) in rows.iter().enumerate() {
        matrix.copy_within(from * width..(from + 1) * width, to * width);
    }
}

//! The inference path on the CPU: the whole encoder as one computation over tokens without padding.
//!
//! It means what [`AlbertEncoder`](crate::AlbertEncoder) means and is held to it by tests. Padding
//! is never computed. A thread takes whole sequences, some 256 tokens together (128 in 8 bits),
//! through all repetitions: the shared weights stay near its core, and its memory is used again
//! from layer to layer. Where the sequences are too few to keep all threads busy, the threads share
//! the work within each layer.
//!
//! A token's result has the same bits in either case, on any number of threads and in any batch
//! that this path can serve (a row of nothing but padding sends the whole batch to the other one).

use std::sync::{Arc, Mutex};

use albert_kernels::{
    Aligned, Epilogue, Heads, QuantizedRows, Rows, RowsMut, Threads, attention, attention_int16,
};
use candle_core::{Device, Result, Tensor};

use crate::config::AlbertConfig;
use crate::layer::PackedLayer;
use crate::layer_group::AlbertLayerGroup;
use crate::linear::{Linear, PackedLinear};
use crate::packing::Packing;
use crate::quantize::{Blind, Observer, Product};

/// The packed weights of an encoder.
#[derive(Debug)]
pub(crate) struct FusedEncoder {
    projection: Arc<PackedLinear>,
    groups: Vec<Vec<PackedLayer>>,
    /// The group that each repetition uses.
    schedule: Vec<usize>,
    heads: Heads,
}

/// Tokens that a thread takes together at most, longer sequences aside: enough to use a weight
/// often while it is near, few enough for their activations to be near too.
const TOKENS_TOGETHER: usize = 256;

/// The same with weights in 8 bits, which are a quarter as much to read: 3 % faster than 256 on two
/// threads of a Zen 5 with 1 MB of second cache.
const TOKENS_TOGETHER_QUANTIZED: usize = 128;

/// Below this number of tokens for each thread, weights are read more than used: better that each
/// thread reads its own part of them. Two threads on a Xeon with 2 MB of second cache broke even
/// about here.
const TOKENS_APART: usize = 64;

/// Time that a schedule of whole sequences may take beside an even one; sharing the work within
/// layers costs about as much in waiting.
const UNEVENNESS: f64 = 1.15;

/// Columns of the feed-forward network that are computed and used up together, while they are near.
const COLUMNS_TOGETHER: usize = 768;

impl FusedEncoder {
    /// `None` where a weight is not packed.
    pub(crate) fn new(
        config: &AlbertConfig,
        projection: &Linear,
        groups: &[AlbertLayerGroup],
        schedule: &[usize],
    ) -> Result<Option<Self>> {
        let Some(projection) = projection.packed() else {
            return Ok(None);
        };
        let layers =
            |group: &AlbertLayerGroup| group.layers().iter().map(|layer| layer.packed()).collect();
        let groups = groups
            .iter()
            .map(layers)
            .collect::<Result<Option<Vec<_>>>>()?;
        let heads = Heads {
            count: config.num_attention_heads,
            size: config.head_size(),
        };
        Ok(groups.map(|groups| Self {
            projection,
            groups,
            schedule: schedule.to_vec(),
            heads,
        }))
    }

    /// # Shapes
    /// - `embeddings`: `(B, T, E)`
    /// - returns `(B, T, H)`, 0 at padding
    pub(crate) fn forward(&self, embeddings: &Tensor, packing: &Packing) -> Result<Tensor> {
        let (batch, tokens, e) = embeddings.dims3()?;
        let h = self.heads.count * self.heads.size;
        let embeddings = embeddings.flatten_all()?.to_vec1::<f32>()?;
        let mut states = vec![0f32; batch * tokens * h];
        let parts = states
            .chunks_exact_mut(tokens * h)
            .zip(embeddings.chunks_exact(tokens * e));
        let sequences = parts
            .zip(packing.sequences())
            .map(|((states, embeddings), columns)| Sequence {
                tokens: columns.iter().map(|&column| column as usize).collect(),
                embeddings,
                states,
            });
        let sequences: Vec<_> = sequences.collect();
        // Within the pool from here on: entering it for every product would take longer than a
        // short text.
        rayon::scope(|_| self.run(sequences));
        Tensor::from_vec(states, (batch, tokens, h), &Device::Cpu)
    }

    /// All repetitions for one sequence, with an observer of what its products are fed.
    ///
    /// # Shapes
    /// - `embeddings`: `(1, T, E)`
    /// - returns `(T, H)`
    pub(crate) fn observe(
        &self,
        embeddings: &Tensor,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        let (_, tokens, _) = embeddings.dims3()?;
        let embeddings = embeddings.flatten_all()?.to_vec1::<f32>()?;
        let mut states = vec![0f32; tokens * self.heads.count * self.heads.size];
        let sequence = Sequence {
            tokens: (0..tokens).collect(),
            embeddings: &embeddings,
            states: &mut states,
        };
        self.encode(
            vec![sequence],
            &mut Scratch::default(),
            Threads::All,
            observer,
        );
        Ok(states)
    }

    fn run(&self, sequences: Vec<Sequence<'_>>) {
        let threads = rayon::current_num_threads();
        let is_quantized = self
            .groups
            .iter()
            .flatten()
            .any(|layer| layer.feed_forward.inner.is_quantized());
        let together = if is_quantized {
            TOKENS_TOGETHER_QUANTIZED
        } else {
            TOKENS_TOGETHER
        };
        match Plan::new(sequences, threads, together) {
            Plan::Shared(groups) => {
                let mut scratch = Scratch::default();
                groups
                    .into_iter()
                    .for_each(|group| self.encode(group, &mut scratch, Threads::All, &mut Blind));
            }
            Plan::Apart(groups) => {
                let workers = threads.min(groups.len());
                let groups = Mutex::new(groups.into_iter());
                rayon::scope(|scope| {
                    for _ in 0..workers {
                        scope.spawn(|_| {
                            let mut scratch = Scratch::default();
                            loop {
                                let group = groups.lock().expect("no worker panics with it").next();
                                let Some(group) = group else { break };
                                self.encode(group, &mut scratch, Threads::One, &mut Blind);
                            }
                        });
                    }
                });
            }
        }
    }

    /// All repetitions for some sequences together.
    fn encode(
        &self,
        mut group: Vec<Sequence<'_>>,
        scratch: &mut Scratch,
        threads: Threads,
        observer: &mut impl Observer,
    ) {
        let rows = group.iter().map(|sequence| sequence.tokens.len()).sum();
        let (e, h) = (self.projection.input(), self.heads.count * self.heads.size);
        scratch.states.resize(rows * h);
        scratch.wide.resize(rows * e.max(3 * h));
        scratch.context.resize(rows * h);
        scratch.output.resize(rows * h);

        let embeddings = group.iter().flat_map(|s| {
            s.tokens
                .iter()
                .map(|&token| &s.embeddings[token * e..][..e])
        });
        for (packed, embedding) in scratch.wide.chunks_exact_mut(e).zip(embeddings) {
            packed.copy_from_slice(embedding);
        }
        let Scratch {
            wide,
            states,
            rounded,
            ..
        } = scratch;
        let states = RowsMut::new(states, rows, h);
        self.projection
            .apply(Rows::new(wide, rows, e), rounded, states, threads);
        for &index in &self.schedule {
            for (inner, layer) in self.groups[index].iter().enumerate() {
                let see =
                    |product, xs: &[f32], width| observer.see((index, inner), product, xs, width);
                self.layer(layer, &group, rows, scratch, threads, see);
            }
        }
        let mut packed = scratch.states.chunks_exact(h);
        for sequence in &mut group {
            for (&token, state) in sequence.tokens.iter().zip(&mut packed) {
                sequence.states[token * h..][..h].copy_from_slice(state);
            }
        }
    }

    fn layer(
        &self,
        layer: &PackedLayer,
        group: &[Sequence<'_>],
        rows: usize,
        scratch: &mut Scratch,
        threads: Threads,
        mut see: impl FnMut(Product, &[f32], usize),
    ) {
        let (h, level) = (self.heads.count * self.heads.size, self.projection.level());
        let Scratch {
            states,
            wide,
            context,
            output,
            inner,
            rounded,
            rounded_inner,
        } = scratch;

        see(Product::Projections, states, h);
        let qkv = RowsMut::new(wide, rows, 3 * h);
        layer
            .attention
            .projections
            .apply(Rows::new(states, rows, h), rounded, qkv, threads);
        let is_quantized = layer.attention.projections.is_quantized();
        let attend = if is_quantized {
            attention_int16
        } else {
            attention
        };
        let (mut queries, mut contexts) = (&wide[..], &mut context[..]);
        for sequence in group {
            let tokens = sequence.tokens.len();
            let (qkv, context);
            (qkv, queries) = queries.split_at(tokens * 3 * h);
            (context, contexts) = contexts.split_at_mut(tokens * h);
            attend(level, self.heads, qkv, context, threads);
        }
        let linear = &layer.attention.output;
        see(Product::AttentionOutput, context, h);
        let context = linear.factors(Rows::new(context, rows, h), 0..h, rounded, threads);
        linear.product(
            context,
            [0..h, 0..h],
            RowsMut::new(output, rows, h),
            Epilogue::Store,
            threads,
        );
        layer
            .attention
            .norm
            .kernel()
            .apply_to_sum(level, states, output, &linear.bias);

        let feed_forward = &layer.feed_forward;
        let i = feed_forward.inner.out();
        // Sums over all of K at once are the same in f32; in 8 bits each part has sums of its own.
        let is_whole = threads == Threads::All && !feed_forward.output.is_quantized();
        let together = COLUMNS_TOGETHER.next_multiple_of(feed_forward.inner.panel_width());
        let step = if is_whole { i } else { together };
        inner.resize(rows * step.min(i));
        see(Product::Inner, states, h);
        let attended =
            feed_forward
                .inner
                .factors(Rows::new(states, rows, h), 0..h, rounded, threads);
        for start in (0..i).step_by(step) {
            let part = start..(start + step).min(i);
            let width = part.len();
            let then = Epilogue::BiasActivation(
                &feed_forward.inner.bias[part.clone()],
                feed_forward.activation,
            );
            let activated = RowsMut::new(inner, rows, width);
            feed_forward
                .inner
                .product(attended, [0..h, part.clone()], activated, then, threads);
            if width == i {
                see(Product::Output, inner, i);
            }
            let activated = Rows::new(inner, rows, width);
            let activated =
                feed_forward
                    .output
                    .factors(activated, part.clone(), rounded_inner, threads);
            let then = if start == 0 {
                Epilogue::Store
            } else {
                Epilogue::Accumulate
            };
            feed_forward.output.product(
                activated,
                [part, 0..h],
                RowsMut::new(output, rows, h),
                then,
                threads,
            );
        }
        layer
            .norm
            .kernel()
            .apply_to_sum(level, states, output, &feed_forward.output.bias);
    }
}

/// A sequence of the batch.
#[derive(Debug)]
struct Sequence<'a> {
    /// Where its tokens stand, without padding.
    tokens: Vec<usize>,
    /// `(T, E)`
    embeddings: &'a [f32],
    /// `(T, H)`
    states: &'a mut [f32],
}

/// Memory that a thread uses again for every layer.
#[derive(Default)]
struct Scratch {
    /// The hidden states.
    states: Aligned,
    /// The embeddings, then queries, keys and values.
    wide: Aligned,
    context: Aligned,
    /// What is added to the hidden states.
    output: Aligned,
    /// A part of the inner feed-forward layer.
    inner: Aligned,
    /// What is multiplied with 8-bit weights.
    rounded: QuantizedRows,
    /// The same for the part of the inner layer.
    rounded_inner: QuantizedRows,
}

/// Who computes what: sequences in groups, the largest first.
enum Plan<'a> {
    /// Each group by all threads.
    Shared(Vec<Vec<Sequence<'a>>>),
    /// Each group by one thread.
    Apart(Vec<Vec<Sequence<'a>>>),
}

impl<'a> Plan<'a> {
    fn new(mut sequences: Vec<Sequence<'a>>, threads: usize, together: usize) -> Self {
        let total: usize = sequences.iter().map(|sequence| sequence.tokens.len()).sum();
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.tokens.len()));
        // As many groups for each thread, as even as can be.
        let count = threads * total.div_ceil(threads * together);
        let lengths: Vec<usize> = sequences
            .iter()
            .map(|sequence| sequence.tokens.len())
            .collect();
        let (groups, sizes) = distribute(&lengths, count);
        let (_, loads) = distribute(&sizes, threads);
        let longest = loads.into_iter().max().unwrap_or(0);
        let is_even = (longest * threads) as f64 <= UNEVENNESS * total as f64;
        let is_apart = threads == 1 || is_even && total >= threads * TOKENS_APART;

        let mut members: Vec<Vec<Sequence<'a>>> = sizes.iter().map(|_| Vec::new()).collect();
        for (sequence, group) in sequences.into_iter().zip(groups) {
            members[group].push(sequence);
        }
        let tokens =
            |group: &Vec<Sequence<'_>>| group.iter().map(|s| s.tokens.len()).sum::<usize>();
        members.sort_by_key(|group| std::cmp::Reverse(tokens(group)));
        members.retain(|group| !group.is_empty());
        if is_apart {
            Self::Apart(members)
        } else {
            Self::Shared(members)
        }
    }
}

/// Gives each size, largest first, to the bin with the least; returns the bins and their loads.
fn distribute(sizes: &[usize], bins: usize) -> (Vec<usize>, Vec<usize>) {
    let mut loads = vec![0; bins];
    let lightest = |loads: &[usize]| {
        (0..bins)
            .min_by_key(|&bin| loads[bin])
            .expect("there is a bin")
    };
    let chosen = sizes.iter().map(|size| {
        let bin = lightest(&loads);
        loads[bin] += size;
        bin
    });
    (chosen.collect(), loads)
}

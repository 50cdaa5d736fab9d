//! Inference on the CPU: the whole encoder as one computation over ragged sequences.
//!
//! Computes the same function as [`AlbertEncoder`](crate::AlbertEncoder); tests compare the two.
//! Each thread takes whole sequences, about 256 tokens at a time (128 in int8), through all layers:
//! the shared weights stay in its caches, and its memory is reused from layer to layer. If there
//! are too few sequences to keep all threads busy, the threads share the work within each layer.
//!
//! The result of a token has the same bits in either case, on any number of threads and in any
//! batch. The last layer computes only the tokens whose results are read, once it has attended to all.

use std::sync::{Arc, Mutex};

use albert_kernels::{
    Aligned, Epilogue, Heads, QuantizedRows, Rows, RowsMut, Threads, attention, attention_int16,
};
use candle_core::{Device, Result, Tensor};

use crate::config::AlbertConfig;
use crate::layer::PackedLayer;
use crate::layer_group::AlbertLayerGroup;
use crate::linear::Linear;
use crate::observer::{NoObserver, Observer, ProductInput};
use crate::ops::packed_linear::PackedLinear;
use crate::ragged::Sequences;

/// The packed weights of an encoder.
#[derive(Debug)]
pub(crate) struct FusedEncoder {
    /// `None` in a BERT, where E = H.
    projection: Option<Arc<PackedLinear>>,
    groups: Vec<Vec<PackedLayer>>,
    /// The group that each layer uses.
    schedule: Vec<usize>,
    heads: Heads,
}

/// The number of tokens in the bundle that a thread takes at a time, unless a single sequence has
/// more: enough to reuse a cached weight often, and few enough for the activations to stay cached.
const BUNDLE_TOKENS: usize = 256;

/// [`BUNDLE_TOKENS`] for int8 weights, which have a quarter of the size: 3 % faster than 256 on two
/// threads of a Zen 5 with 1 MB of L2.
const BUNDLE_TOKENS_INT8: usize = 128;

/// The number of tokens per thread below which the threads share each product instead: with fewer,
/// reading the weights takes longer than multiplying by them, so each thread reads only its part.
/// Two threads on a Xeon with 2 MB of L2 broke even at about this number.
const TOKENS_APART: usize = 64;

/// The time that a schedule of whole sequences may take, relative to an even one; sharing the work
/// within layers costs about as much in waiting.
const UNEVENNESS: f64 = 1.15;

/// The longest sequence whose attention is computed in f32 in int8 models too: products in 16 bits
/// would save less time than rounding takes. On a Xeon with AVX-512, f32 took 0.5 to 0.6 of the time
/// at 16 tokens and 0.8 to 0.9 at 128; with AVX2, 0.6 to 0.7 and 1.0 to 1.1.
const SHORT_TOKENS: usize = 128;

/// The number of columns of the inner feed-forward layer that are computed and consumed together,
/// while they are cached.
const COLUMNS_TOGETHER: usize = 768;

impl FusedEncoder {
    /// Creates the encoder; `None` unless every weight is packed.
    pub(crate) fn new(
        config: &AlbertConfig,
        projection: Option<&Linear>,
        groups: &[AlbertLayerGroup],
        schedule: &[usize],
    ) -> Result<Option<Self>> {
        let projection = match projection {
            Some(projection) => match projection.packed() {
                Some(packed) => Some(packed),
                None => return Ok(None),
            },
            None => None,
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

    /// Runs all layers. With `read`, the ascending tokens of each sequence that are read, the
    /// results of the others are zero.
    ///
    /// # Shapes
    /// - `embeddings`: `(ΣT, E)`
    /// - returns `(ΣT, H)`
    pub(crate) fn forward(
        &self,
        embeddings: &Tensor,
        sequences: &Sequences,
        read: Option<&[Vec<usize>]>,
    ) -> Result<Tensor> {
        let (tokens, e) = embeddings.dims2()?;
        let h = self.heads.count * self.heads.size;
        let embeddings = embeddings.flatten_all()?.to_vec1::<f32>()?;
        let mut states = vec![0f32; tokens * h];
        let (mut rest, mut states_rest) = (&embeddings[..], &mut states[..]);
        let sequences = sequences.lengths().enumerate().map(|(index, tokens)| {
            let (embeddings, states);
            (embeddings, rest) = rest.split_at(tokens * e);
            (states, states_rest) = std::mem::take(&mut states_rest).split_at_mut(tokens * h);
            Sequence {
                tokens,
                embeddings,
                states,
                read: read.map(|read| &read[index][..]),
            }
        });
        let sequences: Vec<_> = sequences.collect();
        // Enter the thread pool once: entering it for every product would take longer than a short
        // text does.
        rayon::scope(|_| self.run(sequences));
        Tensor::from_vec(states, (tokens, h), &Device::Cpu)
    }

    /// Runs all layers on one sequence and passes the inputs of the products to an observer.
    ///
    /// # Shapes
    /// - `embeddings`: `(T, E)`
    /// - returns `(T, H)`
    pub(crate) fn observe(
        &self,
        embeddings: &Tensor,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        let (tokens, _) = embeddings.dims2()?;
        let embeddings = embeddings.flatten_all()?.to_vec1::<f32>()?;
        let mut states = vec![0f32; tokens * self.heads.count * self.heads.size];
        let sequence = Sequence {
            tokens,
            embeddings: &embeddings,
            states: &mut states,
            read: None,
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
        let is_int8 = self
            .groups
            .iter()
            .flatten()
            .any(|layer| layer.feed_forward.inner.is_int8());
        let bundle_tokens = if is_int8 {
            BUNDLE_TOKENS_INT8
        } else {
            BUNDLE_TOKENS
        };
        match Plan::new(sequences, threads, bundle_tokens) {
            Plan::Shared(bundles) => {
                let mut scratch = Scratch::default();
                bundles.into_iter().for_each(|bundle| {
                    self.encode(bundle, &mut scratch, Threads::All, &mut NoObserver)
                });
            }
            Plan::Apart(bundles) => {
                let workers = threads.min(bundles.len());
                let bundles = Mutex::new(bundles.into_iter());
                rayon::scope(|scope| {
                    for _ in 0..workers {
                        scope.spawn(|_| {
                            let mut scratch = Scratch::default();
                            loop {
                                let bundle =
                                    bundles.lock().expect("no worker panics with it").next();
                                let Some(bundle) = bundle else { break };
                                self.encode(bundle, &mut scratch, Threads::One, &mut NoObserver);
                            }
                        });
                    }
                });
            }
        }
    }

    /// Runs all layers on a bundle of sequences.
    fn encode(
        &self,
        mut bundle: Vec<Sequence<'_>>,
        scratch: &mut Scratch,
        threads: Threads,
        observer: &mut impl Observer,
    ) {
        let rows = bundle.iter().map(|sequence| sequence.tokens).sum();
        let h = self.heads.count * self.heads.size;
        let e = self.projection.as_ref().map_or(h, |it| it.input());
        scratch.states.resize(rows * h);
        scratch.wide.resize(rows * e.max(3 * h));
        scratch.context.resize(rows * h);
        scratch.output.resize(rows * h);

        let Scratch {
            wide,
            states,
            rounded,
            ..
        } = scratch;
        let embeddings = match self.projection {
            Some(_) => &mut wide[..rows * e],
            None => &mut states[..],
        };
        let mut rest = embeddings;
        for sequence in &bundle {
            let own;
            (own, rest) = rest.split_at_mut(sequence.embeddings.len());
            own.copy_from_slice(sequence.embeddings);
        }
        if let Some(projection) = &self.projection {
            let states = RowsMut::new(states, rows, h);
            projection.apply(Rows::new(wide, rows, e), rounded, states, threads);
        }
        let read = rows_read(&bundle);
        let last = self.schedule.len() - 1;
        for (repetition, &group) in self.schedule.iter().enumerate() {
            let layers = &self.groups[group];
            for (inner, layer) in layers.iter().enumerate() {
                let see = |input, xs: &[f32], width| observer.see((group, inner), input, xs, width);
                let is_last = repetition == last && inner == layers.len() - 1;
                let read = read.as_deref().filter(|_| is_last);
                self.layer(layer, &bundle, read, scratch, threads, see);
            }
        }
        let mut computed = &scratch.states[..];
        for sequence in &mut bundle {
            match sequence.read {
                None => {
                    let own;
                    (own, computed) = computed.split_at(sequence.states.len());
                    sequence.states.copy_from_slice(own);
                }
                Some(read) => {
                    for &token in read {
                        let own;
                        (own, computed) = computed.split_at(h);
                        sequence.states[token * h..][..h].copy_from_slice(own);
                    }
                }
            }
        }
    }

    /// Runs a layer on the hidden states in `scratch`. With `read`, ascending rows, the results of
    /// these rows alone follow one another at the start of the hidden states.
    fn layer(
        &self,
        layer: &PackedLayer,
        bundle: &[Sequence<'_>],
        read: Option<&[usize]>,
        scratch: &mut Scratch,
        threads: Threads,
        mut see: impl FnMut(ProductInput, &[f32], usize),
    ) {
        let (h, instructions) = (
            self.heads.count * self.heads.size,
            layer.feed_forward.inner.instruction_set(),
        );
        let Scratch {
            states,
            wide,
            context,
            output,
            inner,
            rounded,
            rounded_inner,
        } = scratch;
        let rows = states.len() / h;

        see(ProductInput::HiddenStates, states, h);
        let qkv = RowsMut::new(wide, rows, 3 * h);
        layer
            .attention
            .projections
            .apply(Rows::new(states, rows, h), rounded, qkv, threads);
        let is_int8 = layer.attention.projections.is_int8();
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
            attend(instructions, self.heads, qkv, context, threads);
        }
        let rows = match read {
            Some(read) => {
                keep_rows(states, read, h);
                keep_rows(context, read, h);
                read.len()
            }
            None => rows,
        };
        if rows == 0 {
            return;
        }
        let (states, context) = (&mut states[..rows * h], &context[..rows * h]);
        let output = &mut output[..rows * h];
        let linear = &layer.attention.output;
        see(ProductInput::Context, context, h);
        let context = linear.prepare(Rows::new(context, rows, h), 0..h, rounded, threads);
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
            .apply_to_sum(instructions, states, output, &linear.bias);

        let feed_forward = &layer.feed_forward;
        let i = feed_forward.inner.out();
        // In f32 a sum over all of K has the same bits as a sum in parts; in int8 each part is
        // rounded separately.
        let is_whole = threads == Threads::All && !feed_forward.output.is_int8();
        let together = COLUMNS_TOGETHER.next_multiple_of(feed_forward.inner.panel_width());
        let step = if is_whole { i } else { together };
        inner.resize(rows * step.min(i));
        see(ProductInput::Attended, states, h);
        let attended =
            feed_forward
                .inner
                .prepare(Rows::new(states, rows, h), 0..h, rounded, threads);
        for start in (0..i).step_by(step) {
            let part = start..(start + step).min(i);
            let width = part.len();
            let epilogue = Epilogue::BiasActivation(
                &feed_forward.inner.bias[part.clone()],
                feed_forward.activation,
            );
            let activated = RowsMut::new(inner, rows, width);
            feed_forward.inner.product(
                attended,
                [0..h, part.clone()],
                activated,
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
        layer
            .norm
            .kernel()
            .apply_to_sum(instructions, states, output, &feed_forward.output.bias);
    }
}

/// Returns the rows of a bundle that are read, ascending; `None` if all are.
fn rows_read(bundle: &[Sequence<'_>]) -> Option<Vec<usize>> {
    let mut start = 0;
    let mut rows = Vec::new();
    for sequence in bundle {
        rows.extend(sequence.read?.iter().map(|token| start + token));
        start += sequence.tokens;
    }
    Some(rows)
}

/// Moves ascending rows of a matrix to its start.
fn keep_rows(matrix: &mut [f32], rows: &[usize], width: usize) {
    for (to, &from) in rows.iter().enumerate() {
        matrix.copy_within(from * width..(from + 1) * width, to * width);
    }
}

/// A sequence of the batch.
#[derive(Debug)]
struct Sequence<'a> {
    /// T, its length.
    tokens: usize,
    /// `(T, E)`
    embeddings: &'a [f32],
    /// `(T, H)`
    states: &'a mut [f32],
    /// The tokens whose results are read, ascending; `None` for all.
    read: Option<&'a [usize]>,
}

/// The memory that a thread reuses for every layer.
#[derive(Default)]
struct Scratch {
    /// The hidden states.
    states: Aligned,
    /// The embeddings, then queries, keys and values.
    wide: Aligned,
    context: Aligned,
    /// The output of a sub-layer, which is added to the hidden states.
    output: Aligned,
    /// A part of the inner feed-forward layer.
    inner: Aligned,
    /// The quantized input of int8 products.
    rounded: QuantizedRows,
    /// The quantized part of the inner layer, for int8 products.
    rounded_inner: QuantizedRows,
}

/// The bundles to compute, the largest first, and the threads that compute each.
enum Plan<'a> {
    /// All threads share a bundle.
    Shared(Vec<Vec<Sequence<'a>>>),
    /// One thread takes a bundle.
    Apart(Vec<Vec<Sequence<'a>>>),
}

impl<'a> Plan<'a> {
    fn new(mut sequences: Vec<Sequence<'a>>, threads: usize, bundle_tokens: usize) -> Self {
        let total: usize = sequences.iter().map(|sequence| sequence.tokens).sum();
        sequences.sort_by_key(|sequence| std::cmp::Reverse(sequence.tokens));
        // The same number of bundles per thread, as even as possible.
        let count = threads * total.div_ceil(threads * bundle_tokens);
        let lengths: Vec<usize> = sequences.iter().map(|sequence| sequence.tokens).collect();
        let (bundles, sizes) = distribute(&lengths, count);
        let (_, loads) = distribute(&sizes, threads);
        let longest = loads.into_iter().max().unwrap_or(0);
        let is_even = (longest * threads) as f64 <= UNEVENNESS * total as f64;
        let is_apart = threads == 1 || is_even && total >= threads * TOKENS_APART;

        let mut members: Vec<Vec<Sequence<'a>>> = sizes.iter().map(|_| Vec::new()).collect();
        for (sequence, bundle) in sequences.into_iter().zip(bundles) {
            members[bundle].push(sequence);
        }
        let tokens = |bundle: &Vec<Sequence<'_>>| bundle.iter().map(|s| s.tokens).sum::<usize>();
        members.sort_by_key(|bundle| std::cmp::Reverse(tokens(bundle)));
        members.retain(|bundle| !bundle.is_empty());
        if is_apart {
            Self::Apart(members)
        } else {
            Self::Shared(members)
        }
    }
}

/// Assigns each size, largest first, to the bin with the smallest load. Returns the bin of each
/// size and the load of each bin.
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

//! Inference on the CPU: the whole encoder as one computation over ragged sequences.
//!
//! Computes the same function as [`AlbertEncoder`](crate::AlbertEncoder); tests compare the two.
//! Each thread takes whole sequences, about 256 tokens at a time (128 in int8), through all layers:
//! the shared weights stay in its caches, and its memory is reused from layer to layer. If there
//! are too few sequences to keep all threads busy, the threads share the work within each layer.
//!
//! The result of a token has the same bits in either case, on any number of threads and in any
//! batch. The last layer attends to all tokens, and computes the rest only for those whose results
//! are read.
//!
//! `plan` divides the sequences into bundles, `bundle` joins a bundle's tokens to one matrix,
//! `layer` computes a layer on it, and `scratch` holds the intermediate results.

mod bundle;
mod layer;
mod plan;
mod scratch;

use std::sync::{Arc, Mutex};

use albert_kernels::{Heads, Rows, RowsMut, Threads};
use candle_core::{Device, Result, Tensor};

use crate::config::AlbertConfig;
use crate::layer::PackedLayer;
use crate::layer_group::AlbertLayerGroup;
use crate::linear::Linear;
use crate::observer::{NoObserver, Observer};
use crate::ops::packed_linear::PackedLinear;
use crate::ragged::Sequences;
use bundle::{Sequence, gather, rows_read, scatter};
use plan::Plan;
use scratch::Scratch;

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
        match Plan::new(sequences, threads, is_int8) {
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
        scratch.resize(rows, h, e);

        match &self.projection {
            Some(projection) => {
                let Scratch {
                    wide,
                    states,
                    rounded,
                    ..
                } = scratch;
                gather(&bundle, &mut wide[..rows * e]);
                let states = RowsMut::new(states, rows, h);
                projection.apply(Rows::new(wide, rows, e), rounded, states, threads);
            }
            None => gather(&bundle, &mut scratch.states),
        }
        let read = rows_read(&bundle);
        let last = self.schedule.len() - 1;
        for (repetition, &group) in self.schedule.iter().enumerate() {
            let layers = &self.groups[group];
            for (inner, layer) in layers.iter().enumerate() {
                let see = |input, xs: &[f32], width| observer.see((group, inner), input, xs, width);
                let is_last = repetition == last && inner == layers.len() - 1;
                let read = read.as_deref().filter(|_| is_last);
                layer.apply(self.heads, &bundle, read, scratch, threads, see);
            }
        }
        scatter(&mut bundle, &scratch.states, h);
    }
}

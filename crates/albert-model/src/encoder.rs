//! The encoder with cross-layer sharing: L layers that use G groups of weights (paper §3.1).

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::fused::FusedEncoder;
use crate::layer::AlbertLayer;
use crate::layer_group::AlbertLayerGroup;
use crate::linear::Linear;
use crate::observer::Observer;
use crate::outputs::Trace;
use crate::parameters::{GROUPS, PROJECTION};
use crate::ragged::Sequences;

/// The projection from E to H, followed by the repeated layer groups. A BERT has no projection and
/// one group per layer.
///
/// ```text
/// h₀ = e W + b;   hᵢ₊₁ = group_{⌊i / (L / G)⌋}(hᵢ),   i = 0 … L - 1
/// ```
///
/// Source: Lan et al. 2020, §3.1; transformers 4.46.3, `modeling_albert.py`, `AlbertTransformer`.
#[derive(Debug, Clone)]
pub struct AlbertEncoder {
    /// `None` in a BERT, where E = H.
    projection: Option<Linear>,
    groups: Vec<AlbertLayerGroup>,
    /// The group that each layer uses.
    schedule: Vec<usize>,
    path: Path,
}

/// The way in which inference runs the encoder, chosen once by its weights and their device.
#[derive(Debug, Clone)]
enum Path {
    /// Candle's operations over padded batches: the reference on every device, which is also used
    /// for training and for intermediate results, whatever the path of inference.
    Eager,
    /// Packed weights on the CPU, over ragged sequences.
    Fused(Arc<FusedEncoder>),
    /// This crate's CUDA kernels, over ragged sequences.
    Ragged,
}

/// The layout of the embeddings that are passed to an encoder.
pub(crate) enum Layout<'a> {
    /// `(B, T, E)`, with the mask to add to attention scores, `(B, 1, 1, T)`.
    Padded {
        mask: Option<&'a Tensor>,
        trace: &'a mut Trace,
        train: bool,
    },
    /// `(ΣT, E)`, for inference by an encoder that [takes ragged
    /// batches](AlbertEncoder::takes_ragged).
    Ragged {
        sequences: &'a Sequences,
        /// The tokens of each sequence whose results are read, ascending; `None` for all.
        read: Option<&'a [Vec<usize>]>,
    },
}

impl AlbertEncoder {
    /// Takes `embedding_hidden_mapping_in` (except for a BERT) and `albert_layer_groups.{0, 1, …}`
    /// from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (e, h, std) = (
            config.embedding_size,
            config.hidden_size,
            config.initializer_range,
        );
        let group_vb = vb.pp(GROUPS);
        let groups = (0..config.num_hidden_groups)
            .map(|group| AlbertLayerGroup::new(config, group_vb.pp(group)));
        let projection = config
            .has_projection()
            .then(|| Linear::new(e, h, std, vb.pp(PROJECTION)))
            .transpose()?;
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let schedule: Vec<_> = (0..config.num_hidden_layers)
            .map(|layer| config.group_for_layer(layer))
            .collect();
        let takes_ragged =
            |group: &AlbertLayerGroup| group.layers().iter().all(AlbertLayer::takes_ragged);
        let path = match FusedEncoder::new(config, projection.as_ref(), &groups, &schedule)? {
            _ if groups.iter().all(takes_ragged) => Path::Ragged,
            Some(fused) => Path::Fused(Arc::new(fused)),
            None => Path::Eager,
        };
        Ok(Self {
            projection,
            groups,
            schedule,
            path,
        })
    }

    /// Returns the G groups of weights.
    pub fn groups(&self) -> &[AlbertLayerGroup] {
        &self.groups
    }

    /// Runs all layers on embeddings, which may come from elsewhere.
    ///
    /// # Shapes
    /// - `embeddings`: `(B, T, E)`
    /// - `mask`: `(B, 1, 1, T)`, from [`additive_mask`](crate::additive_mask)
    /// - returns `(B, T, H)`
    ///
    /// # Errors
    /// If the last dimension of `embeddings` is not `embedding_size`, or the shapes differ.
    pub fn forward_t(
        &self,
        embeddings: &Tensor,
        mask: Option<&Tensor>,
        train: bool,
    ) -> Result<Tensor> {
        let trace = &mut Trace::default();
        self.forward(embeddings, Layout::Padded { mask, trace, train })
    }

    /// Returns true if inference runs on ragged batches.
    pub(crate) fn takes_ragged(&self) -> bool {
        !matches!(self.path, Path::Eager)
    }

    /// Runs all layers: `(B, T, E)` → `(B, T, H)` or `(ΣT, E)` → `(ΣT, H)`.
    pub(crate) fn forward(&self, embeddings: &Tensor, layout: Layout<'_>) -> Result<Tensor> {
        match (layout, &self.path) {
            (Layout::Padded { mask, trace, train }, _) => {
                let mut states = self.project(embeddings)?; // (B, T, H)
                trace.hidden_state(&states);
                for &group in &self.schedule {
                    states = self.groups[group].forward_traced(&states, mask, trace, train)?;
                }
                Ok(states)
            }
            (Layout::Ragged { sequences, read }, Path::Fused(fused)) => {
                fused.forward(embeddings, sequences, read)
            }
            (Layout::Ragged { sequences, .. }, Path::Ragged) => {
                let mut states = self.project(embeddings)?; // (ΣT, H)
                for &group in &self.schedule {
                    for layer in self.groups[group].layers() {
                        states = layer.forward_ragged(&states, sequences)?;
                    }
                }
                Ok(states)
            }
            (Layout::Ragged { .. }, Path::Eager) => {
                bail!("this encoder only computes padded batches")
            }
        }
    }

    /// Computes `(…, E)` → `(…, H)`.
    fn project(&self, embeddings: &Tensor) -> Result<Tensor> {
        match &self.projection {
            Some(projection) => projection.forward(embeddings),
            None => Ok(embeddings.clone()),
        }
    }

    /// Passes the inputs of all products to an observer, on the CPU in f32.
    ///
    /// # Shapes
    /// - `embeddings`: `(T, E)`, one sequence
    /// - returns `(T, H)`
    pub(crate) fn observe(
        &self,
        embeddings: &Tensor,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        match &self.path {
            Path::Fused(fused) => fused.observe(embeddings, observer),
            _ => bail!("an encoder can only be observed on the CPU, in f32 and without variables"),
        }
    }
}

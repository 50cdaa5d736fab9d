//! Cross-layer sharing: L repetitions over G groups of weights (paper §3.1).

use std::sync::Arc;

use candle_core::{Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::config::AlbertConfig;
use crate::fused::FusedEncoder;
use crate::layer_group::AlbertLayerGroup;
use crate::linear::Linear;
use crate::outputs::Trace;
use crate::packing::Sequences;
use crate::quantize::Observer;

/// The projection from E to H, then the repeated layer groups.
///
/// ```text
/// h₀ = e W + b;   hᵢ₊₁ = group_{⌊i / (L / G)⌋}(hᵢ),   i = 0 … L - 1
/// ```
///
/// Source: Lan et al. 2020, §3.1; transformers 4.46.3, `modeling_albert.py`, `AlbertTransformer`.
#[derive(Debug, Clone)]
pub struct AlbertEncoder {
    projection: Linear,
    groups: Vec<AlbertLayerGroup>,
    /// The group that each repetition uses.
    schedule: Vec<usize>,
    /// The same, where inference on the CPU can take it.
    fused: Option<Arc<FusedEncoder>>,
}

impl AlbertEncoder {
    /// Takes `embedding_hidden_mapping_in` and `albert_layer_groups.{0, 1, …}` from `vb`.
    ///
    /// # Errors
    /// If a tensor is missing or has another shape.
    pub fn new(config: &AlbertConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let (e, h, std) = (
            config.embedding_size,
            config.hidden_size,
            config.initializer_range,
        );
        let group_vb = vb.pp("albert_layer_groups");
        let groups = (0..config.num_hidden_groups)
            .map(|group| AlbertLayerGroup::new(config, group_vb.pp(group)));
        let projection = Linear::new(e, h, std, vb.pp("embedding_hidden_mapping_in"))?;
        let groups = groups.collect::<Result<Vec<_>>>()?;
        let schedule: Vec<_> = (0..config.num_hidden_layers)
            .map(|layer| config.group_for_layer(layer))
            .collect();
        let fused = FusedEncoder::new(config, &projection, &groups, &schedule)?.map(Arc::new);
        Ok(Self {
            projection,
            groups,
            schedule,
            fused,
        })
    }

    /// The G groups of weights.
    pub fn groups(&self) -> &[AlbertLayerGroup] {
        &self.groups
    }

    /// Runs all repetitions, from embeddings of your own where you like.
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
        self.forward_traced(embeddings, mask, &mut Trace::default(), train)
    }

    /// The same as one computation on the CPU, where its weights are such.
    pub(crate) fn fused(&self) -> Option<&FusedEncoder> {
        self.fused.as_deref()
    }

    /// Whether [`forward_packed`](Self::forward_packed) serves.
    pub(crate) fn takes_packed(&self) -> bool {
        self.groups
            .iter()
            .flat_map(|group| group.layers())
            .all(|layer| layer.takes_packed())
    }

    /// [`forward_t`](Self::forward_t) for inference by the kernels for GPUs, over sequences without
    /// padding; `None` where something before an attention is trained.
    ///
    /// # Shapes
    /// - `embeddings`: `(ΣT, E)`
    /// - returns `(ΣT, H)`
    pub(crate) fn forward_packed(
        &self,
        embeddings: &Tensor,
        sequences: &Sequences,
    ) -> Result<Option<Tensor>> {
        let mut hidden_states = self.projection.forward(embeddings)?; // (ΣT, H)
        for &group in &self.schedule {
            for layer in self.groups[group].layers() {
                let Some(next) = layer.forward_packed(&hidden_states, sequences)? else {
                    return Ok(None);
                };
                hidden_states = next;
            }
        }
        Ok(Some(hidden_states))
    }

    /// Shows an observer what the products are fed, on the CPU in f32.
    ///
    /// # Shapes
    /// - `embeddings`: `(1, T, E)`
    /// - returns `(T, H)`
    pub(crate) fn observe(
        &self,
        embeddings: &Tensor,
        observer: &mut impl Observer,
    ) -> Result<Vec<f32>> {
        match &self.fused {
            Some(fused) => fused.observe(embeddings, observer),
            None => bail!("an encoder is observed on the CPU, in f32 and without variables"),
        }
    }

    /// [`forward_t`](Self::forward_t), with the intermediate results that `trace` collects.
    pub(crate) fn forward_traced(
        &self,
        embeddings: &Tensor,
        mask: Option<&Tensor>,
        trace: &mut Trace,
        train: bool,
    ) -> Result<Tensor> {
        let mut hidden_states = self.projection.forward(embeddings)?; // (B, T, H)
        trace.hidden_state(&hidden_states);
        for &group in &self.schedule {
            hidden_states =
                self.groups[group].forward_traced(&hidden_states, mask, trace, train)?;
        }
        Ok(hidden_states)
    }
}

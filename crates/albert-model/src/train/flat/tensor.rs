//! A tensor in the buffer, its kind, and the part of the model that it belongs to.

use std::ops::Range;

/// The kind of a parameter, by which optimizers group parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParameterKind {
    /// A table of embeddings.
    Embedding,
    /// The weight of a dense layer.
    Matrix,
    /// The bias of a dense layer.
    Bias,
    /// γ or β of a layer norm.
    Norm,
}

impl ParameterKind {
    /// Returns true if weight decay and LAMB's trust ratio apply: to everything except biases and
    /// norms.
    ///
    /// Source: google-research/albert, `optimization.py`, `exclude_from_weight_decay`.
    pub fn decays(self) -> bool {
        matches!(self, Self::Embedding | Self::Matrix)
    }
}

/// The part of the model that a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelPart {
    /// Embedding tables and their norm; a tied decoder is the word table.
    Embeddings,
    /// The projection from E to H and the layers.
    Encoder,
    /// The dense layer over `[CLS]`.
    Pooler,
    /// Everything after the encoder and the pooler.
    Head,
}

/// One tensor of the flat buffer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FlatTensor {
    /// Hugging Face's name.
    pub name: String,
    /// Its shape, row by row.
    pub shape: Vec<usize>,
    /// Its place in the buffer.
    pub range: Range<usize>,
    /// The kind of the parameter.
    pub kind: ParameterKind,
    /// The part of the model that it belongs to.
    pub part: ModelPart,
}

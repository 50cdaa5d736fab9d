//! The tensors of the flat buffer: trained or frozen, with or without weight decay.
//!
//! Biases and norms are exempt from weight decay and, with LAMB, from scaling: the tensors that
//! google-research/albert excludes (`optimization.py`, `exclude_from_weight_decay`), and that
//! transformers' Trainer leaves out.

use std::ops::Range;

use albert_tasks::albert_model::train::{FlatLayout, Frozen, ModelPart, ParameterKind};

/// A tensor within the flat buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Hugging Face's name.
    pub name: String,
    /// The range of its values in the buffer.
    pub range: Range<usize>,
    /// Its shape; matrices are (out, in).
    pub shape: Vec<usize>,
    /// True if weight decay applies to it.
    pub decays: bool,
    /// True for the matrices of the layers, whose updates Muon orthogonalizes. AdamW updates
    /// embeddings and heads, as Muon's author advises.
    pub is_hidden_matrix: bool,
    /// True if it is frozen.
    pub is_frozen: bool,
}

/// The tensors of a flat buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct Groups {
    tensors: Vec<Tensor>,
    len: usize,
    /// The factor of each tensor's learning rate; none where all are 1.
    rates: Vec<f64>,
}

impl Groups {
    /// Returns the groups of a buffer of `len` values that holds these tensors.
    ///
    /// # Panics
    /// If a tensor lies outside the buffer.
    pub fn new(len: usize, tensors: Vec<Tensor>) -> Self {
        for Tensor { name, range, .. } in &tensors {
            assert!(range.end <= len, "`{name}` at {range:?} of {len}");
        }
        Self {
            tensors,
            len,
            rates: Vec::new(),
        }
    }

    /// Returns the groups of a model's parameters.
    pub fn from_layout(layout: &FlatLayout, frozen: Frozen) -> Self {
        let tensors = layout.tensors().iter().map(|tensor| Tensor {
            name: tensor.name.clone(),
            range: tensor.range.clone(),
            shape: tensor.shape.clone(),
            decays: tensor.kind.decays(),
            is_hidden_matrix: tensor.kind == ParameterKind::Matrix
                && tensor.part == ModelPart::Encoder,
            is_frozen: match tensor.part {
                ModelPart::Embeddings => frozen.embeddings || frozen.encoder,
                ModelPart::Encoder => frozen.encoder,
                _ => false,
            },
        });
        Self::new(layout.len(), tensors.collect())
    }

    /// Freezes the tensors whose names start with a prefix.
    #[must_use]
    pub fn with_frozen(mut self, prefix: &str) -> Self {
        for tensor in &mut self.tensors {
            tensor.is_frozen |= tensor.name.starts_with(prefix);
        }
        self
    }

    /// Multiplies the learning rate of each tensor by a factor of its own.
    ///
    /// # Panics
    /// If there are not as many factors as tensors.
    #[must_use]
    pub fn with_rates(mut self, rates: Vec<f64>) -> Self {
        assert_eq!(rates.len(), self.tensors.len(), "a rate for each tensor");
        self.rates = rates;
        self
    }

    /// Returns the length of the buffer.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns true if there are no parameters.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns every tensor.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// Returns the tensors that are trained, each with the factor of its learning rate.
    pub fn trained(&self) -> impl Iterator<Item = (&Tensor, f64)> {
        let rates = self.rates.iter().copied().chain(std::iter::repeat(1.0));
        let tensors = self.tensors.iter().zip(rates);
        tensors.filter(|(tensor, _)| !tensor.is_frozen)
    }
}

//! The memory of the fused encoder's intermediate results.

use albert_kernels::{Aligned, QuantizedRows};

/// The memory that a thread reuses for every layer.
#[derive(Default)]
pub(super) struct Scratch {
    /// The hidden states.
    pub(super) states: Aligned,
    /// The embeddings, then queries, keys and values.
    pub(super) wide: Aligned,
    pub(super) context: Aligned,
    /// The output of a sub-layer, which is added to the hidden states.
    pub(super) output: Aligned,
    /// A part of the inner feed-forward layer.
    pub(super) inner: Aligned,
    /// The quantized input of int8 products.
    pub(super) rounded: QuantizedRows,
    /// The quantized part of the inner layer, for int8 products.
    pub(super) rounded_inner: QuantizedRows,
}

impl Scratch {
    /// Makes room for `rows` tokens with `h` hidden values and `e` values of an embedding each.
    pub(super) fn resize(&mut self, rows: usize, h: usize, e: usize) {
        self.states.resize(rows * h);
        self.wide.resize(rows * e.max(3 * h));
        self.context.resize(rows * h);
        self.output.resize(rows * h);
    }
}

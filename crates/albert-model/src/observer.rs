//! The view that calibration has of a forward pass. The hot path knows only this trait.

/// An input of the products in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProductInput {
    /// Hidden states, which queries, keys and values are made from.
    HiddenStates,
    /// The context, which attention's output projection reads.
    Context,
    /// Normalized attention output, which the feed-forward network's inner product reads.
    Attended,
    /// Activations, which the feed-forward network's output product reads.
    Activations,
}

/// Sees the inputs of an encoder's products.
pub(crate) trait Observer {
    /// Takes rows of `channels` values on their way into a product of the layer `inner` of `group`,
    /// given as `(group, inner)`.
    fn see(&mut self, layer: (usize, usize), input: ProductInput, rows: &[f32], channels: usize);
}

/// Sees nothing and costs nothing.
pub(crate) struct NoObserver;

impl Observer for NoObserver {
    #[inline(always)]
    fn see(&mut self, _: (usize, usize), _: ProductInput, _: &[f32], _: usize) {}
}

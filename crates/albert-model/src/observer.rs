//! The trait through which calibration observes a forward pass, so that the hot path does not
//! depend on calibration.

/// An input of the matrix products in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProductInput {
    /// Hidden states, the input of the query, key and value projections.
    HiddenStates,
    /// The context, the input of attention's output projection.
    Context,
    /// The normalized attention output, the input of the feed-forward network's first product.
    Attended,
    /// The activations, the input of the feed-forward network's second product.
    Activations,
}

/// Observes the inputs of an encoder's matrix products.
pub(crate) trait Observer {
    /// Observes rows of `channels` values that enter a product of the layer `(group, inner)`.
    fn see(&mut self, layer: (usize, usize), input: ProductInput, rows: &[f32], channels: usize);
}

/// Observes nothing, at no cost.
pub(crate) struct NoObserver;

impl Observer for NoObserver {
    #[inline(always)]
    fn see(&mut self, _: (usize, usize), _: ProductInput, _: &[f32], _: usize) {}
}

//! A thread's working memory: a buffer of gradients, and the memory of one bundle.

use albert_kernels::training::{AttentionScratch, OuterScratch, outer_product};
use albert_kernels::training::{DropoutKey, column_sums};
use albert_kernels::{
    Activation, Aligned, Epilogue, Heads, InstructionSet, PackedMatrix, Rows, RowsMut, Threads,
    product,
};

use crate::train::batch::TrainingBatch;
use crate::train::network::{Dense, Network};
use crate::train::objective::{Objective, ObjectiveLoss};
use crate::train::options::{Dropout, Frozen};
use crate::train::weights::PackedWeights;

/// The data that all bundles of a step share.
#[derive(Debug)]
pub(super) struct Step<'a> {
    pub(super) instructions: InstructionSet,
    pub(super) network: &'a Network,
    pub(super) shape: Shape,
    pub(super) parameters: &'a [f32],
    pub(super) packed: &'a PackedWeights,
    pub(super) batch: &'a TrainingBatch,
    pub(super) objectives: &'a [&'a dyn Objective],
    /// For each objective over vectors their gradients, `(B, H)`.
    pub(super) vector_gradients: &'a [Option<Vec<f32>>],
    pub(super) dropout: Dropout,
    pub(super) key: DropoutKey,
    pub(super) frozen: Frozen,
    pub(super) skip_unread_rows: bool,
    /// True if gradients are computed.
    pub(super) is_training: bool,
    /// True if the values of the head are kept.
    pub(super) records: bool,
    /// `(H)` or wider
    pub(super) zeros: &'a [f32],
}

/// The dimensions of the pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) e: usize,
    pub(super) h: usize,
    pub(super) i: usize,
    pub(super) heads: Heads,
    pub(super) eps: f32,
    pub(super) activation: Activation,
}

/// The streams of dropout within a sequence.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose {
    Embeddings,
    AttentionOutput { layer: usize },
    Probabilities { layer: usize },
    Classifier { objective: usize },
    FeedForward { layer: usize },
}

impl Purpose {
    /// Returns the key of this stream for a sequence of a step.
    pub(super) fn key(self, step: DropoutKey, sequence: usize) -> DropoutKey {
        let (kind, index) = match self {
            Self::Embeddings => (0, 0),
            Self::AttentionOutput { layer } => (1, layer),
            Self::Probabilities { layer } => (2, layer),
            Self::Classifier { objective } => (3, objective),
            Self::FeedForward { layer } => (4, layer),
        };
        step.with(sequence as u64).with(kind << 32 | index as u64)
    }
}

impl Step<'_> {
    /// Returns the key of one stream of masks of a sequence.
    pub(super) fn key(&self, sequence: usize, purpose: Purpose) -> DropoutKey {
        purpose.key(self.key, sequence)
    }

    /// `y = x Wᵀ + b`
    pub(super) fn dense(&self, dense: &Dense, xs: &[f32], rows: usize, ys: &mut [f32]) {
        let bias = &self.parameters[dense.bias.clone()];
        let then = Epilogue::BiasActivation(bias, Activation::Linear);
        self.forward(dense, xs, rows, ys, then);
    }

    /// `y = x Wᵀ`
    pub(super) fn dense_without_bias(
        &self,
        dense: &Dense,
        xs: &[f32],
        rows: usize,
        ys: &mut [f32],
    ) {
        self.forward(dense, xs, rows, ys, Epilogue::Store);
    }

    fn forward(&self, dense: &Dense, xs: &[f32], rows: usize, ys: &mut [f32], then: Epilogue<'_>) {
        product(
            Rows::new(xs, rows, dense.input),
            &self.packed.forward(dense).view(),
            RowsMut::new(ys, rows, dense.out),
            then,
            Threads::One,
        );
    }

    /// `dx = dy W`, or `dx += dy W`
    pub(super) fn dense_backward(
        &self,
        dense: &Dense,
        dys: &[f32],
        rows: usize,
        dxs: &mut [f32],
        then: Epilogue<'_>,
    ) {
        product(
            Rows::new(dys, rows, dense.out),
            &self.packed.backward(dense).view(),
            RowsMut::new(dxs, rows, dense.input),
            then,
            Threads::One,
        );
    }

    /// Drops out whole rows of `width` values; each row's masks depend on its sequence and place.
    pub(super) fn drop_out(
        &self,
        probability: f32,
        rows: impl Iterator<Item = (usize, usize)>,
        purpose: Purpose,
        xs: &mut [f32],
        width: usize,
    ) {
        if probability == 0.0 {
            return;
        }
        for ((sequence, place), row) in rows.zip(xs.chunks_exact_mut(width)) {
            let key = self.key(sequence, purpose);
            key.drop_out(self.instructions, probability, (place * width) as u32, row);
        }
    }
}

/// Memory for the gradient of a weight.
#[derive(Debug)]
pub(super) struct WeightScratch {
    packed: PackedMatrix,
    outer: OuterScratch,
}

impl WeightScratch {
    pub(super) fn new(instructions: InstructionSet) -> Self {
        Self {
            packed: PackedMatrix::empty(instructions),
            outer: OuterScratch::default(),
        }
    }

    /// Packs x, for the weight gradients of all layers that read it.
    pub(super) fn pack(&mut self, xs: &[f32], rows: usize, width: usize) {
        self.packed.refill(Rows::new(xs, rows, width), width);
    }

    /// `dW += dyᵀ x` with the x that was packed last.
    pub(super) fn weight(&mut self, dense: &Dense, dys: &[f32], gradients: &mut [f32]) {
        let rows = dys.len() / dense.out;
        outer_product(
            Rows::new(dys, rows, dense.out),
            dense.out,
            &self.packed,
            &mut gradients[dense.weight.clone()],
            &mut self.outer,
        );
    }

    /// `db += Σ dy`
    pub(super) fn bias(
        &self,
        instructions: InstructionSet,
        dense: &Dense,
        dys: &[f32],
        gradients: &mut [f32],
    ) {
        column_sums(instructions, dys, &mut gradients[dense.bias.clone()]);
    }
}

/// The values that a layer stores for its backward pass: 8H + I per token.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// `(rows, H)`
    pub(super) input: Aligned,
    /// `(read, H)`
    pub(super) query: Aligned,
    /// `(rows, 2H)`
    pub(super) key_value: Aligned,
    /// `(read, H)`
    pub(super) context: Aligned,
    /// The norm after attention: its normed input, `(read, H)`, and `1 / σ`, `(read)`.
    pub(super) attention_normed: Aligned,
    pub(super) attention_deviations: Aligned,
    /// Its output, `(read, H)`
    pub(super) attended: Aligned,
    /// `(read, I)`, without bias and activation; the backward pass activates it in place
    pub(super) inner: Aligned,
    /// The norm after the feed-forward network.
    pub(super) normed: Aligned,
    pub(super) deviations: Aligned,
}

/// Values that an objective's head computed for a sequence.
#[derive(Debug, Clone)]
pub(super) struct Recorded {
    /// The index of the objective in the step.
    pub(super) objective: usize,
    /// The index of the sequence in the batch.
    pub(super) sequence: usize,
    pub(super) values: Vec<f32>,
}

impl Recorded {
    /// Returns the values of each sequence for each objective; those without values are empty.
    pub(super) fn sorted(
        recorded: impl IntoIterator<Item = Self>,
        objectives: usize,
        sequences: usize,
    ) -> Vec<Vec<Vec<f32>>> {
        let mut sorted = vec![vec![Vec::new(); sequences]; objectives];
        for found in recorded {
            sorted[found.objective][found.sequence] = found.values;
        }
        sorted
    }
}

/// A gradient buffer and the memory of one bundle.
#[derive(Debug)]
pub(super) struct Slot {
    /// Empty until gradients are computed.
    pub(super) gradients: Aligned,
    pub(super) kept: Vec<Kept>,
    /// The norm of the embeddings, and the embeddings, `(rows, E)`.
    pub(super) embedding_normed: Aligned,
    pub(super) embedding_deviations: Aligned,
    pub(super) embeddings: Aligned,
    /// The last layer's output, `(read, H)`.
    pub(super) output: Aligned,
    /// The propagated gradient, `(rows, H)`.
    pub(super) d_states: Aligned,
    /// Gradients of hidden states in between, by the number of layers before them.
    pub(super) d_taps: Vec<Option<Aligned>>,
    /// `(rows, max(E, H))`
    pub(super) narrow: Aligned,
    pub(super) narrow_2: Aligned,
    /// `(rows, max(I, 2H))`
    pub(super) wide: Aligned,
    pub(super) weight_scratch: WeightScratch,
    pub(super) attention: AttentionScratch,
    /// `(masked, V)`
    pub(super) logits: Aligned,
    /// One for each objective.
    pub(super) losses: Vec<ObjectiveLoss>,
    /// The values of heads, if the step keeps them.
    pub(super) recorded: Vec<Recorded>,
}

impl Slot {
    pub(super) fn new(instructions: InstructionSet, layers: usize) -> Self {
        let empty = Aligned::default;
        Self {
            gradients: empty(),
            kept: (0..layers).map(|_| Kept::default()).collect(),
            embedding_normed: empty(),
            embedding_deviations: empty(),
            embeddings: empty(),
            output: empty(),
            d_states: empty(),
            d_taps: (0..layers).map(|_| None).collect(),
            narrow: empty(),
            narrow_2: empty(),
            wide: empty(),
            weight_scratch: WeightScratch::new(instructions),
            attention: AttentionScratch::new(instructions),
            logits: empty(),
            losses: Vec::new(),
            recorded: Vec::new(),
        }
    }
}

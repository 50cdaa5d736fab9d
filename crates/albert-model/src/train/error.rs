//! Errors in a batch or its targets.

/// A `Result` whose error is [`TrainError`].
pub type Result<T, E = TrainError> = std::result::Result<T, E>;

/// The reason why a step cannot be computed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A token id, a token type or a position for which the model has no row.
    #[error("sequence {sequence}: expected a {what} below {count}, found {found}")]
    OutOfRange {
        /// The sequence of the batch.
        sequence: usize,
        /// `token id`, `token type` or `position`.
        what: &'static str,
        /// The number.
        found: usize,
        /// The number of valid indices.
        count: usize,
    },

    /// A sequence without tokens.
    #[error("sequence {sequence} has no tokens")]
    EmptySequence {
        /// The sequence of the batch.
        sequence: usize,
    },

    /// The targets of an objective do not match the batch.
    #[error("targets of {objective}: expected {expected}, found {found}")]
    Targets {
        /// The objective.
        objective: &'static str,
        /// A description of matching targets.
        expected: String,
        /// The targets that were given.
        found: String,
    },

    /// The model was laid out without the head that an objective trains.
    #[error("{objective}: expected a model with {expected}, found one with {found}")]
    Head {
        /// The objective.
        objective: &'static str,
        /// The layers that it needs.
        expected: &'static str,
        /// The model's head.
        found: crate::Head,
    },

    /// The parameters are those of another model.
    #[error("expected {expected} parameters, found {found}")]
    Parameters {
        /// The number of parameters of the layout.
        expected: usize,
        /// The number of parameters found.
        found: usize,
    },

    /// A tensor that every ALBERT has is not in the checkpoint.
    #[error("no tensor `{tensor}` in the checkpoint: expected all tensors of an ALBERT")]
    MissingTensor {
        /// Its name.
        tensor: String,
    },

    /// A data type that training does not support.
    #[error("data type of training: expected f32, bf16 or f64, found {found}")]
    DType {
        /// The type.
        found: String,
    },

    /// The requested instruction set is not available.
    #[error(transparent)]
    Instructions(#[from] albert_kernels::InstructionSetError),

    /// A checkpoint or a configuration is invalid.
    #[error(transparent)]
    Model(#[from] crate::Error),

    /// Candle failed while tensors were read or written.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

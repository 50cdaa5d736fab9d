//! Predicates that identify who can act on an error.

use super::Error;

impl Error {
    /// Returns true if the texts or options of the call are at fault, not the model or the machine,
    /// so that another call may succeed.
    pub fn is_input(&self) -> bool {
        matches!(
            self,
            Error::MaxLength { .. }
                | Error::Tokenize(_)
                | Error::TokenId { .. }
                | Error::PromptBeforeIds
                | Error::NoPooler
                | Error::TruncateDim { .. }
                | Error::PromptTooLong { .. }
                | Error::NoMask(_)
                | Error::MaskTruncated { .. }
                | Error::UnknownTarget(_)
                | Error::Empty { .. }
                | Error::NoPrompts(_)
                | Error::TargetTooLong { .. }
                | Error::Hypothesis(_)
                | Error::NoRoom { .. }
                | Error::StrideWithoutAggregation
                | Error::Stride { .. }
                | Error::PairInWindows
                | Error::TooManySentences { .. }
                | Error::VectorWidth { .. }
                | Error::InputValue { .. }
                | Error::InputLength { .. }
                | Error::UnknownName { .. }
        )
    }

    /// Returns true if the model has no head for the task.
    pub fn is_missing_head(&self) -> bool {
        match self {
            Error::Model(error) => error.is_missing_head(),
            Error::NotInference { .. }
            | Error::NotCrossEncoder { .. }
            | Error::MissingOutput { .. } => true,
            _ => false,
        }
    }

    /// Returns true if the device has no memory for the computation.
    pub fn is_out_of_memory(&self) -> bool {
        match self {
            Error::OutOfMemory { .. } => true,
            Error::Compute(error) | Error::Model(albert_model::Error::Candle(error)) => {
                is_out_of_memory(error)
            }
            _ => false,
        }
    }

    /// Returns true if there is no model of that name, or no such folder.
    pub fn is_missing_model(&self) -> bool {
        matches!(
            self,
            Error::UnknownModel(_) | Error::NoHub(_) | Error::NoBuiltin | Error::NotAFolder(_)
        )
    }
}

/// Returns true if a device had no memory for a tensor or for a library's workspace, according to
/// the CUDA status in cudarc's error.
pub(crate) fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = error.to_string();
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"]
        .iter()
        .any(|status| text.contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_tell_apart_who_can_act() {
        let empty = Error::Empty { what: "labels" };
        assert!(empty.is_input() && !empty.is_missing_head() && !empty.is_missing_model());
        assert_eq!(empty.to_string(), "no labels: expected at least one");
        assert!(Error::NotInference { labels: 1 }.is_missing_head());
        assert!(Error::UnknownModel("x".into()).is_missing_model());
        let full = crate::engine::runner::out_of_memory();
        assert!(Error::Compute(full).is_out_of_memory());
    }
}

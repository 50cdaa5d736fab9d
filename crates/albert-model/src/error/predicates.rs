//! Predicates that identify who can act on an error.

use super::Error;

impl Error {
    /// Returns true if a file of the model is missing, or a Git LFS pointer is in its place.
    pub fn is_missing_file(&self) -> bool {
        match self {
            Self::NoConfig { .. } | Self::NoWeights { found: None, .. } => true,
            Self::LfsPointer { .. } => true,
            Self::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        }
    }

    /// Returns true if the checkpoint was not trained for the requested head.
    pub fn is_missing_head(&self) -> bool {
        matches!(
            self,
            Self::MissingHead { .. } | Self::OtherClassifier { .. }
        )
    }

    /// Returns true if a file is truncated, or breaks its format or a checksum: another copy of it may
    /// be whole.
    pub fn is_damaged(&self) -> bool {
        matches!(
            self,
            Self::Json { .. }
                | Self::Safetensors { .. }
                | Self::Archive { .. }
                | Self::Malformed { .. }
                | Self::Checksum { .. }
        )
    }

    /// Returns true if the files are sound, but hold a model, a format or a type that is not
    /// supported.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            Self::Adapter { .. }
                | Self::Unmerged { .. }
                | Self::NoWeights { found: Some(_), .. }
                | Self::Refused { .. }
                | Self::UnexpectedTensor { .. }
                | Self::TensorDType { .. }
                | Self::ExpandedTensor { .. }
                | Self::QuantizedDevice
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn predicates_say_who_can_act() {
        let no_weights = |found| Error::NoWeights {
            path: "model".into(),
            found,
        };
        assert!(no_weights(None).is_missing_file() && !no_weights(None).is_unsupported());
        let other = no_weights(Some("tf_model.h5"));
        assert!(other.is_unsupported() && !other.is_missing_file());
        let io = |kind: std::io::ErrorKind| Error::Io {
            path: "x".into(),
            source: kind.into(),
        };
        assert!(io(std::io::ErrorKind::NotFound).is_missing_file());
        assert!(!io(std::io::ErrorKind::PermissionDenied).is_missing_file());
    }
}

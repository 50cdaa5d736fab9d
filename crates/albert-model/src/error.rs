//! What can go wrong with files and configurations.
//!
//! Computation returns [`candle_core::Result`]; everything that comes from outside the process,
//! `config.json` and weight files, returns [`Error`], which names the file and the tensor or
//! field, what was expected and what was found.

use std::path::{Path, PathBuf};

use candle_core::DType;

use crate::Head;

/// A `Result` whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A model's files are missing, broken, or not what was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be opened or read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A folder, a pipe or a device has the name of a weight file.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },

    /// None of the files that could hold the weights is there.
    #[error(
        "no weights in `{}`: expected `model.safetensors` or `model.safetensors.index.json`, found {}",
        path.display(),
        found.map_or("neither".into(), |name| format!("`{name}`, a format that is not read yet"))
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Weights in another format.
        found: Option<&'static str>,
    },

    /// A small text file that points at the real one stands in its place.
    #[error("`{}` is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },

    /// A file is not JSON.
    #[error("`{file}` is not valid JSON")]
    Json {
        /// The file.
        file: String,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },

    /// A field of a JSON file holds something that no ALBERT has.
    #[error("`{field}` in `{file}`: expected {expected}, found {found}")]
    Field {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// What would be right.
        expected: String,
        /// What is there.
        found: String,
    },

    /// The file is not a safetensors file, or is cut short.
    #[error("`{}` is not a whole safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        #[source]
        source: safetensors::SafeTensorError,
    },

    /// Tensors that every ALBERT has are not in the file.
    #[error("`{file}` is not an ALBERT checkpoint for its config.json: no tensor {}", list(names))]
    MissingTensors {
        /// The weight file.
        file: String,
        /// The missing tensors, the first few of them where there are many.
        names: Vec<String>,
    },

    /// The file holds more layers than the configuration speaks of: another model than the file's
    /// own would be computed.
    #[error(
        "tensor `{tensor}` in `{file}` has no place in a model with `num_hidden_groups` {groups} and \
         `inner_group_num` {inner}"
    )]
    UnexpectedTensor {
        /// The tensor, as the file spells it.
        tensor: String,
        /// The weight file.
        file: String,
        /// G, by the configuration.
        groups: usize,
        /// `inner_group_num`, by the configuration.
        inner: usize,
    },

    /// The checkpoint was not trained for this head.
    ///
    /// Weights are never made up: a model without trained ones is an error.
    #[error("`{file}` has no weights for {head}: no tensor {}; it can serve {}", list(missing), list(served))]
    MissingHead {
        /// The weight file.
        file: String,
        /// What was asked for.
        head: Head,
        /// The tensors that it would need.
        missing: Vec<String>,
        /// What the checkpoint can serve instead.
        served: Vec<Head>,
    },

    /// `classifier.*` belongs to another head than the one asked for.
    #[error("`classifier` in `{file}` belongs to {found} (`architectures` in `config.json`), not to {head}")]
    OtherClassifier {
        /// The weight file.
        file: String,
        /// What was asked for.
        head: Head,
        /// What the config says it is.
        found: Head,
    },

    /// A tensor has another shape than the configuration says.
    #[error("tensor `{tensor}` in `{file}`: expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// The tensor, as the file spells it.
        tensor: String,
        /// The weight file.
        file: String,
        /// By the configuration.
        expected: Vec<usize>,
        /// In the file.
        found: Vec<usize>,
    },

    /// A tensor is stored in a type that is no floating-point type.
    #[error("tensor `{tensor}` in `{file}`: expected f16, bf16, f32 or f64, found {found}")]
    TensorDType {
        /// The tensor, as the file spells it.
        tensor: String,
        /// The weight file.
        file: String,
        /// The stored type.
        found: String,
    },

    /// Two tensors of the file are spellings of the same one.
    #[error("tensors `{first}` and `{second}` in `{file}` are both `{name}`")]
    DuplicateTensor {
        /// The weight file.
        file: String,
        /// The one spelling.
        first: String,
        /// The other.
        second: String,
        /// What both name.
        name: String,
    },

    /// The type asked for cannot hold a model's weights.
    #[error("weights cannot be loaded as {0:?}: expected f32, f16 or bf16")]
    LoadDType(DType),

    /// Candle failed while tensors were made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// How every Git LFS pointer begins.
const LFS_POINTER: &[u8] = b"version https://git-lfs";

pub(crate) fn refuse_lfs_pointer(path: &Path, bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(LFS_POINTER) {
        return Err(Error::LfsPointer { path: path.into() });
    }
    Ok(())
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("`{item}`")).collect();
    quoted.join(", ")
}

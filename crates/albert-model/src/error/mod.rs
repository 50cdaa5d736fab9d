//! The errors of files and configurations.
//!
//! Computations return [`candle_core::Result`]. Functions that read data from outside the process,
//! `config.json` and weight files, return [`Error`], which names the file, the tensor or field, and
//! what was expected and found.

mod hint;
mod predicates;

use std::path::PathBuf;

pub(crate) use albert_formats::shown;
use albert_formats::small_file::FileError;
use candle_core::DType;

use crate::Head;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error in a model's files: missing, broken, or not what was requested.
///
/// Callers rarely need to match on a variant: the predicates [`is_missing_file`](Self::is_missing_file),
/// [`is_missing_head`](Self::is_missing_head), [`is_damaged`](Self::is_damaged) and
/// [`is_unsupported`](Self::is_unsupported) say who can act on an error.
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

    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },

    /// A folder, a pipe or a device has the name of a file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },

    /// A configuration or an index is implausibly large.
    #[error("`{}` has {bytes} bytes: expected at most {}", path.display(), albert_formats::small_file::MOST_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The size of the file.
        bytes: u64,
    },

    /// The folder holds an adapter, which is not a model by itself.
    #[error(
        "`{}` holds a {kind} adapter for `{base}`, not a model: expected the weights of a model, with the adapter merged",
        path.display()
    )]
    Adapter {
        /// The folder.
        path: PathBuf,
        /// The method, such as LoRA.
        kind: String,
        /// The base model of the adapter.
        base: String,
    },

    /// The file holds adapter weights next to the weights that they update, and the file with the
    /// adapter's settings is missing or unsupported.
    #[error("`{file}` holds adapter weights that are not merged, such as `{tensor}`: {why}")]
    Unmerged {
        /// The weight file.
        file: String,
        /// A tensor of the adapter.
        tensor: String,
        /// The reason they are not merged.
        why: String,
    },

    /// The folder has no configuration file.
    #[error(
        "no configuration in `{}`: expected `config.json`, or Google's `albert_config.json` or \
         `bert_config.json`, or PL-BERT's `config.yml`",
        path.display()
    )]
    NoConfig {
        /// The folder.
        path: PathBuf,
    },

    /// The folder has no weight file in a supported format.
    #[error(
        "no weights in `{}`: expected `model.safetensors`, `pytorch_model.bin`, their shards or a TensorFlow \
         checkpoint, found {}",
        path.display(),
        found.map_or("none of them".into(), |name| format!("`{name}`, an unsupported format"))
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// A weight file in an unsupported format.
        found: Option<&'static str>,
    },

    /// Several files could hold the weights, and none of them is preferred.
    #[error("several files in `{}` could hold the weights: expected one, found {}", path.display(), list(found))]
    SeveralWeights {
        /// The folder.
        path: PathBuf,
        /// The files.
        found: Vec<String>,
    },

    /// The folder to write a model to already holds one.
    #[error("`{}` already holds a model: expected an empty folder, found `{found}`", path.display())]
    HoldsModel {
        /// The folder.
        path: PathBuf,
        /// A file of the model.
        found: String,
    },

    /// The file is a Git LFS pointer, a small text file in place of the actual one.
    #[error("`{}` is a Git LFS pointer: expected the file itself", path.display())]
    LfsPointer {
        /// The file.
        path: PathBuf,
    },

    /// A file is not JSON.
    #[error("`{file}` is not valid JSON")]
    Json {
        /// The file.
        file: String,
        /// The parser's error, with the position in the file.
        #[source]
        source: serde_json::Error,
    },

    /// A field of a JSON file has an invalid value.
    #[error("`{field}` in `{file}`: expected {expected}, found {found}")]
    Field {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// A description of the accepted values.
        expected: String,
        /// The value found.
        found: String,
    },

    /// The file is not a safetensors file, or is truncated.
    #[error("`{}` is not a complete safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        #[source]
        source: safetensors::SafeTensorError,
    },

    /// The file is not a zip archive, or is truncated.
    #[error("`{}` is not a complete PyTorch file", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        #[source]
        source: zip::result::ZipError,
    },

    /// The file violates its format.
    #[error("`{file}` is not a complete {format}: {why}")]
    Malformed {
        /// The file.
        file: String,
        /// The expected format.
        format: &'static str,
        /// The fault and its position.
        why: String,
    },

    /// The file holds something that is not supported.
    #[error("`{file}` {why}")]
    Refused {
        /// The file.
        file: String,
        /// The unsupported content.
        why: String,
    },

    /// The checksum of a tensor is wrong.
    #[error(
        "a tensor of shape {shape:?} in `{file}` is damaged: expected the checksum {expected:#010x}, found \
         {found:#010x}"
    )]
    Checksum {
        /// The file.
        file: String,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The stored checksum.
        expected: u32,
        /// The checksum of the bytes that were read.
        found: u32,
    },

    /// The file lacks tensors of the model.
    #[error(
        "`{file}` has no tensor {}: expected all tensors of the model that its configuration describes",
        list(names)
    )]
    MissingTensors {
        /// The weight file.
        file: String,
        /// The missing tensors, or the first few of many.
        names: Vec<String>,
    },

    /// The file holds more layers than the configuration describes, so another model than the
    /// file's would be computed.
    #[error("tensor `{tensor}` in `{file}` does not belong to a model with {layers}")]
    UnexpectedTensor {
        /// The tensor's name in the file.
        tensor: String,
        /// The weight file.
        file: String,
        /// The fields of the configuration that count layers, with their values.
        layers: String,
    },

    /// The checkpoint was not trained for this head.
    ///
    /// Missing weights are never initialized at random.
    #[error(
        "`{file}` has no weights for {head}: no tensor {}; it can serve {}",
        list(missing),
        list(served)
    )]
    MissingHead {
        /// The weight file.
        file: String,
        /// The head requested.
        head: Head,
        /// The missing tensors.
        missing: Vec<String>,
        /// The heads that the checkpoint can serve instead.
        served: Vec<Head>,
    },

    /// `classifier.*` belongs to another head than the requested one.
    #[error(
        "`classifier` in `{file}` belongs to {found} (`architectures` in `config.json`), not to {head}"
    )]
    OtherClassifier {
        /// The weight file.
        file: String,
        /// The head requested.
        head: Head,
        /// The head that the config names.
        found: Head,
    },

    /// A tensor's shape differs from the configuration.
    #[error("tensor `{tensor}` in `{file}`: expected shape {expected:?}, found {found:?}")]
    TensorShape {
        /// The tensor's name in the file.
        tensor: String,
        /// The weight file.
        file: String,
        /// The shape in the configuration.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },

    /// A tensor is not stored in a floating-point type.
    #[error("tensor `{tensor}` in `{file}`: expected f16, bf16, f32 or f64, found {found}")]
    TensorDType {
        /// The tensor's name in the file.
        tensor: String,
        /// The weight file.
        file: String,
        /// The stored type.
        found: String,
    },

    /// A tensor is expanded: a few stored values are repeated as many elements.
    #[error("a tensor in `{file}` repeats its stored values: expected every element to be stored")]
    ExpandedTensor {
        /// The weight file.
        file: String,
    },

    /// A value exceeds the range of the type to store it in.
    #[error("tensor `{tensor}` overflows {dtype:?}: expected values up to 65504")]
    Overflow {
        /// The tensor's canonical name.
        tensor: String,
        /// The type.
        dtype: DType,
    },

    /// Two names in the file mean the same tensor.
    #[error("tensors `{first}` and `{second}` in `{file}` are both `{name}`")]
    DuplicateTensor {
        /// The weight file.
        file: String,
        /// The first name.
        first: String,
        /// The second name.
        second: String,
        /// The canonical name of both.
        name: String,
    },

    /// int8 weights were requested on a GPU.
    #[error(
        "int8 weights only run on the CPU: expected the CPU, or a type other than int8, found a GPU"
    )]
    QuantizedDevice,

    /// There are no activation statistics by which to round the weights.
    #[error(
        "`{file}` has no int8 weights: expected activation statistics with which to quantize, \
         found none"
    )]
    NotCalibrated {
        /// The weight file.
        file: String,
    },

    /// A weight is NaN or infinite.
    #[error("tensor `{tensor}`: expected finite values to round to 8 bits, found NaN or infinity")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },

    /// Candle failed to create a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl From<FileError> for Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::NotAFile { path } => Self::NotAFile { path },
            FileError::TooLarge { path, bytes } => Self::TooLarge { path, bytes },
            FileError::LfsPointer { path } => Self::LfsPointer { path },
            FileError::Io { path, source } => Self::Io { path, source },
        }
    }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("`{item}`")).collect();
    quoted.join(", ")
}

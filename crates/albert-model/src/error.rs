//! Errors in files and configurations.
//!
//! Computation returns [`candle_core::Result`]; everything that comes from outside the process,
//! `config.json` and weight files, returns [`Error`], which names the file and the tensor or
//! field, what was expected and what was found.

use std::path::PathBuf;

use albert_formats::small_file::FileError;
use candle_core::DType;

use crate::Head;

/// A `Result` whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

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

    /// A configuration or an index is larger than any.
    #[error("`{}` has {bytes} bytes: expected at most {}", path.display(), albert_formats::small_file::MOST_BYTES)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },

    /// The folder holds an adapter, which changes a model and is none.
    #[error(
        "`{}` holds a {kind} adapter for `{base}`, not a model: expected the weights of a model, with the adapter merged",
        path.display()
    )]
    Adapter {
        /// The folder.
        path: PathBuf,
        /// The method, such as LoRA.
        kind: String,
        /// The model that it changes.
        base: String,
    },

    /// The file holds the weights of an adapter next to those that they change, and the file that
    /// says how to join them is missing or asks for what is not supported.
    #[error("`{file}` holds adapter weights that are not merged, such as `{tensor}`: {why}")]
    Unmerged {
        /// The weight file.
        file: String,
        /// A tensor of the adapter.
        tensor: String,
        /// The reason they are not merged.
        why: String,
    },

    /// None of the files that could describe the model is there.
    #[error(
        "no configuration in `{}`: expected `config.json`, or Google's `albert_config.json`, or PL-BERT's \
         `config.yml`",
        path.display()
    )]
    NoConfig {
        /// The folder.
        path: PathBuf,
    },

    /// None of the files that could hold the weights is there.
    #[error(
        "no weights in `{}`: expected `model.safetensors`, `pytorch_model.bin`, their shards or a TensorFlow \
         checkpoint, found {}",
        path.display(),
        found.map_or("none of them".into(), |name| format!("`{name}`, a format that is not read"))
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
        /// Weights in another format.
        found: Option<&'static str>,
    },

    /// Several files could hold the weights, and nothing says which one does.
    #[error("several files in `{}` could hold the weights: expected one, found {}", path.display(), list(found))]
    SeveralWeights {
        /// The folder.
        path: PathBuf,
        /// The files.
        found: Vec<String>,
    },

    /// A folder that a model is to be written into has one.
    #[error("`{}` holds a model already: expected an empty folder, found `{found}`", path.display())]
    HoldsModel {
        /// The folder.
        path: PathBuf,
        /// A file of the model.
        found: String,
    },

    /// The file is a Git LFS pointer, a small text file in place of the real one.
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
        /// The parser's error, with its place in the file.
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
        /// A description of the accepted values.
        expected: String,
        /// The value found.
        found: String,
    },

    /// The file is not a safetensors file, or is cut short.
    #[error("`{}` is not a whole safetensors file", path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        #[source]
        source: safetensors::SafeTensorError,
    },

    /// The file is not a zip archive, or is cut short.
    #[error("`{}` is not a whole PyTorch file", path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reader's error.
        #[source]
        source: zip::result::ZipError,
    },

    /// The file breaks its format.
    #[error("`{file}` is not a whole {format}: {why}")]
    Malformed {
        /// The file.
        file: String,
        /// The expected format.
        format: &'static str,
        /// The fault and its place.
        why: String,
    },

    /// The file holds what is not supported, or what no model has.
    #[error("`{file}` {why}")]
    Refused {
        /// The file.
        file: String,
        /// The unsupported content.
        why: String,
    },

    /// The bytes of a tensor are not those that were written.
    #[error(
        "a tensor of shape {shape:?} in `{file}` is damaged: expected the checksum {expected:#010x}, found \
         {found:#010x}"
    )]
    Checksum {
        /// The file.
        file: String,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// As it was written.
        expected: u32,
        /// As it is read.
        found: u32,
    },

    /// Tensors that every ALBERT has are not in the file.
    #[error(
        "`{file}` is not an ALBERT checkpoint for its config.json: no tensor {}",
        list(names)
    )]
    MissingTensors {
        /// The weight file.
        file: String,
        /// The missing tensors, or the first few of many.
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
        /// The tensors that it would need.
        missing: Vec<String>,
        /// The heads that the checkpoint can serve instead.
        served: Vec<Head>,
    },

    /// `classifier.*` belongs to another head than the one asked for.
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

    /// A tensor is stored in a type other than floating-point.
    #[error("tensor `{tensor}` in `{file}`: expected f16, bf16, f32 or f64, found {found}")]
    TensorDType {
        /// The tensor, as the file spells it.
        tensor: String,
        /// The weight file.
        file: String,
        /// The stored type.
        found: String,
    },

    /// A tensor is expanded: a few stored values represent many elements.
    #[error("a tensor in `{file}` is expanded: expected every element in the file")]
    ExpandedTensor {
        /// The weight file.
        file: String,
    },

    /// A number is beyond the largest of the type it is to be stored as.
    #[error("tensor `{tensor}` overflows {dtype:?}: expected numbers up to 65504")]
    Overflow {
        /// The tensor, in the one spelling.
        tensor: String,
        /// The type.
        dtype: DType,
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
        /// The name that both give.
        name: String,
    },

    /// Weights in 8 bits are for the CPU.
    #[error(
        "weights in 8 bits run on the CPU: expected the CPU, or another type than int8, found a GPU"
    )]
    QuantizedDevice,

    /// Nothing is known of what the weights multiply.
    #[error(
        "`{file}` has no weights in 8 bits: expected statistics of its activations to round them by, found none"
    )]
    NotCalibrated {
        /// The weight file.
        file: String,
    },

    /// A weight is not a number, or infinite.
    #[error("tensor `{tensor}`: expected finite numbers to round to 8 bits, found one that is not")]
    NotFinite {
        /// The tensor.
        tensor: String,
    },

    /// Candle failed while tensors were made.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

impl Error {
    /// Suggests a remedy, if one is known: one line without a final period.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoWeights {
                found: Some("tf_model.h5"),
                ..
            } => {
                "convert it with transformers 4: AutoModel.from_pretrained(DIR, from_tf=True).save_pretrained(DIR)"
            }
            Self::NoWeights {
                found: Some("flax_model.msgpack"),
                ..
            } => {
                "convert it with transformers 4: AutoModel.from_pretrained(DIR, from_flax=True).save_pretrained(DIR)"
            }
            Self::NoWeights {
                found: Some("rust_model.ot"),
                ..
            } => "rust-bert made it from pytorch_model.bin: take that file of the same model",
            Self::NoWeights { found: Some(_), .. } => {
                "it was made from PyTorch's or TensorFlow's weights: take those of the same model"
            }
            Self::SeveralWeights { .. } => {
                "leave the one that is meant in the folder, or name it pytorch_model.bin"
            }
            Self::HoldsModel { .. } => "choose another folder",
            Self::Adapter { .. } | Self::Unmerged { .. } => {
                "merge it with PEFT: PeftModel.from_pretrained(BASE, ADAPTER).merge_and_unload().save_pretrained(DIR)"
            }
            Self::LfsPointer { .. } => "run `git lfs pull` in the model's folder",
            Self::NotCalibrated { .. } => "`Checkpoint::quantize` makes them",
            Self::Overflow { .. } => "bf16 holds numbers as large as f32 does",
            _ => return None,
        };
        Some(hint.to_string())
    }
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

/// Returns a name from a file as a message may show it: short, and without control characters.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 80;
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_default)
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    let quoted: Vec<_> = items.iter().map(|item| format!("`{item}`")).collect();
    quoted.join(", ")
}

//! Loads trained weights from files into models.
//!
//! A [`Checkpoint`] is a configuration and its weight files, with nothing loaded yet. It finds the
//! files of a folder ([`configuration`], [`choice`]), the bytes of each tensor in them
//! ([`safetensors`], [`pytorch`], [`tensorflow`], [`stored`]), adapters to merge ([`adapters`]) and
//! the canonical name of each tensor ([`names`]). Before anything is allocated it checks names,
//! shapes and types against what a head needs, and reports the use of each tensor ([`LoadReport`]).
//! It does not depend on the models, which take their tensors from its `VarBuilder` ([`source`]).
//! [`save`] writes a checkpoint in Hugging Face's current layout. [`Tensors`] reads a weight file
//! that is not an ALBERT.
//!
//! Files are hostile input. Opening a file takes at most 128 bytes of memory per byte of the file,
//! and loading it at most [`MOST_SHARED`] times its size, in its own type.

mod adapters;
mod bert;
mod calibration;
mod check;
mod choice;
mod companions;
mod configuration;
mod conversion;
mod files;
mod googles;
mod names;
mod options;
mod pytorch;
mod quantized;
mod report;
mod rounded;
mod safetensors;
mod save;
mod scheme;
mod source;
mod stored;
mod strides;
mod tensorflow;
mod tensors;
mod weight_file;

pub use options::{LoadOptions, WeightFormat};
pub use report::LoadReport;
pub use tensors::Tensors;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Tensor};

use crate::config::AlbertConfig;
use crate::error::{Error, Result};
use crate::parameters::{Head, POOLER, Parameter, head_parameters, in_model};
pub(crate) use calibration::{Calibration, ChannelStatistics};
use choice::{Choice, Format};
use configuration::Configuration;
use files::WeightFiles;
use names::Names;
use stored::StoredTensor;

/// The maximum size of all tensors, relative to the file. Apart from tied tensors, models do not
/// share bytes between tensors, but a small hostile file with a thousand tensors over the same
/// bytes would request any amount of memory.
const MOST_SHARED: usize = 4;

/// Returns true if a tensor belongs to a module.
fn is_in(module: &str, tensor: &str) -> bool {
    tensor
        .strip_prefix(module)
        .is_some_and(|rest| rest.starts_with('.'))
}

/// Returns true if a tensor is the pooler's.
fn is_of_pooler(tensor: &str) -> bool {
    is_in(&in_model(POOLER), tensor)
}

/// A configuration and the weights that it describes, not yet loaded.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: AlbertConfig,
    activation: String,
    files: Arc<WeightFiles>,
    /// The name in the file of each tensor, by canonical name.
    names: BTreeMap<String, String>,
    /// True if the file has BERT's names.
    has_bert_names: bool,
    /// Like `names`, for tensors that are not read because they are tied to others.
    copies: BTreeMap<String, String>,
    /// Tensors that the architecture implies and the file may lack.
    implied: Arc<BTreeMap<String, StoredTensor>>,
    choices: Vec<String>,
    /// The activation statistics for int8 quantization.
    calibration: Option<Arc<Calibration>>,
}

impl Checkpoint {
    /// Opens a folder with an ALBERT or a BERT in any supported layout.
    ///
    /// The weights are the first of these in the folder:
    /// - `model.safetensors`, or the shards that `model.safetensors.index.json` names,
    /// - `pytorch_model.bin`, in the zip format or the one before PyTorch 1.6, or the shards that
    ///   `pytorch_model.bin.index.json` names,
    /// - a TensorFlow checkpoint, `model.ckpt-best.index` with its data files, as published by
    ///   Google,
    /// - a single `.bin`, `.pt`, `.pth`, `.t7` or `.ckpt` file with any other name.
    ///
    /// Safetensors and PyTorch files are recognized by their content. Unmerged LoRA weights are
    /// merged if the folder has their `adapter_config.json`.
    ///
    /// The configuration is `config.json`, Google's `albert_config.json` (which is preferred for
    /// TensorFlow weights), or PL-BERT's `config.yml`.
    ///
    /// Weight files are memory-mapped, and nothing in them is executed.
    ///
    /// # Errors
    /// If a file is missing, truncated, a Git LFS pointer, or not what its name says, if it holds
    /// another network than ALBERT or BERT, or only an adapter, or if an index names a file outside
    /// the folder.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let choice = Choice::find(dir);
        if choice.is_err()
            && let Some(adapter) = adapters::Settings::read(dir)?
        {
            return Err(adapter.without_model(dir));
        }
        let with_tensorflow = matches!(&choice, Ok(choice) if choice.format == Format::TensorFlow);
        let configuration = Configuration::find(dir, with_tensorflow)?;
        Self::new(configuration, WeightFiles::open(choice?)?)
    }

    /// Opens a model in memory from the text of its `config.json` and the bytes of its safetensors
    /// or PyTorch file, which errors call `name`.
    ///
    /// # Errors
    /// If either violates its format, or they do not belong together.
    pub fn from_bytes(
        config_json: &str,
        weights: impl Into<Cow<'static, [u8]>>,
        name: &str,
    ) -> Result<Self> {
        let configuration =
            Configuration::parse(config_json.as_bytes(), "config.json", "config.json", false)?;
        Self::new(
            configuration,
            WeightFiles::from_bytes(weights.into(), name)?,
        )
    }

    fn new(configuration: Configuration, files: WeightFiles) -> Result<Self> {
        let Configuration {
            config,
            is_googles,
            activation,
            choices: configured,
        } = configuration;
        let mut names = Names::read(&config, &files)?;
        let companions: HashSet<&String> = files
            .tensors()
            .filter_map(|(_, tensor)| tensor.companions.as_ref())
            .flat_map(|it| &it.names)
            .collect();
        names
            .stored
            .retain(|_, stored| !companions.contains(stored));
        let mut choices = files.choices.clone();
        choices.extend(configured);
        choices.extend(names.choices);
        let mut checkpoint = Self {
            config,
            activation,
            files: Arc::new(files),
            names: names.stored,
            has_bert_names: names.are_berts,
            copies: names.copies,
            implied: Arc::default(),
            choices,
            calibration: None,
        };
        checkpoint.refuse_shared_bytes()?;
        if names.are_googles {
            checkpoint.imply_projection();
        }
        if is_googles {
            checkpoint.count_labels();
        }
        Ok(checkpoint)
    }

    fn refuse_shared_bytes(&self) -> Result<()> {
        let sizes = self
            .names
            .values()
            .filter_map(|stored| self.files.get(stored))
            .filter(|it| !it.is_expanded());
        let needed = sizes
            .map(|tensor| tensor.loaded_len().unwrap_or(usize::MAX))
            .fold(0, usize::saturating_add);
        if needed <= self.files.len.saturating_mul(MOST_SHARED) {
            return Ok(());
        }
        Err(Error::Refused {
            file: self.files.name(),
            why: format!(
                "describes {needed} bytes of tensors in {} bytes: expected at most {MOST_SHARED} \
                 times the size of the file, because tensors of a model rarely share bytes",
                self.files.len
            ),
        })
    }

    /// Returns the choices made in reading the checkpoint, with reasons: the file, its format, the
    /// prefix removed from names, the origin of the configuration.
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// Returns the origin of the configuration's activation.
    pub fn activation_source(&self) -> &str {
        &self.activation
    }

    /// Returns the configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// Returns the heads whose tensors are all present with the configured shapes; the encoder is
    /// always one of them. [`Head::NextSentence`] is listed only if the larger
    /// [`Head::PreTraining`], which contains it, is not served.
    ///
    /// Three heads name their tensors `classifier`: `architectures` determines which one it is, and
    /// without it every head that the tensors fit is listed.
    pub fn heads(&self) -> Vec<Head> {
        let is_contained = |head| head == Head::NextSentence && self.serves(Head::PreTraining);
        Head::ALL
            .into_iter()
            .filter(|&head| self.serves(head) && !is_contained(head))
            .collect()
    }

    fn serves(&self, head: Head) -> bool {
        let pooled = head == Head::Encoder || !head.uses_pooler() || self.has_pooler();
        let declared =
            !head.is_classifier() || self.declared_classifier().is_none_or(|it| it == head);
        let fits = |(name, shape): &Parameter| {
            self.stored(name)
                .is_some_and(|(_, tensor)| tensor.shape == *shape)
        };
        pooled && declared && head_parameters(&self.config, head).iter().all(fits)
    }

    /// Returns the head to which `classifier.*` belongs according to `architectures`.
    fn declared_classifier(&self) -> Option<Head> {
        let named = |head: &Head| {
            self.config
                .architectures
                .iter()
                .any(|name| head.is_architecture(name))
        };
        Head::ALL
            .into_iter()
            .filter(|head| head.is_classifier())
            .find(named)
    }

    /// Returns true if the checkpoint has the pooler's weights.
    pub fn has_pooler(&self) -> bool {
        ["weight", "bias"].iter().all(|part| {
            self.names
                .contains_key(&format!("{}.{part}", in_model(POOLER)))
        })
    }

    /// Returns the floating-point types in which the tensors are stored.
    pub fn stored_dtypes(&self) -> Vec<DType> {
        let mut dtypes: Vec<DType> = Vec::new();
        for (_, tensor) in self
            .files
            .tensors()
            .filter(|(_, tensor)| tensor.companions.is_none())
        {
            if let Some(dtype) = tensor.float_type()
                && !dtypes.contains(&dtype)
            {
                dtypes.push(dtype);
            }
        }
        dtypes
    }

    /// Checks that no weight file has been written to since it was opened.
    pub(crate) fn expect_unchanged(&self) -> Result<()> {
        self.files.expect_unchanged()
    }

    /// Returns the memory of the pages of mapped weight files to the system. They are read again
    /// when they are used.
    pub(crate) fn release_pages(&self) {
        self.files.release_pages();
    }

    /// Returns a tensor by its canonical name, in f32 on the CPU; `None` if the checkpoint lacks
    /// it.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        let Some((stored, tensor)) = self.stored(name) else {
            return Ok(None);
        };
        tensor.expect(stored, shape)?;
        Ok(Some(tensor.load()?.to_dtype(DType::F32)?))
    }

    /// Returns a tensor by its canonical name, with its name in the file.
    fn stored(&self, name: &str) -> Option<(&str, &StoredTensor)> {
        if let Some((name, tensor)) = self.implied.get_key_value(name) {
            return Some((name, tensor));
        }
        let stored = self.names.get(name)?;
        self.files
            .get(stored)
            .map(|tensor| (stored.as_str(), tensor))
    }
}

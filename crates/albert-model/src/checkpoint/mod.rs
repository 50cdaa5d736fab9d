//! Trained weights on their way into a model.
//!
//! A [`Checkpoint`] is a configuration and the weight files beside it, with nothing loaded yet. It
//! knows which files of a folder are meant ([`configuration`], [`choice`]), where in them each tensor's
//! bytes are ([`safetensors`], [`pytorch`], [`tensorflow`], [`stored`]) and the one spelling of its name
//! ([`names`]), checks names, shapes and types against what a head needs before anything is
//! allocated, and tells what became of each tensor ([`LoadReport`]). It knows no models: they ask
//! the [`VarBuilder`] it makes. [`save`] writes any of them as Hugging Face has it today. [`Tensors`] is a
//! file beside a model, which is no ALBERT.
//!
//! Files are hostile input. Opening one takes at most 128 bytes of memory for each of its bytes, and
//! loading no more than [`MOST_SHARED`] times its size in its own type.

mod choice;
mod configuration;
mod crc32c;
mod files;
mod names;
mod pytorch;
mod quantized;
mod report;
mod safetensors;
mod save;
mod stored;
mod tensorflow;
mod tensors;

pub use report::LoadReport;
pub use tensors::Tensors;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder, VarMap};

use crate::config::AlbertConfig;
use crate::error::{Error, Result};
use crate::parameters::{Head, Parameter, head_parameters, parameters};
use choice::{Choice, Format};
use configuration::Configuration;
use files::WeightFiles;
use names::Names;
pub(crate) use quantized::{Calibration, ChannelStatistics};
use quantized::{RoundedWeight, RoundedWeights};
use stored::{StoredTensor, WeightFile};

/// How many missing tensors an error names.
const MISSING_NAMED: usize = 4;

/// How often tensors may share the bytes of a file. Models share none once ties are left out; a small
/// file whose thousand tensors are all the same bytes would ask for any amount of memory.
const MOST_SHARED: usize = 4;

/// More than any classifier has.
const MOST_LABELS: usize = 1 << 16;

/// What a model's weights are kept as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WeightType {
    /// [`F32`](Self::F32), or [`Int8`](Self::Int8) on the CPU where the file has weights in 8 bits. On a GPU, which
    /// does not multiply in 8 bits, f32 of what the integers stand for.
    #[default]
    Auto,
    /// 32-bit floats.
    F32,
    /// 16-bit floats. On the CPU a storage type: weights are rounded to it, arithmetic stays in f32.
    F16,
    /// 16-bit floats with the range of f32; on the CPU a storage type too.
    BF16,
    /// 8-bit integers with a scale for each output and 128 inputs, on the CPU: the layers' products and the word
    /// embeddings in 8 bits, everything else in f32.
    Int8,
}

impl WeightType {
    /// The floating-point type of what is not in 8 bits.
    fn float_type(self) -> DType {
        match self {
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
            Self::Auto | Self::F32 | Self::Int8 => DType::F32,
        }
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::Int8 => "int8",
        })
    }
}

/// Where a model's weights go, and as what.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The device that will compute.
    pub device: Device,
    /// What the weights become, whatever the file stores.
    pub dtype: WeightType,
}

impl Default for LoadOptions {
    /// As the file has them, on the CPU.
    fn default() -> Self {
        Self { device: Device::Cpu, dtype: WeightType::Auto }
    }
}

/// A configuration and the weights it describes, not yet loaded.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    config: AlbertConfig,
    activation: String,
    files: Arc<WeightFiles>,
    /// The one spelling of each tensor's name, and the file's.
    names: BTreeMap<String, String>,
    /// The same for tensors that are not read, because they are tied to others.
    copies: BTreeMap<String, String>,
    /// What the file's architecture means and the file need not say.
    implied: Arc<BTreeMap<String, StoredTensor>>,
    choices: Vec<String>,
    /// What products in 8 bits are rounded by.
    calibration: Option<Arc<Calibration>>,
}

impl Checkpoint {
    /// Opens a folder with a model in any of the forms that ALBERTs come in.
    ///
    /// Weights are, the first that is there:
    /// - `model.safetensors`, or the shards that `model.safetensors.index.json` names,
    /// - `pytorch_model.bin`, in its zip form or the one before PyTorch 1.6, or the shards that
    ///   `pytorch_model.bin.index.json` names,
    /// - a TensorFlow checkpoint, `model.ckpt-best.index` with its data files, as Google published them,
    /// - a single `.bin`, `.pt`, `.pth`, `.t7` or `.ckpt` under any other name.
    ///
    /// The configuration is `config.json`, Google's `albert_config.json` (which comes first beside
    /// TensorFlow's weights), or PL-BERT's `config.yml`.
    ///
    /// Weight files are mapped into memory, not read, and nothing in them is executed.
    ///
    /// # Errors
    /// If a file is missing, cut short, a Git LFS pointer, or not what its name says, if it holds another
    /// network than ALBERT, or if an index names a file outside the folder.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let choice = Choice::of(dir);
        let beside_tensorflow = matches!(&choice, Ok(choice) if choice.format == Format::TensorFlow);
        let configuration = Configuration::find(dir, beside_tensorflow)?;
        Self::new(configuration, WeightFiles::open(choice?)?)
    }

    /// A model in memory, or part of the program: the text of its `config.json` and the bytes of
    /// its safetensors or PyTorch file, which errors call `name`.
    ///
    /// # Errors
    /// If either is not what it should be.
    pub fn from_bytes(config_json: &str, weights: impl Into<Cow<'static, [u8]>>, name: &str) -> Result<Self> {
        let configuration =
            Configuration::parse(config_json.as_bytes(), "config.json", "config.json", false)?;
        Self::new(configuration, WeightFiles::from_bytes(weights.into(), name)?)
    }

    fn new(configuration: Configuration, files: WeightFiles) -> Result<Self> {
        let Configuration { config, is_googles, activation, choices: configured } = configuration;
        let mut names = Names::of(&config, &files)?;
        let companions: HashSet<&String> = files
            .tensors()
            .filter_map(|(_, tensor)| tensor.companions.as_ref())
            .flat_map(|it| &it.names)
            .collect();
        names.stored.retain(|_, stored| !companions.contains(stored));
        let mut choices = files.choices.clone();
        choices.extend(configured);
        choices.extend(names.choices);
        let mut checkpoint = Self {
            config,
            activation,
            files: Arc::new(files),
            names: names.stored,
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
        let sizes =
            self.names.values().filter_map(|stored| self.files.get(stored)).filter(|it| !it.is_expanded());
        let needed =
            sizes.map(|tensor| tensor.loaded_len().unwrap_or(usize::MAX)).fold(0, usize::saturating_add);
        if needed <= self.files.len.saturating_mul(MOST_SHARED) {
            return Ok(());
        }
        Err(Error::Refused {
            file: self.files.name(),
            why: format!(
                "holds tensors of {needed} bytes in {}: expected at most {MOST_SHARED} times as many, as models \
                 seldom share",
                self.files.len
            ),
        })
    }

    /// Google's network has no projection where E = H; Hugging Face's always has one, which then
    /// changes nothing.
    ///
    /// Source: google-research/albert, `modeling.py`, `transformer_model`.
    fn imply_projection(&mut self) {
        let (h, projection) = (self.config.hidden_size, "albert.encoder.embedding_hidden_mapping_in");
        let (weight, bias) = (format!("{projection}.weight"), format!("{projection}.bias"));
        let absent = !self.names.contains_key(&weight) && !self.names.contains_key(&bias);
        // A matrix of the same size is in the file: a configuration alone cannot ask for a large one.
        let query = "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.query.weight";
        let is_possible = self.stored(query).is_some_and(|(_, tensor)| tensor.shape == [h, h]);
        if absent && self.config.embedding_size == h && is_possible {
            let file = self.files.name();
            let implied = Arc::make_mut(&mut self.implied);
            implied.insert(bias, StoredTensor::identity(&file, vec![h]));
            implied.insert(weight, StoredTensor::identity(&file, vec![h, h]));
            let choice = format!("identity for `{projection}`: Google's network has none where E = H");
            self.choices.push(choice);
        }
    }

    /// Google's configurations name no labels: a classifier has as many as its weights have rows.
    fn count_labels(&mut self) {
        let Some((stored, tensor)) = self.stored("classifier.weight") else { return };
        let [labels, width] = tensor.shape[..] else { return };
        if width == self.config.hidden_size && labels != self.config.num_labels() && labels <= MOST_LABELS {
            let choice =
                format!("labels: {labels}, the rows of `{stored}`; Google's configuration names none");
            self.config.id2label = (0..labels).map(|label| (label, format!("LABEL_{label}"))).collect();
            self.choices.push(choice);
        }
    }

    /// What was chosen on the way to these tensors, and why: the file, its form, what was taken off the
    /// names, whose configuration it is.
    pub fn choices(&self) -> &[String] {
        &self.choices
    }

    /// Where the activation of the configuration comes from.
    pub fn activation_source(&self) -> &str {
        &self.activation
    }

    /// The configuration.
    pub fn config(&self) -> &AlbertConfig {
        &self.config
    }

    /// The heads that have all their tensors here, in the shapes that the configuration asks for;
    /// the encoder is always among them.
    ///
    /// Three heads call their tensors `classifier`: `architectures` tells which one it is, and
    /// where that says nothing, every one that the tensors fit is listed.
    pub fn heads(&self) -> Vec<Head> {
        Head::ALL.into_iter().filter(|&head| self.serves(head)).collect()
    }

    fn serves(&self, head: Head) -> bool {
        let pooled = head == Head::Encoder || !head.uses_pooler() || self.has_pooler();
        let declared = !head.is_classifier() || self.declared_classifier().is_none_or(|it| it == head);
        let fits =
            |(name, shape): &Parameter| self.stored(name).is_some_and(|(_, tensor)| tensor.shape == *shape);
        pooled && declared && head_parameters(&self.config, head).iter().all(fits)
    }

    /// The head that `architectures` says `classifier.*` belongs to.
    fn declared_classifier(&self) -> Option<Head> {
        let named = |head: &Head| self.config.architectures.iter().any(|name| name == head.architecture());
        Head::ALL.into_iter().filter(|head| head.is_classifier()).find(named)
    }

    /// Whether the pooler's weights are here.
    pub fn has_pooler(&self) -> bool {
        self.names.contains_key("albert.pooler.weight") && self.names.contains_key("albert.pooler.bias")
    }

    /// The floating-point types that the tensors are stored in.
    pub fn stored_dtypes(&self) -> Vec<DType> {
        let mut dtypes: Vec<DType> = Vec::new();
        for (_, tensor) in self.files.tensors().filter(|(_, tensor)| tensor.companions.is_none()) {
            if let Some(dtype) = tensor.float_type()
                && !dtypes.contains(&dtype)
            {
                dtypes.push(dtype);
            }
        }
        dtypes
    }

    /// What each tensor of the file is for, over all the heads it serves; `missing` are those that
    /// the first of `architectures` would need.
    ///
    /// # Errors
    /// If the encoder is incomplete, or a tensor that is needed has a wrong shape or type.
    pub fn report(&self) -> Result<LoadReport> {
        let mut report = self.check(Head::Encoder)?;
        for head in self.heads() {
            report.add(self.check(head)?);
        }
        let declared =
            |head: &Head| self.config.architectures.first().is_some_and(|name| name == head.architecture());
        if let Some(head) = Head::ALL.into_iter().find(declared) {
            let needed = head_parameters(&self.config, head).into_iter().map(|(name, _)| name);
            report.missing.extend(needed.filter(|name| self.stored(name).is_none()));
            if !head.uses_pooler() {
                report.missing.retain(|name| !name.starts_with("albert.pooler."));
            }
        }
        Ok(report)
    }

    /// Checks every tensor that a head needs, by name, shape and type, without loading any, and
    /// tells what loading it would do.
    ///
    /// # Errors
    /// If one is missing or is not what the configuration says.
    pub fn check(&self, head: Head) -> Result<LoadReport> {
        if head.is_classifier()
            && let Some(found) = self.declared_classifier()
            && found != head
        {
            return Err(Error::OtherClassifier { file: self.files.name(), head, found });
        }
        let mut used = Vec::new();
        let mut missing = Vec::new();
        for (name, shape) in parameters(&self.config, head) {
            match self.stored(&name) {
                Some((stored, tensor)) => {
                    tensor.expect(stored, &shape)?;
                    if !self.implied.contains_key(&name) {
                        used.push(stored.to_string());
                        used.extend(tensor.companions.iter().flat_map(|them| them.names.clone()));
                    }
                }
                None => missing.push(name),
            }
            if missing.len() == MISSING_NAMED {
                break;
            }
        }
        let (optional, required): (Vec<_>, Vec<_>) =
            missing.into_iter().partition(|name| head == Head::Encoder && name.starts_with("albert.pooler."));
        if let Some(name) = required.first() {
            let of_head = !name.starts_with("albert.") || name.starts_with("albert.pooler.");
            return Err(match of_head {
                true => Error::MissingHead {
                    file: self.files.name(),
                    head,
                    missing: required,
                    served: self.heads(),
                },
                false => Error::MissingTensors { file: self.files.name(), names: required },
            });
        }
        let report = LoadReport::new(self, head, used, optional)?;
        self.refuse_more_layers(&report)?;
        Ok(report)
    }

    /// A configuration that leaves out `num_hidden_groups` or `inner_group_num` means 1, and would
    /// quietly make another model of the file's layers.
    fn refuse_more_layers(&self, report: &LoadReport) -> Result<()> {
        let is_layer = |name: &&String| name.contains("encoder.albert_layer_groups.");
        let Some(tensor) = report.unused.iter().find(is_layer) else { return Ok(()) };
        Err(Error::UnexpectedTensor {
            tensor: tensor.clone(),
            file: self.files.name(),
            groups: self.config.num_hidden_groups,
            inner: self.config.inner_group_num,
        })
    }

    /// Every tensor as a trainable variable under its one name: the start of fine-tuning.
    ///
    /// A model made with [`VarBuilder::from_varmap`] then takes what is here, and initialises what
    /// is not, such as the classifier of a new task.
    ///
    /// # Errors
    /// If a file is broken, or memory runs out.
    pub fn var_map(&self, options: &LoadOptions) -> Result<VarMap> {
        let vb = self.var_builder(options)?;
        let variables = VarMap::new();
        for name in self.names.keys().chain(self.implied.keys()) {
            let is_weight = |tensor: &StoredTensor| tensor.float_type().is_some() && !tensor.is_expanded();
            if self.stored(name).is_some_and(|(_, tensor)| is_weight(tensor)) {
                let variable = Var::from_tensor(&vb.get_unchecked(name)?)?;
                variables.data().lock().expect("no other thread has the map").insert(name.clone(), variable);
            }
        }
        Ok(variables)
    }

    /// A [`VarBuilder`] at the root of the one spelling of names, `albert.…`, `predictions.…` and
    /// so on, whatever the file's own is.
    ///
    /// For weights in 8 bits it has, beside `….weight` in f32, the same name as U8, 128 above the integers, and
    /// `….weight_scale`, `….weight_rotation`, `….weight_outlier_channels` and `….weight_outliers`: the modules of this crate take
    /// them where they find them.
    ///
    /// # Errors
    /// If 8 bits are asked for on another device than the CPU, or of a checkpoint that neither has them nor went
    /// through [`quantize`](Self::quantize).
    pub fn var_builder(&self, options: &LoadOptions) -> Result<VarBuilder<'static>> {
        let is_cpu = matches!(options.device, Device::Cpu);
        let is_quantized = self.weight_type(options.dtype, &options.device) == WeightType::Int8;
        if is_quantized && !is_cpu {
            return Err(Error::QuantizedDevice);
        }
        if is_quantized && !self.is_quantized() && self.calibration.is_none() {
            return Err(Error::NotCalibrated { file: self.files.name() });
        }
        let stored_as = options.dtype.float_type();
        let dtype = if is_cpu { DType::F32 } else { stored_as };
        let source =
            Source { checkpoint: self.clone(), stored_as, is_quantized, rounded: RoundedWeights::default() };
        Ok(VarBuilder::from_backend(Box::new(source), dtype, options.device.clone()))
    }

    /// A tensor by its one name, with the file's.
    fn stored(&self, name: &str) -> Option<(&str, &StoredTensor)> {
        if let Some((name, tensor)) = self.implied.get_key_value(name) {
            return Some((name, tensor));
        }
        let stored = self.names.get(name)?;
        self.files.get(stored).map(|tensor| (stored.as_str(), tensor))
    }
}

/// Gives a [`VarBuilder`] the checkpoint's tensors.
struct Source {
    checkpoint: Checkpoint,
    /// What values are rounded to before they become the builder's type.
    stored_as: DType,
    /// Whether there are weights in 8 bits.
    is_quantized: bool,
    rounded: RoundedWeights,
}

impl Source {
    fn quantized(&self, weight: &str) -> candle_core::Result<Arc<RoundedWeight>> {
        self.rounded.get(&self.checkpoint, weight).map_err(candle_core::Error::wrap)
    }

    /// A part of a weight in 8 bits, where the name and the type mean one.
    fn part(&self, name: &str, dtype: DType) -> candle_core::Result<Option<Tensor>> {
        let (weight, end) = match quantized::split(name) {
            Some(parts) => parts,
            None if dtype == DType::U8 && quantized::is_quantized(name) => (name, ""),
            None => return Ok(None),
        };
        if !self.is_quantized {
            return Ok(None);
        }
        self.quantized(weight)?.part(end)
    }
}

impl SimpleBackend for Source {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        if let Some((stored, tensor)) = self.checkpoint.stored(name) {
            tensor.expect(stored, shape.dims()).map_err(candle_core::Error::wrap)?;
        }
        self.get_unchecked(name, dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        if let Some(part) = self.part(name, dtype)? {
            return part.to_device(device);
        }
        if self.is_quantized && quantized::is_quantized(name) {
            // What the integers stand for: the bias is corrected for them.
            return self.quantized(name)?.restore()?.to_dtype(dtype)?.to_device(device);
        }
        let Some((_, tensor)) = self.checkpoint.stored(name) else {
            return Err(candle_core::Error::CannotFindTensor { path: name.into() }.bt());
        };
        let mut tensor = tensor.load()?.to_dtype(self.stored_as)?.to_dtype(dtype)?;
        if self.is_quantized
            && let Some(weight) = quantized::weight_of_bias(name)
        {
            tensor = self.quantized(&weight)?.correct(tensor)?;
        }
        tensor.to_device(device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match quantized::split(name) {
            Some((weight, _)) => self.is_quantized && self.checkpoint.stored(weight).is_some(),
            None => self.checkpoint.stored(name).is_some(),
        }
    }
}

/// Reads the index of a TensorFlow checkpoint, and nothing else: the entry for fuzzing.
#[doc(hidden)]
pub fn read_tensorflow_index(bytes: Vec<u8>) -> Result<()> {
    tensorflow::Index::read(&WeightFile::owned(Cow::Owned(bytes), "fuzzed.index")).map(drop)
}

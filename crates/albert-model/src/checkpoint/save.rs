//! A checkpoint written as Hugging Face has it today: `config.json` and `model.safetensors`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, View};
use serde_json::json;

use crate::checkpoint::bert;
use crate::checkpoint::choice::{self, Choice};
use crate::checkpoint::quantized::{
    OUTLIER_CHANNELS, OUTLIERS, ROTATION, RoundedWeight, RoundedWeights, SCALE, is_quantized,
    weight_of_bias,
};
use crate::checkpoint::{Checkpoint, LoadReport, WeightFormat};
use crate::config::{AlbertConfig, ModelType};
use crate::error::{Error, Result};
use crate::parameters::{DECODER_BIAS, Head, MASKED_LM_BIAS};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The name of 8-bit weights with outliers in `quantization_config`.
const QUANT_METHOD: &str = "albert-int8";

impl Checkpoint {
    /// Writes `model.safetensors` and `config.json` into a folder, which is made where it is not
    /// there: the tensors that some head reads, in the one spelling of names and without the
    /// decoder's copy of the word embeddings, rounded to `dtype`.
    ///
    /// With [`Int8`](WeightFormat::Int8) the large matrices are stored in 8 bits, a quarter of f32's
    /// size, and load as they are; `config.json` says so in `quantization_config`, so that
    /// transformers refuses the folder rather than take the integers for weights.
    /// [`Auto`](WeightFormat::Auto) keeps 8 bits and makes f32 of the rest.
    ///
    /// Both files are written under other names and renamed once they are whole. The result
    /// reports the use of each tensor of the source; its `unused` are left out.
    ///
    /// # Errors
    /// If the folder has a model already or cannot be written to, if `dtype` is too small for a
    /// number, if 8 bits are asked for without [`quantize`](Self::quantize), or if the checkpoint
    /// is not sound.
    pub fn save(&self, dir: impl AsRef<Path>, weights: WeightFormat) -> Result<LoadReport> {
        let dir = dir.as_ref();
        let weights = self.weight_format(weights, &Device::Cpu);
        let in_bytes = weights == WeightFormat::Int8;
        Self::check_vacant(dir)?;
        let report = self.report()?;
        let (rounded, mut tensors) = (RoundedWeights::default(), BTreeMap::new());
        for name in self.read_by_heads(&report) {
            if in_bytes && is_quantized(&name) {
                let quantized = rounded.get(self, &name)?;
                for end in [SCALE, ROTATION, OUTLIER_CHANNELS, OUTLIERS] {
                    let part = quantized.part(end)?.filter(|part| part.elem_count() > 0);
                    tensors.extend(part.map(|part| (format!("{name}{end}"), Saved::Tensor(part))));
                }
                tensors.insert(name, Saved::Bytes(quantized));
                continue;
            }
            let mut tensor = self.rounded(&name, weights.float_type())?;
            if let Some(weight) = weight_of_bias(&name).filter(|_| in_bytes) {
                tensor = rounded.get(self, &weight)?.correct(tensor)?;
            }
            if name == MASKED_LM_BIAS {
                // The one copy that is kept: transformers 4 takes zeros for the bias where this
                // name is absent.
                tensors.insert(DECODER_BIAS.into(), Saved::Tensor(tensor.clone()));
            }
            tensors.insert(name, Saved::Tensor(tensor));
        }
        if self.config.model_type == ModelType::Bert {
            tensors = tensors
                .into_iter()
                .map(|(name, tensor)| (bert::to_bert(&name), tensor))
                .collect();
        }
        std::fs::create_dir_all(dir).map_err(|source| Error::Write {
            path: dir.into(),
            source,
        })?;

        // "pt": transformers refuses a file that does not say so.
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        write(&dir.join(WEIGHTS), |path| {
            safetensors::serialize_to_file(&tensors, Some(metadata), path).map_err(io::Error::other)
        })?;
        let config = self.described_as(weights.float_type(), in_bytes).to_json();
        write(&dir.join(CONFIG), |path| std::fs::write(path, config))?;
        Ok(report)
    }

    /// Checks that [`save`](Self::save) would put no model over another.
    ///
    /// # Errors
    /// If the folder has weights or a configuration already, or cannot be read.
    pub fn check_vacant(dir: impl AsRef<Path>) -> Result<()> {
        refuse_a_model(dir.as_ref())
    }

    /// The names of the tensors that go into some model.
    fn read_by_heads(&self, report: &LoadReport) -> BTreeSet<String> {
        let used: BTreeSet<&String> = report.used.iter().collect();
        let stored = self
            .names
            .iter()
            .filter(|(_, stored)| used.contains(stored))
            .map(|(name, _)| name);
        stored.chain(self.implied.keys()).cloned().collect()
    }

    fn rounded(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let (_, stored) = self.stored(name).expect("a tensor that some head reads");
        let tensor = stored.load()?.to_dtype(DType::F32)?;
        let rounded = tensor.to_dtype(dtype)?;
        let largest = |tensor: &Tensor| {
            tensor
                .to_dtype(DType::F32)?
                .abs()?
                .max_all()?
                .to_scalar::<f32>()
        };
        if dtype == DType::F16 && largest(&rounded)?.is_infinite() && largest(&tensor)?.is_finite()
        {
            return Err(Error::Overflow {
                tensor: name.into(),
                dtype,
            });
        }
        Ok(rounded)
    }

    /// Returns the configuration with the fields that describe the files written.
    fn described_as(&self, dtype: DType, in_bytes: bool) -> AlbertConfig {
        let type_name = match dtype {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        let mut config = self.config.clone();
        config.other.shift_remove("quantization_config");
        if in_bytes {
            config.other.insert(
                "quantization_config".into(),
                json!({ "quant_method": QUANT_METHOD, "bits": 8 }),
            );
        }
        if config.architectures.is_empty() {
            let heads = self.heads();
            let fullest = heads.iter().copied().find(|head| *head != Head::Encoder);
            let albert = fullest.unwrap_or(Head::Encoder).architecture();
            let head = albert.trim_start_matches(ModelType::Albert.class_prefix());
            config.architectures = vec![format!("{}{head}", config.model_type.class_prefix())];
        }
        config.other.shift_remove("dtype");
        config.other.insert("torch_dtype".into(), type_name.into());
        config
    }
}

/// A tensor on its way into a file.
enum Saved {
    Tensor(Tensor),
    Bytes(Arc<RoundedWeight>),
}

impl View for &Saved {
    fn dtype(&self) -> Dtype {
        match self {
            Saved::Tensor(tensor) => View::dtype(&tensor),
            Saved::Bytes(_) => Dtype::I8,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Saved::Tensor(tensor) => tensor.dims(),
            Saved::Bytes(weight) => weight.shape(),
        }
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match self {
            Saved::Tensor(tensor) => Cow::Owned(View::data(&tensor).into_owned()),
            Saved::Bytes(weight) => weight.rounded().iter().map(|r| *r as u8).collect(),
        }
    }

    fn data_len(&self) -> usize {
        match self {
            Saved::Tensor(tensor) => View::data_len(&tensor),
            Saved::Bytes(weight) => weight.rounded().len(),
        }
    }
}

/// Fails if the folder has a model: none is overwritten, or left next to the new one to be taken
/// for it.
fn refuse_a_model(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let found = match Choice::find(dir) {
        Ok(choice) => choice
            .path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        Err(Error::SeveralWeights { found, .. }) => found.into_iter().next(),
        Err(Error::NoWeights {
            found: Some(name), ..
        }) => Some(name.into()),
        Err(Error::NoWeights { .. }) => choice::names(dir)?.into_iter().find(|name| name == CONFIG),
        Err(error) => return Err(error),
    };
    match found {
        Some(found) => Err(Error::HoldsModel {
            path: dir.into(),
            found,
        }),
        None => Ok(()),
    }
}

/// Writes a file under a temporary name and renames it once it is whole.
fn write(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let failed = |source| Error::Write {
        path: path.into(),
        source,
    };
    // Else it is somebody's who writes the same model at this moment, and not to be removed.
    let new = File::create_new(&partial).map_err(failed)?;
    let written = (|| {
        // safetensors makes files that only their owner can read: a model is as open as any file
        // made here.
        let permissions = new.metadata()?.permissions();
        write(&partial)?;
        std::fs::set_permissions(&partial, permissions)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, path)
    })();
    written.map_err(|source| {
        // The first error is the one to report.
        drop(std::fs::remove_file(&partial));
        failed(source)
    })
}

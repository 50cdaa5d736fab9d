//! Writes a checkpoint in Hugging Face's current layout: `config.json` and `model.safetensors`.

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
use crate::checkpoint::companions::{OUTLIER_CHANNELS, OUTLIERS, ROTATION, SCALE};
use crate::checkpoint::quantized::{RoundedWeights, is_quantized, weight_of_bias};
use crate::checkpoint::rounded::RoundedWeight;
use crate::checkpoint::{Checkpoint, LoadReport, WeightFormat};
use crate::config::{AlbertConfig, ModelType};
use crate::error::{Error, Result};
use crate::parameters::{DECODER_BIAS, Head, MASKED_LM_BIAS};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The name of this int8 format in `quantization_config`.
const QUANT_METHOD: &str = "albert-int8";

impl Checkpoint {
    /// Writes `model.safetensors` and `config.json` to a folder, which is created if necessary: the
    /// tensors that any head reads, under their canonical names and without the decoder's copy of
    /// the word embeddings, rounded to `weights`.
    ///
    /// With [`Int8`](WeightFormat::Int8) the large matrices are stored in 8 bits, a quarter of the
    /// size in f32, and load without conversion. `quantization_config` in `config.json` declares
    /// them, so that transformers refuses the folder instead of misreading the integers as weights.
    /// [`Auto`](WeightFormat::Auto) keeps int8 weights and converts the rest to f32.
    ///
    /// Both files are written under temporary names and renamed once they are complete. The result
    /// reports the use of each tensor of the source; `unused` tensors are not written.
    ///
    /// # Errors
    /// If the folder already has a model or cannot be written to, if a value overflows the format,
    /// if int8 is requested without [`quantize`](Self::quantize), or if the checkpoint is not
    /// valid.
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
                // The only copy that is written: without this name transformers 4 sets the bias to
                // zeros.
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

        // transformers refuses a file without the format "pt".
        let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
        write(&dir.join(WEIGHTS), |path| {
            safetensors::serialize_to_file(&tensors, Some(metadata), path).map_err(io::Error::other)
        })?;
        let config = self.described_as(weights.float_type(), in_bytes).to_json();
        write(&dir.join(CONFIG), |path| std::fs::write(path, config))?;
        Ok(report)
    }

    /// Checks that [`save`](Self::save) would not overwrite a model.
    ///
    /// # Errors
    /// If the folder has weights or a configuration already, or cannot be read.
    pub fn check_vacant(dir: impl AsRef<Path>) -> Result<()> {
        refuse_a_model(dir.as_ref())
    }

    /// Returns the names of the tensors that any head reads.
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
        let (_, stored) = self.stored(name).expect("a tensor that a head reads");
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
            let head = fullest.unwrap_or(Head::Encoder);
            config.architectures = vec![head.class(config.model_type)];
        }
        config.other.shift_remove("dtype");
        config.other.insert("torch_dtype".into(), type_name.into());
        config
    }
}

/// A tensor to write.
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

/// Fails if the folder has a model, which must neither be overwritten nor be mistaken for the new
/// one.
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

/// Writes a file under a temporary name and renames it once it is complete.
fn write(path: &Path, write: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}.partial", std::process::id()));
    let partial = PathBuf::from(partial);
    let failed = |source| Error::Write {
        path: path.into(),
        source,
    };
    // An existing file belongs to a process that writes the same model, and must not be removed.
    let new = File::create_new(&partial).map_err(failed)?;
    let written = (|| {
        // safetensors creates files that only their owner can read; give a model the usual
        // permissions.
        let permissions = new.metadata()?.permissions();
        write(&partial)?;
        std::fs::set_permissions(&partial, permissions)?;
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, path)
    })();
    written.map_err(|source| {
        // Report the first error, not one of the removal.
        drop(std::fs::remove_file(&partial));
        failed(source)
    })
}

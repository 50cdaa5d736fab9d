//! Converts a model in any layout to a folder in Hugging Face's current layout.

use std::borrow::Cow;
use std::path::Path;

use albert_model::{Checkpoint, LoadReport, ModelType, WeightFormat};

use crate::files::{COMPANIONS, MODULES, SPIECE_MODELS, VOCABULARIES, stays_inside};
use crate::json::read_value;
use crate::{Error, ModelFiles, Result};

/// A file of transformers next to the configuration, which is copied but not read.
const GENERATION: &str = "generation_config.json";

/// The files that a module of sentence-transformers keeps in its folder.
const MODULE_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];

/// Writes the model into a folder that [`ModelFiles::from_dir`] reads: weights in `dtype` as
/// `model.safetensors`, `config.json`, and the files for tokenizer and pooling: the tokenizer of
/// Google's archives under the names of transformers, all others unchanged.
///
/// The report lists the use of each tensor; unused tensors are not written.
///
/// ```
/// use albert_tasks::tools::convert;
/// use albert_tasks::{ModelFiles, WeightFormat};
/// # fn main() -> anyhow::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let dir = tempfile::tempdir()?;
/// convert(&ModelFiles::builtin()?, dir.path(), WeightFormat::Int8)?;
/// let checkpoint = ModelFiles::from_dir(dir.path())?.checkpoint()?;
/// assert!(checkpoint.is_quantized());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If the folder already holds a model, the model's files are invalid, or a file cannot be written.
pub fn convert(
    files: &ModelFiles,
    dir: impl AsRef<Path>,
    dtype: WeightFormat,
) -> Result<LoadReport> {
    convert_as(files, dir, dtype, None)
}

/// Like [`convert`], but converts the network to an ALBERT or a BERT; `None` keeps the network.
///
/// A BERT becomes an ALBERT with one group per layer and the identity as projection, which gives
/// equal outputs in transformers' `AlbertModel`. Such an ALBERT can become a BERT again.
///
/// # Errors
/// See [`convert`]; also if the model is an ALBERT that is not equivalent to a BERT.
pub fn convert_as(
    files: &ModelFiles,
    dir: impl AsRef<Path>,
    dtype: WeightFormat,
    model_type: Option<ModelType>,
) -> Result<LoadReport> {
    let dir = dir.as_ref();
    // All errors of the source are found before the first file is written.
    let companions = companions(files)?;
    let mut checkpoint = files.checkpoint()?;
    checkpoint.report()?;
    if let Some(model_type) = model_type {
        checkpoint = checkpoint.with_model_type(model_type)?;
    }
    Checkpoint::check_vacant(dir)?;
    if dtype == WeightFormat::Int8 {
        checkpoint = checkpoint.quantize()?;
    }
    // Before the weights: an interrupted run leaves no model, and the next run overwrites it.
    for (name, bytes) in companions {
        let path = dir.join(&name);
        let parent = path.parent().unwrap_or(dir);
        let written = std::fs::create_dir_all(parent).and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|source| Error::Write {
            path: path.clone(),
            source,
        })?;
    }
    Ok(checkpoint.save(dir, dtype)?)
}

fn companions(files: &ModelFiles) -> Result<Vec<(String, Cow<'static, [u8]>)>> {
    let mut found = Vec::new();
    let is_vocabulary = |name: &str| [SPIECE_MODELS[0], VOCABULARIES[0]].contains(&name);
    let mut names: Vec<String> = COMPANIONS
        .into_iter()
        .filter(|name| *name != MODULES && !is_vocabulary(name))
        .chain([GENERATION])
        .map(String::from)
        .collect();
    for spellings in [&SPIECE_MODELS[..], &VOCABULARIES] {
        if let Some((_, bytes)) = files.read_first(spellings)? {
            found.push((spellings[0].to_string(), bytes));
        }
    }
    if let Some(bytes) = files.read(MODULES)? {
        let mut modules = read_value(files, MODULES)?.unwrap_or_default();
        let list = modules
            .as_array_mut()
            .map_or(&mut [][..], Vec::as_mut_slice);
        let (network, others) = match list {
            [first, others @ ..] if files.has_network_below() => (Some(first), others),
            list => (None, list),
        };
        for path in others
            .iter()
            .filter_map(|module| module.get("path")?.as_str())
        {
            if !stays_inside(path) {
                return Err(Error::OutsideFolder {
                    file: MODULES.into(),
                    path: path.into(),
                });
            }
            if !path.is_empty() {
                names.extend(MODULE_FILES.map(|file| format!("{path}/{file}")));
            }
        }
        // The network goes to the top of the new folder.
        let bytes = match network {
            Some(network) => {
                network["path"] = "".into();
                Cow::Owned(modules.to_string().into_bytes())
            }
            None => bytes,
        };
        found.push((MODULES.to_string(), bytes));
    }
    for name in names {
        if let Some(bytes) = files.read(&name)? {
            found.push((name, bytes));
        }
    }
    Ok(found)
}

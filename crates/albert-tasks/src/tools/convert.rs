//! Converts a model in any layout to a folder as Hugging Face lays it out today.

use std::path::Path;

use albert_model::{Checkpoint, LoadReport, WeightFormat};
use serde_json::Value;

use crate::files::{COMPANIONS, stays_inside};
use crate::json::read_value;
use crate::{Error, ModelFiles, Result};

/// Companions that nothing here reads: the tokenizers of Google's archives under Google's names,
/// and what transformers keeps next to the configuration.
const UNREAD: [&str; 3] = [
    "30k-clean.model",
    "vocab_chinese.txt",
    "generation_config.json",
];

/// The files of a sentence-transformers module in its folder.
const MODULE_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];

/// Writes the model to a folder that [`ModelFiles::from_dir`] reads: weights in `dtype` as
/// `model.safetensors`, `config.json`, and the files for tokenizer and pooling unchanged.
///
/// The report lists the use of each tensor; unused tensors are left out.
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
/// If the folder holds a model already, the model's files are not sound, or a file cannot be
/// written.
pub fn convert(
    files: &ModelFiles,
    dir: impl AsRef<Path>,
    dtype: WeightFormat,
) -> Result<LoadReport> {
    let dir = dir.as_ref();
    // Everything wrong with the source is found before the first file is written.
    let companions = companions(files)?;
    let mut checkpoint = files.checkpoint()?;
    checkpoint.report()?;
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

fn companions(files: &ModelFiles) -> Result<Vec<(String, std::borrow::Cow<'static, [u8]>)>> {
    let mut names: Vec<String> = COMPANIONS
        .into_iter()
        .chain(UNREAD)
        .map(String::from)
        .collect();
    if let Some(Value::Array(modules)) = read_value(files, "modules.json")? {
        let paths = modules
            .iter()
            .filter_map(|module| module.get("path")?.as_str());
        for path in paths.filter(|path| !path.is_empty()) {
            if !stays_inside(path) {
                return Err(Error::OutsideFolder {
                    file: "modules.json".into(),
                    path: path.into(),
                });
            }
            names.extend(MODULE_FILES.map(|file| format!("{path}/{file}")));
        }
    }
    let mut found = Vec::new();
    for name in names {
        if let Some(bytes) = files.read(&name)? {
            found.push((name, bytes));
        }
    }
    Ok(found)
}

//! The tensors of all weight files of a model.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use albert_formats::{json, small_file};
use serde_json::Value;

use crate::checkpoint::choice::{Choice, Format};
use crate::checkpoint::companions::Companions;
use crate::checkpoint::stored::StoredTensor;
use crate::checkpoint::weight_file::WeightFile;
use crate::checkpoint::{adapters, pytorch, safetensors, tensorflow};
use crate::error::{Error, Result, shown};

/// The first bytes of an HDF5 file.
const HDF5_MAGIC: &[u8] = b"\x89HDF\r\n\x1a\n";

/// The tensors of one file or of all shards, by name.
#[derive(Debug)]
pub(super) struct WeightFiles {
    name: String,
    tensors: BTreeMap<String, StoredTensor>,
    /// The chosen file, its format and the reason.
    pub(super) choices: Vec<String>,
    /// The sum of the sizes of the files.
    pub(super) len: usize,
}

impl WeightFiles {
    /// Opens the chosen file, or the shards that it names.
    pub(super) fn open(choice: Choice) -> Result<Self> {
        let Choice { path, format, why } = choice;
        let mut files = Self {
            name: path.display().to_string(),
            tensors: BTreeMap::new(),
            choices: vec![format!("weights: {why}")],
            len: 0,
        };
        match format {
            Format::Safetensors | Format::PyTorch => {
                let file = Arc::new(WeightFile::map(&path)?);
                files.tensors = files.read(&file, format)?.into_iter().collect();
            }
            Format::SafetensorsShards | Format::PyTorchShards => {
                files.read_shards(&path, format)?
            }
            Format::TensorFlow => {
                let contents = tensorflow::read(&path)?;
                files
                    .choices
                    .push("format: TensorFlow bundle, kernels transposed".into());
                files.len = contents.data_len;
                files.tensors = contents.tensors.into_iter().collect();
                if !contents.skipped.is_empty() {
                    let skipped: Vec<_> = contents
                        .skipped
                        .iter()
                        .map(|name| format!("`{}`", shown(name)))
                        .collect();
                    files.choices.push(format!(
                        "not read, because weights never have their types: {}",
                        skipped.join(", ")
                    ));
                }
            }
        }
        files.settle(path.parent())?;
        Ok(files)
    }

    /// Opens a file in memory: safetensors or PyTorch, according to its first bytes.
    pub(super) fn from_bytes(bytes: Cow<'static, [u8]>, name: &str) -> Result<Self> {
        Self::single(
            WeightFile::owned(bytes, name),
            format!("weights: `{name}`, in memory"),
        )
    }

    /// Opens one file, safetensors or PyTorch according to its first bytes; errors call it `name`.
    pub(super) fn from_file(path: &Path, name: &str) -> Result<Self> {
        let file = WeightFile {
            path: name.into(),
            ..WeightFile::map(path)?
        };
        Self::single(file, format!("weights: `{name}`"))
    }

    fn single(file: WeightFile, choice: String) -> Result<Self> {
        let file = Arc::new(file);
        let mut files = Self {
            name: file.path.display().to_string(),
            tensors: BTreeMap::new(),
            choices: vec![choice],
            len: 0,
        };
        files.tensors = files
            .read(&file, Format::Safetensors)?
            .into_iter()
            .collect();
        files.settle(None)?;
        Ok(files)
    }

    /// Merges adapters, and attaches the companion tensors of int8 weights.
    fn settle(&mut self, dir: Option<&Path>) -> Result<()> {
        let settings = || dir.map_or(Ok(None), adapters::Settings::read);
        let choice = adapters::merge(&mut self.tensors, settings, &self.name)?;
        self.choices.extend(choice);
        Companions::attach(&mut self.tensors);
        Ok(())
    }

    /// Reads the tensors of one file and reports its format, which is detected from the content. If
    /// the content is neither format, the error assumes the one that the file's name suggests.
    fn read(
        &mut self,
        file: &Arc<WeightFile>,
        named: Format,
    ) -> Result<Vec<(String, StoredTensor)>> {
        self.len = self.len.saturating_add(file.bytes.len());
        if file.bytes.starts_with(HDF5_MAGIC) {
            return Err(file.refused("is an HDF5 file, as written by Keras, an unsupported format"));
        }
        let is_named_safetensors = matches!(named, Format::Safetensors | Format::SafetensorsShards);
        let (is_pytorch, is_safetensors) = (
            pytorch::is_pytorch(&file.bytes),
            safetensors::is_safetensors(&file.bytes),
        );
        if is_safetensors || is_named_safetensors && !is_pytorch {
            if !is_named_safetensors {
                self.report("format: safetensors, despite the PyTorch file name".into());
            }
            return safetensors::read(file);
        }
        let contents = pytorch::read(file)?;
        let name = if is_named_safetensors && file.path.extension().is_some() {
            ", despite the safetensors file name"
        } else {
            ""
        };
        self.report(format!("format: PyTorch {}{name}", contents.form));
        for choice in contents.choices {
            self.report(choice);
        }
        Ok(contents.tensors)
    }

    fn report(&mut self, choice: String) {
        if !self.choices.contains(&choice) {
            self.choices.push(choice);
        }
    }

    fn read_shards(&mut self, index: &Path, format: Format) -> Result<()> {
        let shards = shards(index)?;
        self.choices
            .push(format!("format: {} shards", shards.len()));
        for (shard, names) in shards {
            let path = index.with_file_name(&shard);
            let file = Arc::new(WeightFile::map(&path)?);
            let mut tensors: BTreeMap<_, _> = self.read(&file, format)?.into_iter().collect();
            for name in names {
                let Some(tensor) = tensors.remove(&name) else {
                    let file = path.display().to_string();
                    return Err(Error::MissingTensors {
                        file,
                        names: vec![name],
                    });
                };
                self.tensors.insert(name, tensor);
            }
            // Tensors that the index omits are included, so that reports list them.
            for (name, tensor) in tensors {
                self.tensors.entry(name).or_insert(tensor);
            }
        }
        Ok(())
    }

    /// Returns the name of the file or of the index of its shards, for errors.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    /// Returns the files of the tensors, each once.
    fn weight_files(&self) -> Vec<&Arc<WeightFile>> {
        let mut files: Vec<_> = self
            .tensors
            .values()
            .map(StoredTensor::weight_file)
            .collect();
        files.sort_by_key(|file| Arc::as_ptr(file));
        files.dedup_by(|a, b| Arc::ptr_eq(a, b));
        files
    }

    /// Checks that no file has been written to since it was opened.
    pub(super) fn expect_unchanged(&self) -> Result<()> {
        let mut files = self.weight_files().into_iter();
        files.try_for_each(|file| file.expect_unchanged())
    }

    /// Returns the memory of the files' pages to the system.
    pub(super) fn release_pages(&self) {
        self.weight_files()
            .iter()
            .for_each(|file| file.release_pages());
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &StoredTensor)> {
        self.tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub(super) fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }
}

/// Reads an index: the shards that it names, with the tensors of each.
fn shards(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let file = index.display().to_string();
    let text = small_file::read(index)?;
    let json = json::parse(&text).map_err(|source| Error::Json {
        file: file.clone(),
        source,
    })?;
    let wrong = |expected: &str, found: String| Error::Field {
        file: file.clone(),
        field: "weight_map".into(),
        expected: expected.into(),
        found,
    };
    let Some(map) = json.get("weight_map").and_then(Value::as_object) else {
        return Err(wrong(
            "an object from tensor names to file names",
            "none".into(),
        ));
    };
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in map {
        let Some(shard) = shard.as_str() else {
            return Err(wrong("a file name for every tensor", shard.to_string()));
        };
        let stays_in_folder = Path::new(shard)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        if !stays_in_folder || shard.is_empty() {
            return Err(wrong(
                "files inside the model's folder",
                format!("{shard:?}"),
            ));
        }
        shards.entry(shard.into()).or_default().push(tensor.clone());
    }
    Ok(shards)
}

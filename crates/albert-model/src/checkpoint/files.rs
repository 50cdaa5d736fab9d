//! The tensors of all the files that a model's weights lie in.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path};
use std::sync::Arc;

use serde_json::Value;

use crate::checkpoint::choice::{Choice, Format};
use crate::checkpoint::quantized::Companions;
use crate::checkpoint::stored::{StoredTensor, WeightFile};
use crate::checkpoint::{pytorch, safetensors, tensorflow};
use crate::error::{Error, Result, refuse_lfs_pointer, shown};

/// The tensors of one file or of all shards, by name.
#[derive(Debug)]
pub(super) struct WeightFiles {
    name: String,
    tensors: BTreeMap<String, StoredTensor>,
    /// Which file, in which form, and why.
    pub(super) choices: Vec<String>,
    /// The sizes of the files together.
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
                    .push("form: TensorFlow's bundle, kernels transposed".into());
                files.len = contents.data_len;
                files.tensors = contents.tensors.into_iter().collect();
                if !contents.skipped.is_empty() {
                    let skipped: Vec<_> = contents
                        .skipped
                        .iter()
                        .map(|name| format!("`{}`", shown(name)))
                        .collect();
                    files.choices.push(format!(
                        "not read, because no numbers: {}",
                        skipped.join(", ")
                    ));
                }
            }
        }
        Companions::attach(&mut files.tensors);
        Ok(files)
    }

    /// A file that is in memory already, safetensors or PyTorch's as its first bytes tell.
    pub(super) fn from_bytes(bytes: Cow<'static, [u8]>, name: &str) -> Result<Self> {
        let format = if pytorch::is_pytorch(&bytes) {
            Format::PyTorch
        } else {
            Format::Safetensors
        };
        let file = Arc::new(WeightFile::owned(bytes, name));
        let choices = vec![format!("weights: `{name}`, in memory")];
        let mut files = Self {
            name: name.into(),
            tensors: BTreeMap::new(),
            choices,
            len: 0,
        };
        files.tensors = files.read(&file, format)?.into_iter().collect();
        Companions::attach(&mut files.tensors);
        Ok(files)
    }

    /// The tensors of one file, with what there is to say about it.
    fn read(
        &mut self,
        file: &Arc<WeightFile>,
        format: Format,
    ) -> Result<Vec<(String, StoredTensor)>> {
        self.len = self.len.saturating_add(file.bytes.len());
        if matches!(format, Format::Safetensors | Format::SafetensorsShards) {
            return safetensors::read(file);
        }
        let contents = pytorch::read(file)?;
        let form = format!("form: PyTorch's {}", contents.form);
        for choice in std::iter::once(form).chain(contents.choices) {
            if !self.choices.contains(&choice) {
                self.choices.push(choice);
            }
        }
        Ok(contents.tensors)
    }

    fn read_shards(&mut self, index: &Path, format: Format) -> Result<()> {
        let shards = shards(index)?;
        self.choices.push(format!("form: {} shards", shards.len()));
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
            // What the index leaves out is in the file all the same: reports tell of it.
            for (name, tensor) in tensors {
                self.tensors.entry(name).or_insert(tensor);
            }
        }
        Ok(())
    }

    /// The file, or the index of its shards, as errors call it.
    pub(super) fn name(&self) -> String {
        self.name.clone()
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

/// The shards that an index names, with the tensors of each.
fn shards(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let file = index.display().to_string();
    let text = std::fs::read(index).map_err(|source| Error::Io {
        path: index.into(),
        source,
    })?;
    refuse_lfs_pointer(index, &text)?;
    let json: Value = serde_json::from_slice(&text).map_err(|source| Error::Json {
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

//! Safetensors files, single or in shards, mapped into memory.
//!
//! Source: safetensors 0.8 (`SafeTensors::read_metadata`, which checks that the header's offsets
//! cover the file exactly); the shard index is transformers' `model.safetensors.index.json`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::{Deref, Range};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::error::{Error, Result, refuse_lfs_pointer};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// Weights as other programs store them, which are not read yet.
const OTHER_FORMATS: [&str; 5] = [
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
    "rust_model.ot",
];

/// The tensors of one file or of all shards, by name.
#[derive(Debug)]
pub(super) struct WeightFiles {
    name: String,
    tensors: BTreeMap<String, StoredTensor>,
}

/// Where the bytes of a tensor are.
#[derive(Debug)]
pub(super) struct StoredTensor {
    file: Arc<WeightFile>,
    dtype: Dtype,
    pub(super) shape: Vec<usize>,
    range: Range<usize>,
}

#[derive(Debug)]
struct WeightFile {
    path: PathBuf,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Owned(Cow<'static, [u8]>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl WeightFiles {
    /// Opens the single file or, where there is none, the shards of a folder.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let (single, index) = (dir.join(SINGLE), dir.join(INDEX));
        if single.exists() {
            let tensors = tensors_of(WeightFile::map(&single)?)?;
            return Ok(Self { name: single.display().to_string(), tensors: tensors.into_iter().collect() });
        }
        if !index.exists() {
            let found = OTHER_FORMATS.into_iter().find(|name| dir.join(name).exists());
            return Err(Error::NoWeights { path: dir.into(), found });
        }
        let mut files = Self { name: index.display().to_string(), tensors: BTreeMap::new() };
        for (shard, names) in shards(&index)? {
            let path = dir.join(&shard);
            let mut tensors: BTreeMap<_, _> = tensors_of(WeightFile::map(&path)?)?.into_iter().collect();
            for name in names {
                let Some(tensor) = tensors.remove(&name) else {
                    let file = path.display().to_string();
                    return Err(Error::MissingTensors { file, names: vec![name] });
                };
                files.tensors.insert(name, tensor);
            }
            // What the index leaves out is in the file all the same: reports tell of it.
            for (name, tensor) in tensors {
                files.tensors.entry(name).or_insert(tensor);
            }
        }
        Ok(files)
    }

    /// A file that is in memory already.
    pub(super) fn from_bytes(bytes: Cow<'static, [u8]>, name: &str) -> Result<Self> {
        let file = WeightFile { path: name.into(), bytes: Bytes::Owned(bytes) };
        Ok(Self { name: name.into(), tensors: tensors_of(file)?.into_iter().collect() })
    }

    /// The file, or the index of its shards, as errors call it.
    pub(super) fn name(&self) -> String {
        self.name.clone()
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (&str, &StoredTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    pub(super) fn get(&self, name: &str) -> Option<&StoredTensor> {
        self.tensors.get(name)
    }
}

impl WeightFile {
    fn map(path: &Path) -> Result<Self> {
        let io = |source| Error::Io { path: path.into(), source };
        // Asked before it is opened: opening a pipe waits for its writer.
        if !path.metadata().map_err(io)?.is_file() {
            return Err(Error::NotAFile { path: path.into() });
        }
        let file = File::open(path).map_err(io)?;
        #[expect(unsafe_code)]
        // SAFETY: the map is read-only. Another process that cuts the file short while it is
        // mapped would make reads fault; every reader of mapped weights relies on model files
        // being left alone, and a copy would cost the file's size in memory.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        refuse_lfs_pointer(path, &map)?;
        Ok(Self { path: path.into(), bytes: Bytes::Mapped(map) })
    }
}

fn tensors_of(file: WeightFile) -> Result<Vec<(String, StoredTensor)>> {
    let broken = |source| Error::Safetensors { path: file.path.clone(), source };
    let (header_len, metadata) = SafeTensors::read_metadata(&file.bytes).map_err(broken)?;
    let data_start = size_of::<u64>() + header_len;
    let file = Arc::new(file);
    let stored = metadata.tensors().into_iter().map(|(name, info)| {
        let (start, end) = info.data_offsets;
        let range = data_start + start..data_start + end;
        let tensor =
            StoredTensor { file: Arc::clone(&file), dtype: info.dtype, shape: info.shape.clone(), range };
        (name, tensor)
    });
    Ok(stored.collect())
}

/// The shards that an index names, with the tensors of each.
fn shards(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let file = index.display().to_string();
    let text = std::fs::read(index).map_err(|source| Error::Io { path: index.into(), source })?;
    refuse_lfs_pointer(index, &text)?;
    let json: Value =
        serde_json::from_slice(&text).map_err(|source| Error::Json { file: file.clone(), source })?;
    let wrong = |expected: &str, found: String| Error::Field {
        file: file.clone(),
        field: "weight_map".into(),
        expected: expected.into(),
        found,
    };
    let Some(map) = json.get("weight_map").and_then(Value::as_object) else {
        return Err(wrong("an object from tensor names to file names", "none".into()));
    };
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in map {
        let Some(shard) = shard.as_str() else {
            return Err(wrong("a file name for every tensor", shard.to_string()));
        };
        let stays_in_folder = Path::new(shard).components().all(|part| matches!(part, Component::Normal(_)));
        if !stays_in_folder || shard.is_empty() {
            return Err(wrong("files inside the model's folder", format!("{shard:?}")));
        }
        shards.entry(shard.into()).or_default().push(tensor.clone());
    }
    Ok(shards)
}

impl StoredTensor {
    /// The type, where it is one that weights can have.
    pub(super) fn float_type(&self) -> Option<DType> {
        match self.dtype {
            Dtype::F16 => Some(DType::F16),
            Dtype::BF16 => Some(DType::BF16),
            Dtype::F32 => Some(DType::F32),
            Dtype::F64 => Some(DType::F64),
            _ => None,
        }
    }

    /// Checks shape and type.
    pub(super) fn expect(&self, name: &str, shape: &[usize]) -> Result<()> {
        let file = self.file.path.display().to_string();
        if self.shape != shape {
            let (expected, found) = (shape.to_vec(), self.shape.clone());
            return Err(Error::TensorShape { tensor: name.into(), file, expected, found });
        }
        match self.float_type() {
            Some(_) => Ok(()),
            None => Err(Error::TensorDType { tensor: name.into(), file, found: format!("{:?}", self.dtype) }),
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.file.bytes[self.range.clone()]
    }

    /// Whether the two hold the same numbers, in whatever type.
    pub(super) fn holds_the_same(&self, other: &Self) -> candle_core::Result<bool> {
        if self.shape != other.shape || self.float_type().is_none() || other.float_type().is_none() {
            return Ok(false);
        }
        if self.dtype == other.dtype {
            return Ok(self.bytes() == other.bytes());
        }
        let (a, b) = (self.load()?.to_dtype(DType::F64)?, other.load()?.to_dtype(DType::F64)?);
        Ok(a.ne(&b)?.max_all()?.to_scalar::<u8>()? == 0)
    }

    /// Copies the tensor out, in its own type, to the CPU.
    pub(super) fn load(&self) -> candle_core::Result<Tensor> {
        let view = TensorView::new(self.dtype, self.shape.clone(), self.bytes())
            .map_err(candle_core::Error::wrap)?;
        view.load(&Device::Cpu)
    }
}

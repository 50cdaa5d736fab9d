//! Reading a model's files by their names.

use std::borrow::Cow;
use std::path::PathBuf;

use albert_formats::small_file::{self, FileError};
use albert_model::{Checkpoint, Tensors};

use super::names::is_tokenizers;
use super::{MODULES, ModelFiles, SENTENCE_SETTINGS, Source, stays_inside};
use crate::{Error, Result};

/// The name of a file, and its bytes.
type NamedBytes = (&'static str, Cow<'static, [u8]>);

impl ModelFiles {
    /// Reads the small file `file`, a path inside the model with `/` between folders; `None` if
    /// there is none.
    ///
    /// # Errors
    /// If the path leaves the folder, or the file is not a regular file, is larger than 64 MiB,
    /// cannot be read, or is a Git LFS pointer.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self.place(file)? {
            Place::Memory(bytes) => Ok(bytes),
            Place::File(path) => match small_file::read_if_present(&path) {
                Ok(bytes) => Ok(bytes.map(Cow::Owned)),
                Err(FileError::LfsPointer { .. }) => Err(Error::LfsPointer(file.to_string())),
                Err(error) => Err(error.into()),
            },
        }
    }

    /// Opens the weights in `file`, a path inside the model; `None` if there is none.
    pub(crate) fn tensors(&self, file: &str) -> Result<Option<Tensors>> {
        match self.place(file)? {
            Place::Memory(None) => Ok(None),
            Place::Memory(Some(bytes)) => Ok(Some(Tensors::from_bytes(bytes, file)?)),
            Place::File(path) if !path.exists() => Ok(None),
            Place::File(path) => Ok(Some(Tensors::from_file(&path, file)?)),
        }
    }

    /// Returns a file in memory; `None` if the model does not have it.
    fn in_memory(&self, file: &str) -> Option<Cow<'static, [u8]>> {
        match &self.source {
            Source::Builtin(files) => {
                let found = files.iter().find(|(name, _)| *name == file);
                found.map(|(_, bytes)| Cow::Borrowed(*bytes))
            }
            Source::Memory(files) => files.get(file).map(|bytes| Cow::Owned(bytes.clone())),
            Source::Folder { .. } => None,
        }
    }

    fn place(&self, file: &str) -> Result<Place> {
        if !stays_inside(file) {
            return Err(Error::OutsideFolder {
                file: self.name.to_string(),
                path: file.to_string(),
            });
        }
        if let Some(dir) = &self.tokenizer
            && is_tokenizers(file)
        {
            return Ok(Place::File(dir.join(file)));
        }
        Ok(match &self.source {
            Source::Builtin(_) | Source::Memory(_) => Place::Memory(self.in_memory(file)),
            // Each module has its own folder next to the network's.
            Source::Folder { top, .. }
                if matches!(file, MODULES | SENTENCE_SETTINGS)
                    || file.contains('/') && !is_tokenizers(file) =>
            {
                Place::File(top.join(file))
            }
            Source::Folder { network, .. } => Place::File(network.join(file)),
        })
    }

    /// Opens the configuration and the weights, to load with albert-model.
    ///
    /// # Errors
    /// See [`Checkpoint::from_dir`].
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        match &self.source {
            Source::Builtin(_) | Source::Memory(_) => {
                let find = |wanted: &'static str| {
                    self.in_memory(wanted).ok_or(Error::MissingFile {
                        model: self.name.to_string(),
                        file: wanted,
                    })
                };
                let config = find("config.json")?;
                Ok(Checkpoint::from_bytes(
                    &String::from_utf8_lossy(&config),
                    find("model.safetensors")?,
                    &self.name,
                )?)
            }
            Source::Folder { network, .. } => Ok(Checkpoint::from_dir(network)?),
        }
    }

    /// Returns true if the model has `file`.
    pub(crate) fn has(&self, file: &str) -> bool {
        match self.place(file) {
            Ok(Place::Memory(bytes)) => bytes.is_some(),
            Ok(Place::File(path)) => path.exists(),
            Err(_) => false,
        }
    }

    /// Reads the first of some small files that the model has, with its name.
    pub(crate) fn read_first(&self, names: &[&'static str]) -> Result<Option<NamedBytes>> {
        for name in names {
            if let Some(bytes) = self.read(name)? {
                return Ok(Some((name, bytes)));
            }
        }
        Ok(None)
    }
}

/// The bytes of a file, or its path.
enum Place {
    Memory(Option<Cow<'static, [u8]>>),
    File(PathBuf),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_refuses_a_path_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let files = ModelFiles::from_dir(dir.path()).unwrap();
        assert!(matches!(
            files.read("../x"),
            Err(Error::OutsideFolder { .. })
        ));
    }

    #[test]
    fn an_absent_file_is_none_and_a_pointer_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
        std::fs::write(dir.path().join("tokenizer.json"), pointer).unwrap();
        let files = ModelFiles::from_dir(dir.path()).unwrap();
        assert!(files.read("modules.json").unwrap().is_none());
        assert_eq!(
            files.read("tokenizer.json").unwrap_err().to_string(),
            "`tokenizer.json` is a Git LFS pointer: expected the file itself"
        );
    }

    #[test]
    fn files_in_memory_are_read_by_their_paths() {
        let files = [("config.json", "{}"), ("1_Pooling/config.json", "[]")];
        let files = ModelFiles::from_bytes("mine", files);
        assert_eq!((files.name(), files.folder()), ("mine", None));
        let read = |file: &str| files.read(file).unwrap().map(Cow::into_owned);
        assert_eq!(read("1_Pooling/config.json").unwrap(), b"[]");
        assert_eq!(read("modules.json"), None);
        assert!(files.has("config.json") && files.read("../x").is_err());
        let error = files.checkpoint().unwrap_err().to_string();
        assert!(error.contains("`model.safetensors`"), "{error}");
    }
}

//! Where a model's files come from: a folder, the Hub, or the program itself.
//!
//! Nothing is loaded here. [`ModelFiles::checkpoint`] hands configuration and weights to
//! albert-model; the small files (tokenizer, pooling) are read by name.

use std::borrow::Cow;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path};
use std::sync::Arc;

use albert_model::Checkpoint;

use crate::{Error, Result};

/// Name of the built-in model.
pub const BUILTIN: &str = "albert-mini-en";

/// Files beside configuration and weights that say how text enters a model and answers leave it.
pub(crate) const COMPANIONS: [&str; 10] = [
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "modules.json",
    "sentence_bert_config.json",
    "sentence_albert_config.json",
    "config_sentence_transformers.json",
];

/// The first bytes of the text file that Git LFS puts in place of a file.
const LFS_MAGIC: &[u8] = b"version https://git-lfs.github.com/spec/";

/// The files of one model. Cheap to clone.
#[derive(Clone)]
pub struct ModelFiles {
    name: Arc<str>,
    source: Source,
}

/// The name, and no bytes of the files.
impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelFiles").field(&self.name).finish()
    }
}

#[derive(Clone)]
enum Source {
    #[cfg_attr(not(feature = "builtin"), allow(dead_code))]
    Builtin(&'static [(&'static str, &'static [u8])]),
    Folder(Arc<Path>),
}

impl ModelFiles {
    /// The model compiled into the program.
    ///
    /// # Errors
    /// If this build lacks the feature `builtin`.
    pub fn builtin() -> Result<Self> {
        #[cfg(feature = "builtin")]
        {
            Ok(Self {
                name: BUILTIN.into(),
                source: Source::Builtin(albert_mini_en::FILES),
            })
        }
        #[cfg(not(feature = "builtin"))]
        {
            Err(Error::NoBuiltin)
        }
    }

    /// What the built-in model takes within the program; `None` where the build lacks it.
    pub fn builtin_bytes() -> Option<u64> {
        match Self::builtin().ok()?.source {
            Source::Builtin(files) => Some(files.iter().map(|(_, bytes)| bytes.len() as u64).sum()),
            Source::Folder(_) => None,
        }
    }

    /// The model in a folder as Hugging Face lays it out.
    ///
    /// # Errors
    /// If `dir` is not a folder. What the folder lacks is said when it is read.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::NotAFolder(dir.to_path_buf()));
        }
        Ok(Self {
            name: dir.display().to_string().into(),
            source: Source::Folder(dir.into()),
        })
    }

    /// The model that a user names: the built-in name, else a folder, else a model of the Hub.
    ///
    /// # Errors
    /// If it is none of them, or, with the feature `hub`, as [`Hub::find`](crate::Hub::find).
    pub fn resolve(id: &str) -> Result<Self> {
        match Self::local(id)? {
            Some(files) => Ok(files),
            #[cfg(feature = "hub")]
            None => Self::from_hub(id, &crate::Hub::from_env()?),
            #[cfg(not(feature = "hub"))]
            None => Err(Error::NoHub(id.to_string())),
        }
    }

    /// The model that a user names, if the network has no part in it: the built-in one, or a
    /// folder. `None` for a name that may be one of the Hub.
    ///
    /// # Errors
    /// If `id` is a file, or can be no name at all.
    pub fn local(id: &str) -> Result<Option<Self>> {
        if id == BUILTIN {
            return Self::builtin().map(Some);
        }
        let path = Path::new(id);
        if path.exists() {
            Self::from_dir(path).map(Some)
        } else if looks_like_hub_id(id) {
            Ok(None)
        } else {
            Err(Error::UnknownModel(id.to_string()))
        }
    }

    /// The model `id` of the Hub, from the cache or downloaded into it.
    ///
    /// # Errors
    /// As [`Hub::find`](crate::Hub::find).
    #[cfg(feature = "hub")]
    pub fn from_hub(id: &str, hub: &crate::Hub) -> Result<Self> {
        let folder = hub.find(id)?;
        Ok(Self {
            name: id.into(),
            source: Source::Folder(folder.into()),
        })
    }

    /// The name of the built-in model or of the Hub, or the folder as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder that the files are in; `None` for the built-in model.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Builtin(_) => None,
            Source::Folder(dir) => Some(dir),
        }
    }

    /// The bytes of `file`, a path inside the model with `/` between folders; `None` where it is
    /// absent.
    ///
    /// # Errors
    /// If the path leaves the folder, the file cannot be read, or it is a Git LFS pointer.
    pub fn read(&self, file: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let bytes: Cow<'static, [u8]> = match &self.source {
            Source::Builtin(files) => match files.iter().find(|(name, _)| *name == file) {
                Some((_, bytes)) => Cow::Borrowed(*bytes),
                None => return Ok(None),
            },
            Source::Folder(dir) => {
                if !stays_inside(file) {
                    return Err(Error::OutsideFolder {
                        file: self.name.to_string(),
                        path: file.to_string(),
                    });
                }
                let path = dir.join(file);
                match std::fs::read(&path) {
                    Ok(bytes) => Cow::Owned(bytes),
                    Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                    Err(source) => return Err(Error::Read { path, source }),
                }
            }
        };
        if bytes.starts_with(LFS_MAGIC) {
            return Err(Error::LfsPointer(file.to_string()));
        }
        Ok(Some(bytes))
    }

    /// Configuration and weights, for albert-model to load from.
    ///
    /// # Errors
    /// If either is missing, is a Git LFS pointer or is not what it must be.
    pub fn checkpoint(&self) -> Result<Checkpoint> {
        match &self.source {
            Source::Builtin(files) => {
                let find = |wanted: &'static str| {
                    let found = files.iter().find(|(name, _)| *name == wanted);
                    found.map(|(_, bytes)| *bytes).ok_or(Error::MissingFile {
                        model: self.name.to_string(),
                        file: wanted,
                    })
                };
                let config = String::from_utf8_lossy(find("config.json")?);
                Ok(Checkpoint::from_bytes(
                    &config,
                    find("model.safetensors")?,
                    &self.name,
                )?)
            }
            Source::Folder(dir) => Ok(Checkpoint::from_dir(dir)?),
        }
    }

    /// Whether the model has `file`.
    pub(crate) fn has(&self, file: &str) -> bool {
        match &self.source {
            Source::Builtin(files) => files.iter().any(|(name, _)| *name == file),
            Source::Folder(dir) => stays_inside(file) && dir.join(file).is_file(),
        }
    }
}

/// Whether a relative path only descends. Symbolic links are followed: download caches consist of
/// them.
pub(crate) fn stays_inside(path: &str) -> bool {
    let windows_escape = path.contains('\\') || path.contains(':');
    !windows_escape
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// `owner/model`, or an old `model` alone, in the characters that the Hub allows.
pub(crate) fn looks_like_hub_id(id: &str) -> bool {
    let is_name = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    let reserved = id.contains("--") || id.contains("..");
    id.len() <= 96 && id.split('/').count() <= 2 && id.split('/').all(is_name) && !reserved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_inside_only_if_it_descends() {
        for inside in [
            "tokenizer.json",
            "1_Pooling/config.json",
            "./1_Pooling/config.json",
        ] {
            assert!(stays_inside(inside), "{inside}");
        }
        for outside in [
            "../config.json",
            "1_Pooling/../../x",
            "/etc/passwd",
            "..\\x",
            "C:/x",
        ] {
            assert!(!stays_inside(outside), "{outside}");
        }
    }

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
    fn a_name_of_the_hub_is_made_of_what_the_hub_allows() {
        for id in ["albert/albert-base-v2", "albert-base-v2", "a/b_c.d-1"] {
            assert!(looks_like_hub_id(id), "{id}");
            assert!(ModelFiles::local(id).unwrap().is_none(), "{id}");
        }
        for id in [
            "", "/", "a/", "/a", "a/b/c", ".", "..", "./a", "../a", "a/..", "a--b", "a b", "a\\b",
            "C:a", "é",
        ] {
            assert!(!looks_like_hub_id(id), "{id}");
        }
    }

    #[test]
    fn names_resolve_to_what_they_look_like() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let resolve = |id: &str| ModelFiles::resolve(id).unwrap_err();
        #[cfg(not(feature = "hub"))]
        assert!(matches!(resolve("albert/albert-base-v2"), Error::NoHub(_)));
        assert!(matches!(
            resolve("./no-such-folder"),
            Error::UnknownModel(_)
        ));
        assert!(matches!(
            resolve(file.path().to_str().unwrap()),
            Error::NotAFolder(_)
        ));
    }
}

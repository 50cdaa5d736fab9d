//! The source of a model's files: a folder, the Hub, or the program itself.
//!
//! Nothing is loaded here. [`ModelFiles::checkpoint`] opens configuration and weights with
//! albert-model; the small files (tokenizer, pooling) are read by name.

mod names;
mod reading;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use albert_formats::json;
use albert_formats::small_file;
use serde_json::Value;

use crate::{Error, Result};
pub(crate) use names::{
    COMPANIONS, MODULES, SENTENCE_SETTINGS, SPIECE_MODELS, VOCABULARIES, looks_like_hub_id,
    stays_inside,
};

/// The name of the built-in model.
pub const BUILTIN: &str = "albert-mini-en";

/// The files of one model. Cheap to clone.
#[derive(Clone)]
pub struct ModelFiles {
    name: Arc<str>,
    source: Source,
    /// The folder with the tokenizer's files, if it is another one.
    tokenizer: Option<Arc<Path>>,
}

/// Shows the name, and no bytes of the files.
impl fmt::Debug for ModelFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ModelFiles").field(&self.name).finish()
    }
}

#[derive(Clone)]
enum Source {
    #[cfg_attr(not(feature = "builtin"), allow(dead_code))]
    Builtin(&'static [(&'static str, &'static [u8])]),
    /// The files by their paths.
    Memory(Arc<BTreeMap<String, Vec<u8>>>),
    Folder {
        top: Arc<Path>,
        /// The folder of the network and its tokenizer, a subfolder if sentence-transformers before
        /// 2.0 saved the model.
        network: Arc<Path>,
    },
}

impl Source {
    fn folder(dir: &Path) -> Self {
        let network = match transformer_folder(dir) {
            Some(path) => dir.join(path).into(),
            None => dir.into(),
        };
        Self::Folder {
            top: dir.into(),
            network,
        }
    }
}

/// Returns the path of sentence-transformers' first module, if it is a network in a subfolder. A
/// list that cannot be read is an error later, when the modules are loaded.
fn transformer_folder(dir: &Path) -> Option<String> {
    let text = small_file::read_if_present(&dir.join(MODULES)).ok()??;
    let modules = json::parse(&text).ok()?;
    network_folder(&modules).filter(|path| dir.join(path).is_dir())
}

/// Returns the path of the first of sentence-transformers' modules, if it is a network in a folder
/// of its own, `0_Transformer` as versions before 2.0 saved it.
pub(crate) fn network_folder(modules: &Value) -> Option<String> {
    let first = modules.get(0)?;
    let (kind, path) = (first.get("type")?.as_str()?, first.get("path")?.as_str()?);
    let path = path.trim_start_matches("./").trim_end_matches('/');
    let is_below = kind.ends_with(".Transformer") && !matches!(path, "" | ".");
    (is_below && stays_inside(path)).then(|| path.to_string())
}

impl ModelFiles {
    /// Returns the model compiled into the program.
    ///
    /// # Errors
    /// If this build lacks the feature `builtin`.
    pub fn builtin() -> Result<Self> {
        #[cfg(feature = "builtin")]
        {
            Ok(Self {
                name: BUILTIN.into(),
                source: Source::Builtin(albert_mini_en::FILES),
                tokenizer: None,
            })
        }
        #[cfg(not(feature = "builtin"))]
        {
            Err(Error::NoBuiltin)
        }
    }

    /// Returns the size of the built-in model in bytes; `None` if the build lacks it.
    pub fn builtin_bytes() -> Option<u64> {
        match Self::builtin().ok()?.source {
            Source::Builtin(files) => Some(files.iter().map(|(_, bytes)| bytes.len() as u64).sum()),
            Source::Memory(_) | Source::Folder { .. } => None,
        }
    }

    /// Takes a model's files from memory: pairs of a path, with `/` between folders, and bytes.
    ///
    /// Configuration and weights are `config.json` and `model.safetensors`, the small files those of
    /// a folder. Messages call the model `name`. Loading copies the weights once.
    ///
    /// ```
    /// use albert_tasks::{Embedder, ModelFiles, RunOptions};
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny");
    /// let names = ["config.json", "model.safetensors", "tokenizer.json"];
    /// let files = names.map(|name| (name, std::fs::read(folder.join(name)).unwrap()));
    /// let files = ModelFiles::from_bytes("tiny", files);
    /// let vectors = Embedder::load(&files, &RunOptions::default())?.embed(&["the river"])?;
    /// assert_eq!(vectors.len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_bytes<N: Into<String>, B: Into<Vec<u8>>>(
        name: &str,
        files: impl IntoIterator<Item = (N, B)>,
    ) -> Self {
        let files = files.into_iter();
        let files = files.map(|(path, bytes)| (path.into(), bytes.into()));
        Self {
            name: name.into(),
            source: Source::Memory(Arc::new(files.collect())),
            tokenizer: None,
        }
    }

    /// Opens the model in a folder in the layout of Hugging Face, sentence-transformers or Google.
    ///
    /// # Errors
    /// If `dir` is not a folder. A missing file is only an error when it is read.
    pub fn from_dir(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        if !dir.is_dir() {
            return Err(Error::NotAFolder(dir.to_path_buf()));
        }
        Ok(Self {
            name: dir.display().to_string().into(),
            source: Source::folder(dir),
            tokenizer: None,
        })
    }

    /// Opens the model that a user names: the built-in model, a folder, or a model on the Hub, in
    /// this order. The name of a folder need not be UTF-8.
    ///
    /// # Errors
    /// If it is none of them; with the feature `hub`, see also [`Hub::find`](crate::Hub::find).
    pub fn resolve(id: impl AsRef<OsStr>) -> Result<Self> {
        let id = id.as_ref();
        match Self::local(id)? {
            Some(files) => Ok(files),
            #[cfg(feature = "hub")]
            None => Self::from_hub(&id.to_string_lossy(), &crate::Hub::from_env()?),
            #[cfg(not(feature = "hub"))]
            None => Err(Error::NoHub(id.to_string_lossy().into_owned())),
        }
    }

    /// Opens the model that a user names without using the network: the built-in model or a folder.
    /// `None` for a name that may be on the Hub.
    ///
    /// # Errors
    /// If `id` is a file, or no model can have that name.
    pub fn local(id: impl AsRef<OsStr>) -> Result<Option<Self>> {
        let id = id.as_ref();
        if id == BUILTIN {
            return Self::builtin().map(Some);
        }
        let path = Path::new(id);
        if path.exists() {
            Self::from_dir(path).map(Some)
        } else if id.to_str().is_some_and(looks_like_hub_id) {
            Ok(None)
        } else {
            Err(Error::UnknownModel(id.to_string_lossy().into_owned()))
        }
    }

    /// Opens the model `id` on the Hub, from the cache or after downloading it.
    ///
    /// # Errors
    /// See [`Hub::find`](crate::Hub::find).
    #[cfg(feature = "hub")]
    pub fn from_hub(id: &str, hub: &crate::Hub) -> Result<Self> {
        let folder = hub.find(id)?;
        Ok(Self {
            name: id.into(),
            source: Source::folder(&folder),
            tokenizer: None,
        })
    }

    /// Takes the tokenizer's files from another folder, such as that of the model from which a
    /// checkpoint was trained, and ignores those of the model itself.
    ///
    /// ```
    /// use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
    /// # fn main() -> albert_tasks::Result<()> {
    /// # if cfg!(not(feature = "builtin")) { return Ok(()) }
    /// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
    /// let files = ModelFiles::builtin()?.with_tokenizer(folder)?;
    /// let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default())?;
    /// assert_ne!(tokenizer.vocab_size(), 30000);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If `dir` is not a folder with a tokenizer.
    pub fn with_tokenizer(mut self, dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let mut tokenizers = SPIECE_MODELS
            .into_iter()
            .chain(["tokenizer.json"])
            .chain(VOCABULARIES);
        if !tokenizers.any(|file| dir.join(file).exists()) {
            return Err(Error::NoTokenizer(dir.display().to_string()));
        }
        self.tokenizer = Some(dir.into());
        Ok(self)
    }

    /// Returns the name of the built-in model or on the Hub, or the folder as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the folder of the files; `None` for the built-in model and for files in memory.
    pub fn folder(&self) -> Option<&Path> {
        match &self.source {
            Source::Builtin(_) | Source::Memory(_) => None,
            Source::Folder { top, .. } => Some(top),
        }
    }

    /// Returns true if the network is in a folder below the one with the list of modules.
    pub(crate) fn has_network_below(&self) -> bool {
        matches!(&self.source, Source::Folder { top, network } if top != network)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_below_the_list_of_modules_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let modules =
            r#"[{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]"#;
        write("modules.json", modules);
        write("config.json", "top");
        write("0_Transformer/config.json", "network");
        write("0_Transformer/sentence_bert_config.json", "{}");
        write("1_Pooling/config.json", "pooling");
        let files = ModelFiles::from_dir(dir.path()).unwrap();
        let read = |file: &str| files.read(file).unwrap().unwrap().into_owned();
        assert!(files.has_network_below() && files.has("sentence_bert_config.json"));
        assert_eq!(read("config.json"), b"network");
        assert_eq!(read("1_Pooling/config.json"), b"pooling");
        write("modules.json", &modules.replace("0_Transformer", "../x"));
        assert!(
            !ModelFiles::from_dir(dir.path())
                .unwrap()
                .has_network_below()
        );
    }

    #[test]
    fn a_tokenizer_of_another_folder_replaces_the_models_own() {
        let (model, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(model.path().join("vocab.txt"), "model").unwrap();
        std::fs::write(model.path().join("modules.json"), "[]").unwrap();
        std::fs::write(other.path().join("spiece.model"), "other").unwrap();
        let files = ModelFiles::from_dir(model.path()).unwrap();
        let files = files.with_tokenizer(other.path()).unwrap();
        assert!(!files.has("vocab.txt") && files.has("modules.json"));
        assert!(files.has("spiece.model"));
        assert!(matches!(
            files.with_tokenizer(other.path().join("spiece.model")),
            Err(Error::NoTokenizer(_))
        ));
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_need_not_be_named_in_utf_8() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(OsStr::from_bytes(b"m\xff"));
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("modules.json"), "[]").unwrap();
        let files = ModelFiles::resolve(&path).unwrap();
        assert!(files.read("modules.json").unwrap().is_some());
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

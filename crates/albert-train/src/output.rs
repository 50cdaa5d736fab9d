//! The output folder of a run: `training/` while it runs, and the model at its end.

use std::fs;
use std::path::{Path, PathBuf};

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::train::FlatParameters;
use albert_tasks::albert_model::{AlbertConfig, WeightFormat};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::snapshot::{self, Snapshot};

/// Files of a tokenizer that are copied from the start's folder.
const TOKENIZER_FILES: [&str; 6] = [
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
];

/// Files of sentence-transformers next to the modules' folders; the first one names those.
const MODULES: &str = "modules.json";
const SENTENCE_FILES: [&str; 3] = [
    MODULES,
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// Files of a module: its settings, and the weights of a dense layer or a norm.
const MODULE_FILES: [&str; 3] = ["config.json", "model.safetensors", "pytorch_model.bin"];

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// The folder of the log and the snapshots.
const TRAINING: &str = "training";

/// The configuration and the tokenizer of a model that takes time to make, in the folder `training`.
const START: &str = "start";

/// The settings of the run, in the folder `training`.
const RECIPE: &str = "recipe.toml";

/// The output folder of a run.
#[derive(Debug, Clone)]
pub struct Output {
    folder: PathBuf,
    training: PathBuf,
}

impl Output {
    /// Checks that [`create`](Self::create) would not write into a folder that is in use.
    ///
    /// # Errors
    /// If the folder exists and is not empty, or cannot be read.
    pub fn check_vacant(folder: &Path) -> Result<()> {
        // A run that was killed before its recipe was whole has left nothing to continue from.
        let is_left = |name: &std::ffi::OsStr| {
            name == TRAINING && !folder.join(TRAINING).join(RECIPE).exists()
        };
        let is_taken = match fs::read_dir(folder) {
            Ok(mut entries) => {
                entries.any(|entry| entry.is_ok_and(|entry| !is_left(&entry.file_name())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
            Err(error) => return Err(Error::read(folder)(error)),
        };
        if is_taken {
            return Err(Error::OutputExists(folder.into()));
        }
        Ok(())
    }

    /// Creates the folder, which must be vacant, and writes the recipe into it.
    ///
    /// # Errors
    /// If the folder exists and is not empty, or cannot be written.
    pub fn create(folder: &Path, recipe: &str) -> Result<Self> {
        Self::check_vacant(folder)?;
        let output = Self::at(folder);
        fs::create_dir_all(&output.training).map_err(Error::write(&output.training))?;
        let path = output.training.join(RECIPE);
        let partial = output.training.join("recipe.toml.partial");
        fs::write(&partial, recipe).map_err(Error::write(&partial))?;
        fs::rename(&partial, &path).map_err(Error::write(&path))?;
        Ok(output)
    }

    /// Opens the folder of a run to resume, and its last snapshot; without a snapshot the run
    /// starts again, with the same bits.
    ///
    /// # Errors
    /// If the folder has no unfinished run, or the snapshot cannot be read.
    pub fn resume(folder: &Path) -> Result<(Self, Option<Snapshot>)> {
        let output = Self::at(folder);
        if !output.training.join(RECIPE).is_file() {
            return Err(Error::NoSnapshot(folder.into()));
        }
        let snapshot = Snapshot::last(&output.training)?;
        // The configuration is written last, and the snapshots are removed after it.
        if snapshot.is_none() && folder.join(CONFIG).exists() {
            return Err(Error::Finished(folder.into()));
        }
        Ok((output, snapshot))
    }

    fn at(folder: &Path) -> Self {
        Self {
            folder: folder.into(),
            training: folder.join(TRAINING),
        }
    }

    /// Returns the folder of the log and the snapshots.
    pub fn training(&self) -> &Path {
        &self.training
    }

    /// Writes a file next to the model, such as one that says how its vectors are pooled.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.folder.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Error::write(parent))?;
        }
        fs::write(&path, bytes).map_err(Error::write(&path))
    }

    /// Writes the model with the tokenizer's files, then removes the snapshots.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn write_model(&self, parameters: &FlatParameters, tokenizer: &ModelFiles) -> Result<()> {
        self.copy(tokenizer, &TOKENIZER_FILES)?;
        // What a run left that was killed here before.
        for name in [CONFIG, WEIGHTS] {
            snapshot::remove(&self.folder.join(name))?;
        }
        parameters
            .to_checkpoint()?
            .save(&self.folder, WeightFormat::F32)?;
        snapshot::remove_all(&self.training)?;
        snapshot::remove(&self.training.join(START))
    }

    /// Writes the configuration, the tokenizer and the modules of a model whose weights are in
    /// snapshots, so that a resumed run need not make it again.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub(crate) fn keep_start(&self, config: &AlbertConfig, files: &ModelFiles) -> Result<()> {
        let start = Self::at(&self.training.join(START));
        start.write_file(CONFIG, config.to_json().as_bytes())?;
        start.copy(files, &TOKENIZER_FILES)?;
        start.copy_modules(files, config.hidden_size)?;
        Ok(())
    }

    /// Copies the files that exist.
    fn copy(&self, from: &ModelFiles, names: &[&str]) -> Result<()> {
        for name in names {
            if let Some(bytes) = from.read(name)? {
                let path = self.folder.join(name);
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder).map_err(Error::write(folder))?;
                }
                fs::write(&path, bytes).map_err(Error::write(&path))?;
            }
        }
        Ok(())
    }

    /// Copies the modules of sentence-transformers that follow a network of this width; returns
    /// false if a folder has none. Only a model whose sentence embeddings are those of `from`, or
    /// were trained further, has the same modules.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn copy_modules(&self, from: &ModelFiles, width: usize) -> Result<bool> {
        let (Some(modules), Some(config)) = (from.read(MODULES)?, from.read(CONFIG)?) else {
            return Ok(false);
        };
        let wrong = |error: serde_json::Error| Error::Setting {
            name: MODULES,
            expected: "a list of modules, and a `config.json` with `hidden_size`".into(),
            found: error.to_string(),
        };
        let modules: Vec<Module> = serde_json::from_slice(&modules).map_err(wrong)?;
        let config: Width = serde_json::from_slice(&config).map_err(wrong)?;
        // The network is written at the top, where some folders do not have it.
        let has_network_at_top = modules.first().is_some_and(|module| module.path.is_empty());
        if config.hidden_size != width || !has_network_at_top {
            return Ok(false);
        }
        self.copy(from, &SENTENCE_FILES)?;
        for Module { path } in modules.iter().filter(|module| !module.path.is_empty()) {
            let files = MODULE_FILES.map(|name| format!("{path}/{name}"));
            self.copy(from, &files.each_ref().map(String::as_str))?;
        }
        Ok(true)
    }
}

/// Returns the files that [`Output::keep_start`] wrote into a folder `training`, if any.
pub(crate) fn kept_start(training: &Path) -> Result<Option<ModelFiles>> {
    let folder = training.join(START);
    if !folder.join(CONFIG).is_file() {
        return Ok(None);
    }
    Ok(Some(ModelFiles::from_dir(folder)?))
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
}

/// The part of `config.json` that modules depend on.
#[derive(Deserialize)]
struct Width {
    hidden_size: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_files_is_refused_and_an_empty_one_taken() {
        let dir = tempfile::tempdir().unwrap();
        Output::create(dir.path(), "seed = 1\n").unwrap();
        let message = Output::create(dir.path(), "").unwrap_err().to_string();
        assert!(
            message.ends_with("exists: expected a new folder"),
            "{message}"
        );
        let (output, snapshot) = Output::resume(dir.path()).unwrap();
        assert!(snapshot.is_none());
        assert_eq!(
            fs::read_to_string(output.training().join(RECIPE)).unwrap(),
            "seed = 1\n"
        );
    }

    #[test]
    fn a_run_without_a_whole_recipe_may_be_started_again() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(TRAINING)).unwrap();
        fs::write(dir.path().join("training/recipe.toml.partial"), "see").unwrap();
        Output::create(dir.path(), "seed = 1\n").unwrap();
    }

    #[test]
    fn modules_are_copied_with_their_folders_for_a_network_of_their_width() {
        let from = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(from.path().join(name), text).unwrap();
        fs::create_dir(from.path().join("1_Pooling")).unwrap();
        write("vocab.txt", "[PAD]\n");
        write("config.json", r#"{"hidden_size": 8}"#);
        write("modules.json", r#"[{"path": ""}, {"path": "1_Pooling"}]"#);
        write("1_Pooling/config.json", "{}");
        let files = ModelFiles::from_dir(from.path()).unwrap();
        for (width, is_copied) in [(8, true), (16, false)] {
            let to = tempfile::tempdir().unwrap();
            let found = Output::at(to.path()).copy_modules(&files, width).unwrap();
            assert_eq!(found, is_copied);
            assert_eq!(to.path().join("modules.json").exists(), is_copied);
            assert_eq!(to.path().join("1_Pooling/config.json").exists(), is_copied);
        }
    }

    #[test]
    fn a_folder_without_a_run_cannot_be_resumed() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Output::resume(dir.path()),
            Err(Error::NoSnapshot(_))
        ));
    }
}

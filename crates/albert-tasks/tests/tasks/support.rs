//! The tiny model, whole or with one thing changed.

use std::path::{Path, PathBuf};

use albert_tasks::{ModelFiles, RunOptions};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The folder of the tiny model.
pub(crate) fn tiny_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny")
}

/// The tiny model.
pub(crate) fn tiny() -> ModelFiles {
    ModelFiles::from_dir(tiny_dir()).unwrap()
}

/// Options with a limit on length and a budget of tokens.
pub(crate) fn options(max_length: Option<usize>, batch_tokens: usize) -> RunOptions {
    RunOptions::default()
        .with_batch_tokens(batch_tokens)
        .with_max_length(max_length)
}

/// A copy of the tiny model to break.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
        for file in [
            "config.json",
            "model.safetensors",
            "tokenizer.json",
            "tokenizer_config.json",
            "modules.json",
            "1_Pooling/config.json",
            "sentence_bert_config.json",
        ] {
            std::fs::copy(tiny_dir().join(file), dir.path().join(file)).unwrap();
        }
        Self(dir)
    }

    pub(crate) fn files(&self) -> ModelFiles {
        ModelFiles::from_dir(self.0.path()).unwrap()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn without(self, file: &str) -> Self {
        std::fs::remove_file(self.0.path().join(file)).unwrap();
        self
    }

    pub(crate) fn with(self, file: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.0.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    /// Changes a JSON file in place.
    pub(crate) fn edit(self, file: &str, change: impl FnOnce(&mut Value)) -> Self {
        let text = std::fs::read_to_string(self.0.path().join(file)).unwrap();
        let mut value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        self.with(file, value.to_string())
    }

    /// Replaces the whole of `modules.json` by types and paths.
    pub(crate) fn modules(self, modules: &[(&str, &str)]) -> Self {
        let module = |(kind, path): &(&str, &str)| json!({"type": format!("sentence_transformers.models.{kind}"), "path": path});
        let list: Vec<Value> = modules.iter().map(module).collect();
        self.with("modules.json", json!(list).to_string())
    }
}

/// An error with its causes.
pub(crate) fn message<T>(result: albert_tasks::Result<T>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    }
}

/// max |Δ|, after checking that the lengths agree.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

//! Protects a model's files from the output of a run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::Format;

/// The depth of a model's folder: `1_Pooling/config.json`.
const DEPTH: usize = 2;

/// Returns the file of the model in `folder` that `output` refers to, under any name.
///
/// A file with an extension that only outputs have does not count: a user who works in the model's
/// folder may overwrite an earlier output.
pub(super) fn find(folder: &Path, output: &Path) -> Option<PathBuf> {
    let output = Handle::from_path(output).ok()?;
    // Loading the model reports a folder that cannot be read.
    find_below(folder, DEPTH, &output).ok().flatten()
}

fn find_below(folder: &Path, depth: usize, output: &Handle) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            if depth > 1 {
                find_below(&path, depth - 1, output)?
            } else {
                None
            }
        } else if is_output_by_name(&path) {
            None
        } else {
            Handle::from_path(&path)
                .is_ok_and(|file| file == *output)
                .then_some(path)
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn is_output_by_name(path: &Path) -> bool {
    match Format::from_path(path) {
        Some(Format::Jsonl | Format::Csv | Format::Npy | Format::Parquet | Format::Arrow) => true,
        // A model may have files with these extensions.
        Some(Format::Json | Format::Safetensors | Format::Table) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_the_model_is_found_under_any_name_and_an_earlier_output_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        fs::create_dir_all(model.join("1_Pooling")).unwrap();
        for name in ["model.safetensors", "1_Pooling/config.json", "vectors.npy"] {
            fs::write(model.join(name), "").unwrap();
        }
        let link = folder.path().join("link.jsonl");
        fs::hard_link(model.join("model.safetensors"), &link).unwrap();
        fs::write(folder.path().join("config.json"), "").unwrap();
        let find = |name: &str| find(&model, &folder.path().join(name));
        assert_eq!(
            find("model/../model/model.safetensors"),
            Some(model.join("model.safetensors"))
        );
        assert_eq!(find("link.jsonl"), Some(model.join("model.safetensors")));
        assert_eq!(
            find("model/1_Pooling/config.json"),
            Some(model.join("1_Pooling/config.json"))
        );
        assert_eq!(find("model/vectors.npy"), None);
        assert_eq!(find("config.json"), None);
        assert_eq!(find("none.json"), None);
    }
}

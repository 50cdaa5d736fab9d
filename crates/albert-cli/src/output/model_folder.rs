//! Keeping a model from being written over by what is computed with it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::Format;

/// How deep a model's folder is: `1_Pooling/config.json`.
const DEPTH: usize = 2;

/// The file of the model in `folder` that `output` is, under whatever name.
///
/// A file that by its ending can only be an output is none of the model's: who works within the
/// model's folder writes the same file again and again.
pub(super) fn find(folder: &Path, output: &Path) -> Option<PathBuf> {
    let output = Handle::from_path(output).ok()?;
    // What cannot be read cannot be told apart; loading the model tells why.
    find_below(folder, DEPTH, &output).ok().flatten()
}

fn find_below(folder: &Path, depth: usize, output: &Handle) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let found = match path.is_dir() {
            true if depth > 1 => find_below(&path, depth - 1, output)?,
            true => None,
            false if is_output_by_name(&path) => None,
            false => Handle::from_path(&path)
                .is_ok_and(|file| file == *output)
                .then_some(path),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn is_output_by_name(path: &Path) -> bool {
    match Format::of(path) {
        Some(Format::Jsonl | Format::Csv | Format::Npy | Format::Parquet | Format::Arrow) => true,
        // A model is made of the other two itself.
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

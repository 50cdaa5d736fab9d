//! Chooses the weight file of a folder, and records the reason.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A weight format, as a single file or as shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Safetensors,
    SafetensorsShards,
    PyTorch,
    PyTorchShards,
    TensorFlow,
}

/// The file names of transformers, in order of preference.
const KNOWN: [(&str, Format); 4] = [
    ("model.safetensors", Format::Safetensors),
    ("model.safetensors.index.json", Format::SafetensorsShards),
    ("pytorch_model.bin", Format::PyTorch),
    ("pytorch_model.bin.index.json", Format::PyTorchShards),
];

/// The extensions of PyTorch files with other names.
const EXTENSIONS: [&str; 5] = ["bin", "pt", "pth", "t7", "ckpt"];

/// The prefixes of other files that training scripts leave next to the weights.
const NO_WEIGHTS: [&str; 7] = [
    "adapter_model",
    "training_args",
    "optimizer",
    "scheduler",
    "scaler",
    "rng_state",
    "trainer_state",
];

/// Weight files in unsupported formats.
const OTHER_FORMATS: [&str; 7] = [
    "tf_model.h5",
    "flax_model.msgpack",
    "rust_model.ot",
    "model.onnx",
    "onnx/model.onnx",
    "saved_model.pb",
    "openvino_model.bin",
];

/// The chosen file.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) why: String,
}

impl Choice {
    /// Chooses by the names of a folder's files, without opening any.
    pub(super) fn find(dir: &Path) -> Result<Self> {
        let known: Vec<_> = KNOWN
            .iter()
            .filter(|(name, _)| dir.join(name).exists())
            .collect();
        let bundles = bundles(dir)?;
        let others = others(dir)?;
        let left = |taken: &str| {
            let known = known.iter().map(|(name, _)| name.to_string());
            let all: Vec<String> = known.chain(bundles.clone()).chain(others.clone()).collect();
            let rest: Vec<String> = all
                .iter()
                .filter(|name| *name != taken)
                .map(|name| format!("`{name}`"))
                .collect();
            if rest.is_empty() {
                return format!("`{taken}`, the only file with weights");
            }
            format!("`{taken}`, before {}", rest.join(", "))
        };
        if let Some((name, format)) = known.first() {
            return Ok(Self {
                path: dir.join(name),
                format: *format,
                why: left(name),
            });
        }
        for (names, format) in [(&bundles, Format::TensorFlow), (&others, Format::PyTorch)] {
            match &names[..] {
                [] => {}
                [name] => {
                    return Ok(Self {
                        path: dir.join(name),
                        format,
                        why: left(name),
                    });
                }
                names => {
                    return Err(Error::SeveralWeights {
                        path: dir.into(),
                        found: names.to_vec(),
                    });
                }
            }
        }
        let found = OTHER_FORMATS
            .into_iter()
            .find(|name| dir.join(name).exists());
        Err(Error::NoWeights {
            path: dir.into(),
            found,
        })
    }
}

/// Lists the TensorFlow indices in the folder, or in the folder `variables` of a TensorFlow Hub
/// module.
fn bundles(dir: &Path) -> Result<Vec<String>> {
    let is_index = |name: &str| {
        let stem = name.strip_suffix(".index");
        // Another kind of index has no data file.
        stem.is_some_and(|stem| {
            names(dir).is_ok_and(|all| all.iter().any(|it| is_data_of(it, stem)))
        })
    };
    let mut found = names(dir)?;
    found.retain(|name| is_index(name));
    let hub = "variables/variables.index";
    if found.is_empty() && dir.join(hub).is_file() {
        found.push(hub.into());
    }
    Ok(found)
}

fn is_data_of(name: &str, stem: &str) -> bool {
    name.strip_prefix(stem)
        .is_some_and(|rest| rest.starts_with(".data-"))
}

fn others(dir: &Path) -> Result<Vec<String>> {
    let mut found = names(dir)?;
    found.retain(|name| {
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        extension.is_some_and(|extension| EXTENSIONS.contains(&extension))
            && !NO_WEIGHTS.iter().any(|start| name.starts_with(start))
            && !KNOWN.iter().any(|(known, _)| known == name)
            && !OTHER_FORMATS.contains(&name.as_str())
    });
    Ok(found)
}

/// Lists the files of a folder in alphabetical order.
pub(super) fn names(dir: &Path) -> Result<Vec<String>> {
    let io = |source| Error::Io {
        path: dir.into(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let entry = entry.map_err(io)?;
        if let Ok(name) = entry.file_name().into_string()
            && entry.path().is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(names: &[&str]) -> Result<Choice> {
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        Choice::find(dir.path())
    }

    fn chosen(names: &[&str]) -> (String, Format) {
        let choice = choice(names).unwrap();
        (
            choice.path.file_name().unwrap().to_str().unwrap().into(),
            choice.format,
        )
    }

    #[test]
    fn the_order_is_safetensors_pytorch_tensorflow_others() {
        let mut names = vec![
            "model.safetensors",
            "model.safetensors.index.json",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "model.ckpt-best.index",
            "weights.pth",
            "model.ckpt-best.data-00000-of-00001",
        ];
        use Format::*;
        for format in [
            Safetensors,
            SafetensorsShards,
            PyTorch,
            PyTorchShards,
            TensorFlow,
            PyTorch,
        ] {
            assert_eq!(chosen(&names), (names[0].to_string(), format));
            names.remove(0);
        }
    }

    #[test]
    fn files_that_trainers_leave_are_no_weights() {
        let leftovers = [
            "training_args.bin",
            "adapter_model.safetensors",
            "optimizer.pt",
            "scheduler.pt",
            "rng_state_0.pth",
            "rng_state.pth",
        ];
        let mut names = leftovers.to_vec();
        assert!(matches!(
            choice(&names),
            Err(Error::NoWeights { found: None, .. })
        ));
        names.push("step_1000.t7");
        assert_eq!(
            chosen(&names),
            ("step_1000.t7".to_string(), Format::PyTorch)
        );
        names.push("step_2000.t7");
        let message = choice(&names).unwrap_err().to_string();
        assert!(
            message.contains("`step_1000.t7`, `step_2000.t7`"),
            "{message}"
        );
    }

    #[test]
    fn the_reason_names_the_files_passed_over() {
        let why = choice(&["model.safetensors", "pytorch_model.bin", "a.pt"])
            .unwrap()
            .why;
        assert_eq!(
            why,
            "`model.safetensors`, before `pytorch_model.bin`, `a.pt`"
        );
        let why = choice(&["variables/variables.index"]).unwrap().why;
        assert_eq!(
            why,
            "`variables/variables.index`, the only file with weights"
        );
    }

    #[test]
    fn other_formats_are_named() {
        let message = choice(&["tf_model.h5"]).unwrap_err().to_string();
        assert!(
            message.contains("`tf_model.h5`, an unsupported format"),
            "{message}"
        );
    }
}

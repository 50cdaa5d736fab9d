//! The files of a repository that a model needs: its configuration, one set of weights, the
//! tokenizer, and sentence-transformers' modules; never the weights of other frameworks.
//!
//! One set of rules selects the files to download from the Hub's list, and checks whether a
//! snapshot in the cache is complete: both are [`Files`].

use serde_json::Value;

use super::cache::Presence;
use crate::files::{
    COMPANIONS, MODULES, SENTENCE_SETTINGS, SPIECE_MODELS, VOCABULARIES, network_folder,
    stays_inside,
};

/// Lists the small files that a model may have. Each may change the answer, so that a snapshot is
/// only known to be complete once the Hub has listed its files.
pub(super) fn small(files: &impl Files) -> Vec<&'static str> {
    ["config.json", "albert_config.json"]
        .into_iter()
        .chain(COMPANIONS)
        .chain(googles_tokenizers(files))
        .collect()
}

/// Returns the tokenizers of Google's archives, which only matter if there is no other.
pub(super) fn googles_tokenizers(files: &impl Files) -> Vec<&'static str> {
    let has_other = TOKENIZERS.iter().any(|file| files.has(file));
    let names = SPIECE_MODELS.into_iter().chain(VOCABULARIES);
    names
        .filter(|name| !has_other && !TOKENIZERS.contains(name))
        .collect()
}

/// The files that a tokenizer may be in, by transformers' names.
pub(super) const TOKENIZERS: [&str; 3] = ["spiece.model", "tokenizer.json", "vocab.txt"];

/// Each is a complete set of weights or an index of its shards; the first available one is used.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// The files of a repository or of a snapshot of it.
pub(super) trait Files {
    /// Returns what is known of a file.
    fn presence(&self, file: &str) -> Presence;

    /// Returns the names of all files.
    fn names(&self) -> Vec<String>;

    fn has(&self, file: &str) -> bool {
        self.presence(file) == Presence::Present
    }
}

/// The files of a network by their names in its folder: that of the repository, or one below in
/// repositories that sentence-transformers saved before 2.0.
pub(super) struct Network<'a, F> {
    files: &'a F,
    folder: Option<String>,
}

impl<'a, F: Files> Network<'a, F> {
    /// Takes the network that a list of modules names, if there is a list.
    pub(super) fn new(files: &'a F, modules: Option<&Value>) -> Self {
        let folder = modules.and_then(network_folder);
        Self { files, folder }
    }

    /// Returns the path of a file in the repository.
    pub(super) fn path(&self, file: &str) -> String {
        match &self.folder {
            Some(folder) if !matches!(file, MODULES | SENTENCE_SETTINGS) => {
                format!("{folder}/{file}")
            }
            _ => file.to_string(),
        }
    }
}

impl<F: Files> Files for Network<'_, F> {
    fn presence(&self, file: &str) -> Presence {
        self.files.presence(&self.path(file))
    }

    fn names(&self) -> Vec<String> {
        let names = self.files.names();
        let Some(folder) = &self.folder else {
            return names;
        };
        let below = |name: &String| {
            let name = name.strip_prefix(folder.as_str())?.strip_prefix('/')?;
            Some(name.to_string())
        };
        names.iter().filter_map(below).collect()
    }
}

/// The weights of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Weights {
    /// These files.
    Files(Vec<String>),
    /// The parts that this index names.
    Index(&'static str),
    /// None that can be read.
    None,
}

/// Returns the weights to use: safetensors before PyTorch before TensorFlow.
pub(super) fn weights(files: &impl Files) -> Weights {
    match WEIGHTS.into_iter().find(|file| files.has(file)) {
        Some(index) if index.ends_with(".index.json") => Weights::Index(index),
        Some(file) => Weights::Files(vec![file.to_string()]),
        None => match bundle(&files.names()) {
            bundle if bundle.is_empty() => Weights::None,
            bundle => Weights::Files(bundle),
        },
    }
}

/// Returns the files of a TensorFlow checkpoint: `model.ckpt-best` before the one with the highest number of steps.
fn bundle(names: &[String]) -> Vec<String> {
    let stem = |name: &String| Some(name.strip_suffix(".index")?.to_string());
    let steps = |stem: &String| match stem.rsplit_once('-') {
        Some((_, "best")) => u64::MAX,
        Some((_, steps)) => steps.parse().unwrap_or(0),
        None => 0,
    };
    let data = |stem: &str| {
        let prefix = format!("{stem}.data-");
        names
            .iter()
            .filter(|name| name.starts_with(&prefix))
            .cloned()
            .collect::<Vec<_>>()
    };
    // `.data-00000-of-00002`: of two, both.
    let is_whole = |stem: &String| {
        let data = data(stem);
        let of = data
            .first()
            .and_then(|name| name.rsplit_once("-of-")?.1.parse().ok());
        stem.starts_with("model.ckpt") && of == Some(data.len())
    };
    let Some(stem) = names
        .iter()
        .filter_map(stem)
        .filter(is_whole)
        .max_by_key(steps)
    else {
        return Vec::new();
    };
    let mut files = data(&stem);
    files.push(format!("{stem}.index"));
    files
}

/// Returns the parts that an index names.
pub(super) fn parts(index: &Value) -> Vec<String> {
    let map = index.get("weight_map").and_then(Value::as_object);
    let mut parts: Vec<String> = map
        .into_iter()
        .flat_map(|map| map.values())
        .filter_map(Value::as_str)
        .map(String::from)
        .collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// Lists the files that sentence-transformers' modules may keep in their folders.
pub(super) fn module_files(modules: &Value) -> Vec<ModuleFiles> {
    let modules = modules.as_array().map(Vec::as_slice).unwrap_or_default();
    let kind = |module: &&Value| {
        module
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_string()
    };
    // Normalize has nothing to keep.
    let modules = modules
        .iter()
        .filter(|module| !kind(module).ends_with(".Normalize"));
    let folders = modules.filter_map(|module| module.get("path")?.as_str());
    // A path that leaves the folder is refused by who reads modules.json, by name.
    let inside = folders.filter(|folder| !folder.is_empty() && stays_inside(folder));
    inside
        .map(|folder| {
            let folder = folder.trim_start_matches("./").trim_end_matches('/');
            ModuleFiles {
                config: format!("{folder}/config.json"),
                weights: [
                    format!("{folder}/model.safetensors"),
                    format!("{folder}/pytorch_model.bin"),
                ],
            }
        })
        .collect()
}

/// The files of one module.
#[derive(Debug, PartialEq)]
pub(super) struct ModuleFiles {
    pub(super) config: String,
    /// The first of these that exists holds the weights; most modules have none.
    pub(super) weights: [String; 2],
}

/// Lists the weights of a repository without usable ones, for the error that says so.
pub(super) fn other_weights(names: &[String]) -> String {
    const OTHERS: [&str; 8] = [
        ".h5", ".msgpack", ".onnx", ".ot", ".tflite", ".gguf", ".mlmodel", ".ckpt",
    ];
    let is_other = |name: &&String| {
        OTHERS.iter().any(|ending| name.ends_with(ending)) || name.starts_with("openvino/")
    };
    let found: Vec<_> = names
        .iter()
        .filter(is_other)
        .take(5)
        .map(|name| format!("`{name}`"))
        .collect();
    if found.is_empty() {
        "found none".to_string()
    } else {
        format!("found {}", found.join(", "))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::super::completeness::{Completeness, completeness};
    use super::*;

    /// A list of files, and the presence of all others.
    pub(in crate::hub) struct Names(
        pub(in crate::hub) &'static [&'static str],
        pub(in crate::hub) Presence,
    );

    impl Files for Names {
        fn presence(&self, file: &str) -> Presence {
            if self.0.contains(&file) {
                Presence::Present
            } else {
                self.1
            }
        }

        fn names(&self) -> Vec<String> {
            self.0.iter().map(|name| name.to_string()).collect()
        }
    }

    fn chosen(names: &'static [&'static str]) -> Weights {
        weights(&Names(names, Presence::Absent))
    }

    fn only(files: &[&str]) -> Weights {
        Weights::Files(files.iter().map(|file| file.to_string()).collect())
    }

    #[test]
    fn one_set_of_weights_is_taken_and_never_another_frameworks() {
        let all = &[
            "tf_model.h5",
            "flax_model.msgpack",
            "onnx/model.onnx",
            "rust_model.ot",
            "a.safetensors",
        ];
        assert_eq!(chosen(all), Weights::None);
        assert_eq!(
            chosen(&["pytorch_model.bin", "model.safetensors"]),
            only(&["model.safetensors"])
        );
        assert_eq!(
            chosen(&["pytorch_model.bin", "model.safetensors.index.json"]),
            Weights::Index("model.safetensors.index.json")
        );
        assert_eq!(
            chosen(&["pytorch_model.bin", "training_args.bin"]),
            only(&["pytorch_model.bin"])
        );
        assert_eq!(
            chosen(&["model.onnx", "pytorch_model.bin.index.json"]),
            Weights::Index(WEIGHTS[3])
        );
    }

    #[test]
    fn of_tensorflows_checkpoints_the_best_or_the_last_is_taken() {
        let names = &[
            "model.ckpt-900.index",
            "model.ckpt-900.data-00000-of-00001",
            "model.ckpt-1000.index",
            "model.ckpt-1000.data-00000-of-00001",
            "model.ckpt-1000.meta",
        ];
        assert_eq!(
            chosen(names),
            only(&[
                "model.ckpt-1000.data-00000-of-00001",
                "model.ckpt-1000.index"
            ])
        );
        let best = &[
            "model.ckpt-1.index",
            "model.ckpt-1.data-00000-of-00001",
            "model.ckpt-best.index",
            "model.ckpt-best.data-00000-of-00002",
            "model.ckpt-best.data-00001-of-00002",
        ];
        assert!(
            matches!(chosen(best), Weights::Files(files) if files.len() == 3 && files[2] == best[2])
        );
        assert_eq!(
            chosen(&best[..4]),
            only(&["model.ckpt-1.data-00000-of-00001", "model.ckpt-1.index"])
        );
        assert_eq!(chosen(&best[2..4]), Weights::None);
    }

    #[test]
    fn modules_name_their_files_and_do_not_leave_the_folder() {
        let modules = json!([
            {"path": ""}, {"path": "1_Pooling"}, {"path": "../x"}, {"path": "./2_Dense/"}, {"type": "x"},
            {"path": "3_Normalize", "type": "sentence_transformers.models.Normalize"},
        ]);
        let configs: Vec<_> = module_files(&modules)
            .into_iter()
            .map(|module| module.config)
            .collect();
        assert_eq!(configs, ["1_Pooling/config.json", "2_Dense/config.json"]);
        assert_eq!(module_files(&json!({"path": "a"})), []);
    }

    #[test]
    fn a_network_may_have_a_folder_of_its_own() {
        let names = &[
            "modules.json",
            "config.json",
            "0_Transformer/config.json",
            "0_Transformer/pytorch_model.bin",
            "0_Transformer/vocab.txt",
            "1_Pooling/config.json",
        ];
        let kind = "sentence_transformers.models.Transformer";
        let modules = json!([{"path": "0_Transformer", "type": kind}, {"path": "1_Pooling"}]);
        let files = Names(names, Presence::Absent);
        let network = Network::new(&files, Some(&modules));
        assert_eq!(weights(&network), only(&["pytorch_model.bin"]));
        assert_eq!(network.path("vocab.txt"), names[4]);
        assert_eq!(network.path("modules.json"), "modules.json");
        let read = |file: &str| (file == MODULES).then(|| modules.clone());
        assert_eq!(completeness(&files, read), Completeness::Whole);
        let lacks = completeness(&Names(&names[..3], Presence::Unknown), read);
        assert_eq!(
            lacks,
            Completeness::Lacks("the cache lacks the weights".to_string())
        );
    }

    #[test]
    fn an_index_names_its_parts_once() {
        let index = json!({"weight_map": {"a": "2", "b": "1", "c": "2", "d": 3}});
        assert_eq!(parts(&index), ["1", "2"]);
        assert!(parts(&json!([])).is_empty());
    }

    #[test]
    fn a_repository_without_weights_says_what_it_has() {
        let names: Vec<_> = ["config.json", "tf_model.h5", "onnx/model.onnx"]
            .map(String::from)
            .to_vec();
        assert_eq!(
            other_weights(&names),
            "found `tf_model.h5`, `onnx/model.onnx`"
        );
        assert_eq!(other_weights(&names[..1]), "found none");
    }
}

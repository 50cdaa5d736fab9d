//! The check of a cached snapshot for completeness, by the rules that select files to download.

use serde_json::Value;

use super::cache::Presence;
use super::selection::{
    Files, Network, TOKENIZERS, Weights, googles_tokenizers, module_files, parts, small, weights,
};
use crate::files::MODULES;

/// The completeness of a snapshot.
#[derive(Debug, PartialEq)]
pub(super) enum Completeness {
    /// The snapshot has all files that the Hub has and the model needs.
    Whole,
    /// It can run, but the Hub may have these further files.
    Usable(Vec<String>),
    /// It lacks this.
    Lacks(String),
}

/// Checks a snapshot; `read` returns one of its files as JSON.
pub(super) fn completeness(
    files: &impl Files,
    read: impl Fn(&str) -> Option<Value>,
) -> Completeness {
    let modules = read(MODULES);
    let network = Network::new(files, modules.as_ref());
    let lacks = |file: &str| Completeness::Lacks(format!("the cache lacks `{file}`"));
    if !network.has("config.json") && !network.has("albert_config.json") {
        return lacks(&network.path("config.json"));
    }
    let weights = match weights(&network) {
        Weights::Files(names) => names,
        Weights::Index(index) => match read(&network.path(index)) {
            Some(index) => parts(&index),
            None => return lacks(&network.path(index)),
        },
        Weights::None => return Completeness::Lacks("the cache lacks the weights".to_string()),
    };
    if let Some(part) = weights.iter().find(|part| !network.has(part)) {
        return lacks(&network.path(part));
    }
    let unknown = |file: &str| network.presence(file) == Presence::Unknown;
    // Without config.json, Google's name for it decides; next to it, it is not read.
    let small = small(&network)
        .into_iter()
        .filter(|&file| file != "albert_config.json" || !network.has("config.json"));
    let mut missing: Vec<String> = small
        .filter(|file| unknown(file))
        .map(|file| network.path(file))
        .collect();
    let mut tokenizers = TOKENIZERS.into_iter().chain(googles_tokenizers(&network));
    if !tokenizers.clone().any(|file| network.has(file)) && tokenizers.any(unknown) {
        return Completeness::Lacks("the cache lacks the tokenizer".to_string());
    }
    for module in modules.iter().flat_map(module_files) {
        if files.presence(&module.config) == Presence::Unknown {
            return lacks(&module.config);
        }
        // Of the two, the second only matters where the first is known not to be.
        match module.weights.each_ref().map(|file| files.presence(file)) {
            [Presence::Unknown, Presence::Absent | Presence::Unknown]
            | [Presence::Absent, Presence::Unknown] => {
                missing.push(module.weights[0].clone());
            }
            _ => {}
        }
    }
    if missing.is_empty() {
        Completeness::Whole
    } else {
        Completeness::Usable(missing)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::selection::tests::Names;
    use super::*;

    #[test]
    fn a_snapshot_is_whole_only_if_everything_is_known() {
        let base = &["config.json", "model.safetensors", "tokenizer.json"];
        let none = |_: &str| None;
        assert_eq!(
            completeness(&Names(base, Presence::Absent), none),
            Completeness::Whole
        );
        let Completeness::Usable(unknown) = completeness(&Names(base, Presence::Unknown), none)
        else {
            panic!("expected it to be usable")
        };
        assert!(unknown.contains(&"modules.json".to_string()), "{unknown:?}");
        assert!(
            !unknown.contains(&"albert_config.json".to_string()),
            "{unknown:?}"
        );
        let lacks =
            |names: &'static [&'static str]| completeness(&Names(names, Presence::Unknown), none);
        assert_eq!(
            lacks(&base[1..]),
            Completeness::Lacks("the cache lacks `config.json`".to_string())
        );
        assert_eq!(
            lacks(&["config.json"]),
            Completeness::Lacks("the cache lacks the weights".to_string())
        );
        assert_eq!(
            lacks(&base[..2]),
            Completeness::Lacks("the cache lacks the tokenizer".to_string())
        );
        let pooling = |_: &str| Some(json!([{"path": "1_Pooling"}]));
        let without = completeness(&Names(base, Presence::Unknown), pooling);
        assert_eq!(
            without,
            Completeness::Lacks("the cache lacks `1_Pooling/config.json`".to_string())
        );
    }
}

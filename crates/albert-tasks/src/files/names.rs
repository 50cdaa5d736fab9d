//! The names of a model's files and of models on the Hub.

use std::path::{Component, Path};

/// The small files that describe tokenization, pooling and labels.
pub(crate) const COMPANIONS: [&str; 10] = [
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    MODULES,
    "sentence_bert_config.json",
    "sentence_albert_config.json",
    SENTENCE_SETTINGS,
];

/// The list of sentence-transformers' modules.
pub(crate) const MODULES: &str = "modules.json";

/// sentence-transformers' prompts and the width of its vectors.
pub(crate) const SENTENCE_SETTINGS: &str = "config_sentence_transformers.json";

/// The names of SentencePiece's model, in order of preference: that of transformers, of Google's
/// archives, and of a TensorFlow Hub module.
pub(crate) const SPIECE_MODELS: [&str; 3] =
    ["spiece.model", "30k-clean.model", "assets/30k-clean.model"];

/// The names of a WordPiece vocabulary, in order of preference.
pub(crate) const VOCABULARIES: [&str; 4] = [
    "vocab.txt",
    "vocab_chinese.txt",
    "assets/vocab_chinese.txt",
    "assets/vocab.txt",
];

/// The other files of a tokenizer.
const TOKENIZER_FILES: [&str; 4] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
];

/// Returns true for the name of a tokenizer's file.
pub(super) fn is_tokenizers(file: &str) -> bool {
    SPIECE_MODELS.contains(&file) || VOCABULARIES.contains(&file) || TOKENIZER_FILES.contains(&file)
}

/// Returns true if a relative path only descends. Symbolic links are followed, because download
/// caches consist of them.
pub(crate) fn stays_inside(path: &str) -> bool {
    let windows_escape = path.contains('\\') || path.contains(':');
    !windows_escape
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// Returns true for `owner/model`, or an old name without an owner, in the characters that the Hub
/// allows.
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
    fn a_name_of_the_hub_is_made_of_what_the_hub_allows() {
        for id in ["albert/albert-base-v2", "albert-base-v2", "a/b_c.d-1"] {
            assert!(looks_like_hub_id(id), "{id}");
        }
        for id in [
            "", "/", "a/", "/a", "a/b/c", ".", "..", "./a", "../a", "a/..", "a--b", "a b", "a\\b",
            "C:a", "é",
        ] {
            assert!(!looks_like_hub_id(id), "{id}");
        }
    }
}

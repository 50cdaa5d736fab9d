//! Every spelling of a tensor's name, turned into the one spelling.
//!
//! The one spelling is that of transformers' headed models: `albert.…` for the encoder, the
//! heads beside it. The scheme of a file is decided once, from all of its names; after that every
//! name is looked up strictly, so that a wrong shape is never reported as a missing name.

use std::collections::BTreeMap;

use crate::checkpoint::safetensors::WeightFiles;
use crate::config::AlbertConfig;
use crate::error::{Error, Result};

/// The first parts of the encoder's names in files of a bare `AlbertModel`, which lack `albert.`.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "pooler."];

/// The name of each tensor in the one spelling, with the file's own.
pub(super) fn canonical(config: &AlbertConfig, files: &WeightFiles) -> Result<BTreeMap<String, String>> {
    let stored: Vec<&str> = files.tensors().map(|(name, _)| name).collect();
    let is_bare = !stored.iter().any(|name| name.starts_with("albert."));
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for name in &stored {
        let canonical = spell(name, is_bare);
        if let Some(first) = names.insert(canonical.clone(), name.to_string()) {
            let file = files.name();
            return Err(Error::DuplicateTensor { file, first, second: name.to_string(), name: canonical });
        }
    }
    // Some files hold the decoder's bias under one of its two names only.
    let decoder_bias = names.get("predictions.decoder.bias").cloned();
    if let Some(stored) = decoder_bias
        && !names.contains_key("predictions.bias")
    {
        names.remove("predictions.decoder.bias");
        names.insert("predictions.bias".into(), stored);
    }
    if config.tie_word_embeddings {
        names.remove("predictions.decoder.weight");
    }
    Ok(names)
}

fn spell(stored: &str, is_bare: bool) -> String {
    let mut name = stored.to_string();
    // Checkpoints converted before 2019 call the norm's tensors as TensorFlow does.
    for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] {
        if let Some(norm) = name.strip_suffix(old) {
            name = format!("{norm}{new}");
        }
    }
    if is_bare && BARE.iter().any(|part| name.starts_with(part)) {
        name.insert_str(0, "albert.");
    }
    name
}

/// Whether the name differs by more than the missing `albert.` of a bare model.
pub(super) fn is_renamed(stored: &str, canonical: &str) -> bool {
    stored != canonical && canonical.strip_prefix("albert.") != Some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_old_names_get_the_one_spelling() {
        let norm = "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm";
        assert_eq!(spell(&format!("{norm}.gamma"), true), format!("albert.{norm}.weight"));
        assert_eq!(spell("albert.embeddings.LayerNorm.beta", false), "albert.embeddings.LayerNorm.bias");
        assert_eq!(spell("predictions.bias", true), "predictions.bias");
    }

    #[test]
    fn a_bare_models_names_do_not_count_as_renamed() {
        assert!(!is_renamed("pooler.weight", "albert.pooler.weight"));
        assert!(is_renamed("predictions.LayerNorm.gamma", "predictions.LayerNorm.weight"));
    }
}

//! The naming scheme of a file: Google's or Hugging Face's, and the prefix before the names.

use crate::checkpoint::bert;
use crate::checkpoint::files::WeightFiles;
use crate::checkpoint::tensorflow;
use crate::error::{Error, Result};
use crate::parameters::ALBERT;

/// The first parts of encoder names in files of a bare `AlbertModel`, which lack `albert.`.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "pooler."];
/// The first parts of the heads' names.
const HEADS: [&str; 5] = [
    "cls.",
    "predictions.",
    "classifier.",
    "qa_outputs.",
    "sop_classifier.",
];
/// Common names of an ALBERT inside a larger model, whose heads are next to it.
const MODELS: [&str; 4] = ["albert", "bert", "plbert", "encoder"];
/// The prefixes of wrappers such as DataParallel, Lightning and torch.compile.
const WRAPPERS: [&str; 5] = ["module", "model", "net", "state_dict", "_orig_mod"];

/// Tensors of every ALBERT; the part of the name before them is the root of the encoder.
pub(super) const LANDMARKS: [&str; 2] = [
    "embeddings.word_embeddings.weight",
    "encoder.embedding_hidden_mapping_in.weight",
];

/// The naming scheme of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scheme<'a> {
    /// Google's of ALBERT: `bert/encoder/transformer/group_0/…`, or the same with dots.
    Google,
    /// Google's of BERT: `bert/encoder/layer_0/…`.
    GoogleBert,
    /// Hugging Face's.
    HuggingFace {
        /// The root of the encoder's names.
        root: &'a str,
        /// The root of the heads' names.
        outer: &'a str,
    },
}

impl<'a> Scheme<'a> {
    /// Determines the scheme from all names in a file.
    pub(super) fn find(stored: &[&'a str], files: &WeightFiles) -> Result<Self> {
        let is_googles = |name: &&str| {
            (name.contains("transformer/group_") || name.contains("transformer.group."))
                && tensorflow::canonical(name).is_some()
        };
        if stored.iter().any(is_googles) {
            return Ok(Self::Google);
        }
        if stored
            .iter()
            .any(|name| name.contains('/') && bert::is_of_layer(name))
        {
            return Ok(Self::GoogleBert);
        }
        for landmark in LANDMARKS {
            let with_root = |name: &&'a str| {
                let root = name.strip_suffix(landmark)?;
                (root.is_empty() || root.ends_with('.')).then_some(root)
            };
            let roots: Vec<&str> = stored.iter().filter_map(with_root).collect();
            let known: Vec<&str> = roots
                .iter()
                .copied()
                .filter(|root| is_known(root))
                .collect();
            let candidates = if known.is_empty() { roots } else { known };
            match candidates[..] {
                [] => {}
                [root] => return Ok(Self::under(root, stored)),
                [first, second, ..] => {
                    return Err(Error::DuplicateTensor {
                        file: files.name(),
                        first: format!("{first}{landmark}"),
                        second: format!("{second}{landmark}"),
                        name: format!("albert.{landmark}"),
                    });
                }
            }
        }
        let is_bare = !stored.iter().any(|name| name.starts_with("albert."));
        Ok(Self::under(if is_bare { "" } else { "albert." }, stored))
    }

    /// Returns the scheme with the encoder under `root`.
    fn under(root: &'a str, stored: &[&str]) -> Self {
        let trimmed = root.trim_end_matches('.');
        let inner = trimmed.rsplit('.').next().unwrap_or_default();
        let parent = &trimmed[..trimmed.len() - inner.len()];
        let has_heads = |outer: &str| {
            let is_head = |rest: &str| HEADS.iter().any(|head| rest.starts_with(head));
            stored
                .iter()
                .any(|name| name.strip_prefix(outer).is_some_and(is_head))
        };
        let outer = match (has_heads(root), has_heads(parent)) {
            (true, false) => root,
            (false, true) => parent,
            _ if MODELS.contains(&inner) => parent,
            _ => root,
        };
        Self::HuggingFace { root, outer }
    }

    /// Returns the canonical name of a tensor.
    pub(super) fn spell(&self, stored: &str, is_bert: bool) -> String {
        let name;
        let (stored, root, outer) = match self {
            Self::Google => match tensorflow::canonical(stored) {
                Some(name) => return name,
                None => (stored, "", "module."),
            },
            Self::GoogleBert => {
                name = bert::from_tensorflow(stored);
                (name.as_str(), "bert.", "")
            }
            Self::HuggingFace { root, outer } => (stored, *root, *outer),
        };
        let name = match stored.strip_prefix(root) {
            Some(rest) if BARE.iter().any(|part| rest.starts_with(part)) => is_bert
                .then(|| bert::encoder_name(rest))
                .flatten()
                .unwrap_or_else(|| format!("{ALBERT}.{rest}")),
            _ => {
                let name = stored.strip_prefix(outer).unwrap_or(stored);
                is_bert
                    .then(|| bert::head_name(name))
                    .flatten()
                    .unwrap_or_else(|| name.to_string())
            }
        };
        // Checkpoints converted before 2019 use TensorFlow's names for the norm's tensors.
        for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] {
            if let Some(norm) = name.strip_suffix(old) {
                return format!("{norm}{new}");
            }
        }
        name
    }
}

/// Returns true for a common prefix of code or wrappers.
fn is_known(root: &str) -> bool {
    let known = |part| MODELS.contains(&part) || WRAPPERS.contains(&part);
    root.is_empty()
        || root
            .strip_suffix('.')
            .is_some_and(|root| root.split('.').all(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_old_names_become_canonical() {
        let norm = "encoder.albert_layer_groups.0.albert_layers.0.full_layer_layer_norm";
        let (bare, headed) = (Scheme::under("", &[]), Scheme::under("albert.", &[]));
        assert_eq!(
            bare.spell(&format!("{norm}.gamma"), false),
            format!("albert.{norm}.weight")
        );
        assert_eq!(
            headed.spell("albert.embeddings.LayerNorm.beta", false),
            "albert.embeddings.LayerNorm.bias"
        );
        assert_eq!(bare.spell("predictions.bias", false), "predictions.bias");
    }

    #[test]
    fn a_wrapper_is_removed_from_the_heads_too() {
        let cases = [
            (
                "module.albert.",
                "module.albert.pooler.bias",
                "albert.pooler.bias",
            ),
            (
                "module.albert.",
                "module.classifier.bias",
                "classifier.bias",
            ),
            (
                "model.module.bert.",
                "model.module.bert.encoder.x",
                "albert.encoder.x",
            ),
            ("module.", "module.embeddings.x", "albert.embeddings.x"),
            ("module.", "module.predictions.bias", "predictions.bias"),
            (
                "module.encoder.",
                "module.encoder.encoder.x",
                "albert.encoder.x",
            ),
            (
                "module.encoder.",
                "module.mask_predictor.weight",
                "mask_predictor.weight",
            ),
            ("bert.", "classifier.bias", "classifier.bias"),
            ("0.auto_model.", "0.auto_model.pooler.x", "albert.pooler.x"),
            (
                "student.core.",
                "student.classifier.bias",
                "classifier.bias",
            ),
            ("core.", "core.classifier.bias", "classifier.bias"),
        ];
        for (root, stored, expected) in cases {
            assert_eq!(
                Scheme::under(root, &[stored]).spell(stored, false),
                expected,
                "{stored} under {root}"
            );
        }
    }
}

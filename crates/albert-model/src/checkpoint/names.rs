//! Converts the tensor names of all file layouts to canonical names.
//!
//! Canonical names are those of transformers' models with heads: `albert.…` for the encoder, with
//! the heads next to it. Any prefix before a known tensor is removed. The naming scheme of a file
//! is determined once, from all of its names; after that every name is looked up strictly, so that
//! a wrong shape is never reported as a missing name.

use std::collections::BTreeMap;

use crate::checkpoint::bert;
use crate::checkpoint::files::WeightFiles;
use crate::checkpoint::tensorflow;
use crate::config::{AlbertConfig, ModelType};
use crate::error::{Error, Result, shown};
use crate::parameters::{
    ALBERT, DECODER_BIAS, DECODER_WEIGHT, GROUPS, MASKED_LM_BIAS, WORD_EMBEDDINGS,
};

/// The first parts of encoder names in files of a bare `AlbertModel`, which lack `albert.`.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "pooler."];

/// Tensors of every ALBERT; the part of the name before them is the root of the encoder.
const LANDMARKS: [&str; 2] = [
    "embeddings.word_embeddings.weight",
    "encoder.embedding_hidden_mapping_in.weight",
];
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
/// The maximum number of names that an error about a foreign file lists.
const NAMES_SHOWN: usize = 6;

/// Tensors of brightmart's own network, which is called ALBERT but has other layers.
const BRIGHTMART: [&str; 2] = ["layer_shared", "word_embeddings_2"];

/// The canonical name of each tensor, with its name in the file.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) stored: BTreeMap<String, String>,
    /// Like `names`, for tensors that are not read because they are tied to others.
    pub(super) copies: BTreeMap<String, String>,
    /// True for the names of Google's ALBERT, which lacks the projection if E = H.
    pub(super) are_googles: bool,
    /// True for the names of a BERT.
    pub(super) are_berts: bool,
    /// The prefix that was removed, and the tensors that were ignored.
    pub(super) choices: Vec<String>,
}

/// The naming scheme of a file.
#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
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

impl Names {
    pub(super) fn read(config: &AlbertConfig, files: &WeightFiles) -> Result<Self> {
        let stored: Vec<&str> = files.tensors().map(|(name, _)| name).collect();
        refuse_brightmart(&stored, files)?;
        let scheme = Scheme::find(&stored, files)?;
        let are_berts = stored.iter().any(|name| bert::is_of_layer(name));
        refuse_other_network(&stored, are_berts, config, files)?;
        let are_googles = matches!(scheme, Scheme::Google | Scheme::GoogleBert);
        let mut names = Self {
            are_googles: scheme == Scheme::Google,
            are_berts,
            ..Self::default()
        };
        let slots = stored
            .iter()
            .filter(|name| are_googles && tensorflow::is_slot(name))
            .count();
        for name in stored {
            if are_googles && tensorflow::is_slot(name) {
                continue;
            }
            let canonical = scheme.spell(name, are_berts);
            if let Some(first) = names.stored.insert(canonical.clone(), name.to_string()) {
                let file = files.name();
                return Err(Error::DuplicateTensor {
                    file,
                    first,
                    second: name.to_string(),
                    name: canonical,
                });
            }
        }
        match scheme {
            Scheme::Google => names
                .choices
                .push("names: Google's, turned into Hugging Face's".into()),
            Scheme::GoogleBert => names
                .choices
                .push("names: Google's of BERT, turned into Hugging Face's".into()),
            Scheme::HuggingFace {
                root: "" | "albert.",
                ..
            } => {}
            Scheme::HuggingFace { root: "bert.", .. } if are_berts => {}
            Scheme::HuggingFace { root, .. } => {
                names.choices.push(format!("names: `{root}` removed"))
            }
        }
        if slots > 0 {
            let choice = format!(
                "ignored: {slots} tensors of the optimizer (`adam_m`, `global_step` and such)"
            );
            names.choices.push(choice);
        }
        names.settle_decoder(config);
        Ok(names)
    }

    fn settle_decoder(&mut self, config: &AlbertConfig) {
        let names = &mut self.stored;
        if let Some(stored) = names.remove(DECODER_BIAS) {
            // Some files only hold the bias under this one of its two names.
            if names.contains_key(MASKED_LM_BIAS) {
                self.copies.insert(DECODER_BIAS.into(), stored);
            } else {
                names.insert(MASKED_LM_BIAS.into(), stored);
            }
        }
        if config.tie_word_embeddings
            && let Some(stored) = names.remove(DECODER_WEIGHT)
        {
            self.copies.insert(DECODER_WEIGHT.into(), stored);
        }
    }
}

fn refuse_brightmart(stored: &[&str], files: &WeightFiles) -> Result<()> {
    let foreign = |name: &&&str| {
        name.split(['/', '.'])
            .any(|part| BRIGHTMART.contains(&part))
    };
    let Some(name) = stored.iter().find(foreign) else {
        return Ok(());
    };
    Err(Error::Refused {
        file: files.name(),
        why: format!(
            "holds `{}`: brightmart's own network, which adds position embeddings H wide to embeddings \
             projected without a bias, is not ALBERT as published; Google's and its `google` models are read",
            shown(name)
        ),
    })
}

impl<'a> Scheme<'a> {
    fn find(stored: &[&'a str], files: &WeightFiles) -> Result<Self> {
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
    fn spell(&self, stored: &str, is_bert: bool) -> String {
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

/// Refuses weights of a network other than the one that the configuration describes, by the names
/// of their tensors.
fn refuse_other_network(
    stored: &[&str],
    are_berts: bool,
    config: &AlbertConfig,
    files: &WeightFiles,
) -> Result<()> {
    let roots = || {
        stored
            .iter()
            .filter_map(|name| name.strip_suffix(LANDMARKS[0]))
    };
    let other = |root: &str| root.split('.').find_map(ModelType::other_by_module);
    // A larger model may hold another network next to an ALBERT.
    if let Some(why) = roots().find_map(other)
        && roots().all(|root| other(root).is_some())
    {
        return Err(Error::Refused {
            file: files.name(),
            why: format!("holds neither an ALBERT nor a BERT: {why}, which is not supported"),
        });
    }
    let are_alberts = stored
        .iter()
        .any(|name| name.contains(&format!("{GROUPS}.")) || name.contains("transformer/group_"));
    let found = match (are_berts, are_alberts) {
        (true, false) => ModelType::Bert,
        (false, true) => ModelType::Albert,
        _ => return Ok(()),
    };
    if found == config.model_type {
        return Ok(());
    }
    Err(Error::Refused {
        file: files.name(),
        why: format!(
            "holds {}, and its configuration describes {}: expected `model_type` \"{}\"",
            found.with_article(),
            config.model_type.with_article(),
            found.name()
        ),
    })
}

/// Returns the error for a file without any tensor of the network, which lists the tensors that it
/// has.
pub(super) fn foreign(model_type: ModelType, files: &WeightFiles) -> Error {
    let stored: Vec<&str> = files.tensors().map(|(name, _)| name).collect();
    let mut found: Vec<String> = stored
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| format!("`{}`", shown(name)))
        .collect();
    if stored.len() > NAMES_SHOWN {
        found.push(format!("{} more", stored.len() - NAMES_SHOWN));
    }
    let found = if found.is_empty() {
        "no tensor".to_string()
    } else {
        found.join(", ")
    };
    let expected = match model_type {
        ModelType::Albert => WORD_EMBEDDINGS.to_string(),
        ModelType::Bert => bert::to_bert(WORD_EMBEDDINGS),
    };
    Error::Refused {
        file: files.name(),
        why: format!(
            "is not {} checkpoint: expected `{expected}` after any prefix, found {found}",
            model_type.with_article()
        ),
    }
}

/// Returns true if the name differs from that in transformers' files by more than the `albert.` or
/// `bert.` that a bare model lacks.
pub(super) fn is_renamed(stored: &str, canonical: &str, is_bert: bool) -> bool {
    let (name, root) = if is_bert {
        (bert::to_bert(canonical), "bert.")
    } else {
        (canonical.to_string(), "albert.")
    };
    stored != name && name.strip_prefix(root) != Some(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_and_old_names_get_the_one_spelling() {
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
    fn a_wrapper_is_taken_off_the_heads_too() {
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

    #[test]
    fn a_bare_models_names_do_not_count_as_renamed() {
        assert!(!is_renamed("pooler.weight", "albert.pooler.weight", false));
        assert!(is_renamed(
            "predictions.LayerNorm.gamma",
            "predictions.LayerNorm.weight",
            false
        ));
    }
}

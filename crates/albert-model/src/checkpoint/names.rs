//! Every spelling of a tensor's name, turned into the one spelling.
//!
//! The one spelling is that of transformers' headed models: `albert.…` for the encoder, the
//! heads beside it. The scheme of a file is decided once, from all of its names; after that every
//! name is looked up strictly, so that a wrong shape is never reported as a missing name.

use std::collections::BTreeMap;

use crate::checkpoint::files::WeightFiles;
use crate::checkpoint::tensorflow;
use crate::config::AlbertConfig;
use crate::error::{Error, Result, shown};
use crate::parameters::{DECODER_BIAS, DECODER_WEIGHT, MASKED_LM_BIAS};

/// The first parts of the encoder's names in files of a bare `AlbertModel`, which lack `albert.`.
const BARE: [&str; 3] = ["embeddings.", "encoder.", "pooler."];

/// Tensors that tell by what stands before them where the encoder is.
const LANDMARKS: [&str; 2] = [
    "embeddings.word_embeddings.weight",
    "encoder.embedding_hidden_mapping_in.weight",
];
/// What code calls an ALBERT inside a larger model: heads stand beside it.
const MODELS: [&str; 4] = ["albert", "bert", "plbert", "encoder"];
/// What wrappers put before all names: DataParallel, Lightning, torch.compile and the like.
const WRAPPERS: [&str; 5] = ["module", "model", "net", "state_dict", "_orig_mod"];

/// The tensors of brightmart's own network, which shares ALBERT's name and not its layers.
const BRIGHTMART: [&str; 2] = ["layer_shared", "word_embeddings_2"];

/// The name of each tensor in the one spelling, with the file's own.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) stored: BTreeMap<String, String>,
    /// The same for tensors that are not read, because they are tied to others.
    pub(super) copies: BTreeMap<String, String>,
    /// Whether the file speaks of Google's graph, which lacks the projection where E = H.
    pub(super) are_googles: bool,
    /// What was taken off, and what was left out.
    pub(super) choices: Vec<String>,
}

/// How a file's names are to be read.
#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
    /// `bert/encoder/transformer/group_0/…`, or the same with dots.
    Google,
    /// Hugging Face's.
    HuggingFace {
        /// What stands before the encoder's names.
        root: &'a str,
        /// What stands before those of heads.
        outer: &'a str,
    },
}

impl Names {
    pub(super) fn of(config: &AlbertConfig, files: &WeightFiles) -> Result<Self> {
        let stored: Vec<&str> = files.tensors().map(|(name, _)| name).collect();
        refuse_brightmart(&stored, files)?;
        let scheme = Scheme::of(&stored, files)?;
        let are_googles = scheme == Scheme::Google;
        let mut names = Self {
            are_googles,
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
            let canonical = scheme.spell(name);
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
            Scheme::HuggingFace {
                root: "" | "albert.",
                ..
            } => {}
            Scheme::HuggingFace { root, .. } => {
                names.choices.push(format!("names: `{root}` taken off"))
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
            // Some files hold the bias under this one of its two names only.
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
    fn of(stored: &[&'a str], files: &WeightFiles) -> Result<Self> {
        let is_googles = |name: &&str| {
            (name.contains("transformer/group_") || name.contains("transformer.group."))
                && tensorflow::canonical(name).is_some()
        };
        if stored.iter().any(is_googles) {
            return Ok(Self::Google);
        }
        for landmark in LANDMARKS {
            let mut roots = stored.iter().filter(|name| {
                let root = name.strip_suffix(landmark);
                let known = |part| MODELS.contains(&part) || WRAPPERS.contains(&part);
                root.is_some_and(|root| {
                    root.is_empty()
                        || root
                            .strip_suffix('.')
                            .is_some_and(|root| root.split('.').all(known))
                })
            });
            let Some(name) = roots.next() else { continue };
            if let Some(second) = roots.next() {
                return Err(Error::DuplicateTensor {
                    file: files.name(),
                    first: name.to_string(),
                    second: second.to_string(),
                    name: format!("albert.{landmark}"),
                });
            }
            return Ok(Self::under(&name[..name.len() - landmark.len()]));
        }
        let is_bare = !stored.iter().any(|name| name.starts_with("albert."));
        Ok(Self::under(if is_bare { "" } else { "albert." }))
    }

    /// The scheme with the encoder under `root`.
    fn under(root: &'a str) -> Self {
        let inner = root
            .trim_end_matches('.')
            .rsplit('.')
            .next()
            .unwrap_or_default();
        let outer = if MODELS.contains(&inner) {
            root.strip_suffix('.').unwrap_or(root)
        } else {
            return Self::HuggingFace { root, outer: root };
        };
        Self::HuggingFace {
            root,
            outer: &outer[..outer.len() - inner.len()],
        }
    }

    fn spell(&self, stored: &str) -> String {
        let (root, outer) = match self {
            Self::Google => match tensorflow::canonical(stored) {
                Some(name) => return name,
                None => ("", "module."),
            },
            Self::HuggingFace { root, outer } => (*root, *outer),
        };
        let name = match stored.strip_prefix(root) {
            Some(rest) if BARE.iter().any(|part| rest.starts_with(part)) => {
                format!("albert.{rest}")
            }
            _ => stored.strip_prefix(outer).unwrap_or(stored).to_string(),
        };
        // Checkpoints converted before 2019 call the norm's tensors as TensorFlow does.
        for (old, new) in [(".gamma", ".weight"), (".beta", ".bias")] {
            if let Some(norm) = name.strip_suffix(old) {
                return format!("{norm}{new}");
            }
        }
        name
    }
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
        let (bare, headed) = (Scheme::under(""), Scheme::under("albert."));
        assert_eq!(
            bare.spell(&format!("{norm}.gamma")),
            format!("albert.{norm}.weight")
        );
        assert_eq!(
            headed.spell("albert.embeddings.LayerNorm.beta"),
            "albert.embeddings.LayerNorm.bias"
        );
        assert_eq!(bare.spell("predictions.bias"), "predictions.bias");
    }

    #[test]
    fn what_wraps_a_model_is_taken_off_its_heads_too() {
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
        ];
        for (root, stored, expected) in cases {
            assert_eq!(
                Scheme::under(root).spell(stored),
                expected,
                "{stored} under {root}"
            );
        }
    }

    #[test]
    fn a_bare_models_names_do_not_count_as_renamed() {
        assert!(!is_renamed("pooler.weight", "albert.pooler.weight"));
        assert!(is_renamed(
            "predictions.LayerNorm.gamma",
            "predictions.LayerNorm.weight"
        ));
    }
}

//! Converts the tensor names of all file layouts to canonical names.
//!
//! Canonical names are those of transformers' models with heads: `albert.…` for the encoder, with
//! the heads next to it. Any prefix before a known tensor is removed. The naming scheme of a file
//! is determined once, from all of its names; after that every name is looked up strictly, so that
//! a wrong shape is never reported as a missing name.

use std::collections::BTreeMap;

use crate::checkpoint::bert;
use crate::checkpoint::files::WeightFiles;
use crate::checkpoint::scheme::{LANDMARKS, Scheme};
use crate::checkpoint::tensorflow;
use crate::config::{AlbertConfig, ModelType};
use crate::error::{Error, Result, shown};
use crate::parameters::{DECODER_BIAS, DECODER_WEIGHT, GROUPS, MASKED_LM_BIAS, WORD_EMBEDDINGS};

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
            "holds `{}`, a tensor of brightmart's own network, which differs from the published \
             ALBERT: it projects embeddings without a bias, then adds position embeddings of width \
             H; Google's models and brightmart's `google` models are supported",
            shown(name)
        ),
    })
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
    fn a_bare_models_names_do_not_count_as_renamed() {
        assert!(!is_renamed("pooler.weight", "albert.pooler.weight", false));
        assert!(is_renamed(
            "predictions.LayerNorm.gamma",
            "predictions.LayerNorm.weight",
            false
        ));
    }
}

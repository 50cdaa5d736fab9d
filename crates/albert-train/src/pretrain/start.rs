//! The weights that pretraining starts with.

use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, FlatParameters};
use albert_tasks::albert_model::{AlbertConfig, Head};
use albert_tasks::{ModelFiles, Tokenizer};

use crate::error::{Error, Result};
use crate::examples::PretrainingText;
use crate::layer_groups::with_groups;

/// The initial weights of a run.
#[derive(Debug, Clone)]
pub enum Start {
    /// The weights of a model. Heads that it lacks are drawn.
    Model(ModelFiles),
    /// The weights of a model with a single layer group, copied to this many groups.
    Groups(ModelFiles, usize),
    /// Random weights with the standard deviation `initializer_range`.
    Random(Box<AlbertConfig>),
}

impl Start {
    /// Returns the files of the model that is trained further; `None` for random weights.
    pub(super) fn into_files(self) -> Option<ModelFiles> {
        match self {
            Self::Model(files) | Self::Groups(files, _) => Some(files),
            Self::Random(_) => None,
        }
    }

    /// Returns the parameters with the heads of pretraining, and the tensors that were drawn
    /// because the start lacks them.
    ///
    /// # Errors
    /// If model, tokenizer and settings do not fit each other, or a file cannot be read.
    pub(super) fn parameters(
        &self,
        tokenizer: &Tokenizer,
        text: &PretrainingText,
    ) -> Result<(FlatParameters, Vec<String>)> {
        let head = if text.sequences.are_pairs() {
            Head::PreTraining
        } else {
            Head::MaskedLm
        };
        let layout = |config: &AlbertConfig| -> Result<Arc<FlatLayout>> {
            let mut config = config.clone();
            config.architectures = vec![head.architecture().into()];
            check(&config, tokenizer, text)?;
            Ok(Arc::new(FlatLayout::new(&config, head)?))
        };
        let (files, groups) = match self {
            Self::Random(config) => {
                let parameters = FlatParameters::random(layout(config)?, text.seed);
                return Ok((parameters, Vec::new()));
            }
            Self::Model(files) => (files, None),
            Self::Groups(files, groups) => (files, Some(*groups)),
        };
        let checkpoint = files.checkpoint()?;
        let layout = layout(checkpoint.config())?;
        let (found, new) = FlatParameters::from_checkpoint(&checkpoint, layout, text.seed)?;
        let parameters = match groups {
            Some(groups) => with_groups(&found, groups)?,
            None => found,
        };
        Ok((parameters, new))
    }
}

/// Checks that the model has room for the tokens and the sequences.
fn check(config: &AlbertConfig, tokenizer: &Tokenizer, text: &PretrainingText) -> Result<()> {
    let setting = |name, expected: String, found: usize| {
        Err(Error::Setting {
            name,
            expected,
            found: found.to_string(),
        })
    };
    if config.vocab_size < tokenizer.vocab_size() {
        let expected = format!("at least the tokenizer's {} pieces", tokenizer.vocab_size());
        return setting("vocab_size", expected, config.vocab_size);
    }
    if text.max_length > config.max_position_embeddings {
        let expected = format!(
            "at most the model's {} positions",
            config.max_position_embeddings
        );
        return setting("max_length", expected, text.max_length);
    }
    if text.sequences.are_pairs() && config.type_vocab_size < 2 {
        return setting(
            "type_vocab_size",
            "2 token types".into(),
            config.type_vocab_size,
        );
    }
    Ok(())
}

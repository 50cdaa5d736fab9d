//! The model of a `tokenizer.json`: [`Unigram`] in this crate's form, which loads in a fraction of
//! the time, and the tokenizers crate's other models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::{ModelWrapper, Token};

use super::unigram::Unigram;

/// A model of a `tokenizer.json`.
#[allow(clippy::large_enum_variant, reason = "a tokenizer has one model")]
pub(super) enum Model {
    Unigram(Unigram),
    Other(ModelWrapper),
}

impl Model {
    /// Returns the highest id of the vocabulary, without added tokens.
    pub(super) fn highest_id(&self) -> Option<u32> {
        match self {
            Self::Unigram(model) => model.highest_id(),
            Self::Other(model) => tokenizers::Model::get_vocab(model).into_values().max(),
        }
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Kind {
            #[serde(default, rename = "type")]
            kind: Option<Value>,
        }
        let json = <&RawValue>::deserialize(deserializer)?.get();
        let is_unigram = serde_json::from_str::<Kind>(json)
            .is_ok_and(|kind| kind.kind.is_some_and(|kind| kind == "Unigram"));
        if is_unigram {
            serde_json::from_str(json).map(Self::Unigram)
        } else {
            serde_json::from_str(json).map(Self::Other)
        }
        .map_err(D::Error::custom)
    }
}

impl tokenizers::Model for Model {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Self::Unigram(model) => model.tokenize(text),
            Self::Other(model) => model.tokenize(text),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Unigram(model) => model.id(token),
            Self::Other(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Unigram(model) => model.text(id).map(str::to_string),
            Self::Other(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Self::Unigram(model) => model.vocabulary(),
            Self::Other(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::Unigram(model) => model.len(),
            Self::Other(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Self::Unigram(_) => Err("a Unigram model of albert-tasks cannot be saved".into()),
            Self::Other(model) => model.save(folder, prefix),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Self::Unigram(_) => UnigramTrainer::default().into(),
            Self::Other(model) => model.get_trainer(),
        }
    }
}

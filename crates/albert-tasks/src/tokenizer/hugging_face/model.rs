//! The model of a `tokenizer.json`: [`Unigram`] and [`WordPiece`] in this crate's form, which load
//! in a fraction of the time, and the tokenizers crate's other models.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::unigram::UnigramTrainer;
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::{ModelWrapper, Token};

use super::unigram::Unigram;
use super::word_piece::WordPiece;

/// A model of a `tokenizer.json`.
#[allow(clippy::large_enum_variant, reason = "a tokenizer has one model")]
pub(super) enum Model {
    Unigram(Unigram),
    WordPiece(WordPiece),
    Other(ModelWrapper),
}

impl Model {
    /// Returns the highest id of the vocabulary, without added tokens.
    pub(super) fn highest_id(&self) -> Option<u32> {
        match self {
            Self::Unigram(model) => model.highest_id(),
            Self::WordPiece(model) => model.highest_id(),
            Self::Other(model) => tokenizers::Model::get_vocab(model).into_values().max(),
        }
    }

    /// Returns the kind of the model.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Unigram(_) | Self::Other(ModelWrapper::Unigram(_)) => "Unigram",
            Self::WordPiece(_) | Self::Other(ModelWrapper::WordPiece(_)) => "WordPiece",
            Self::Other(ModelWrapper::WordLevel(_)) => "WordLevel",
            Self::Other(ModelWrapper::BPE(_)) => "BPE",
        }
    }

    /// Returns the text of the token for the unknown, if it has one: Unigram gives an unknown token
    /// its own text.
    pub(super) fn unknown(&self) -> Option<&str> {
        match self {
            Self::Unigram(_) | Self::Other(ModelWrapper::Unigram(_)) => None,
            Self::WordPiece(model) => Some(model.unknown()),
            Self::Other(ModelWrapper::WordPiece(model)) => Some(&model.unk_token),
            Self::Other(ModelWrapper::WordLevel(model)) => Some(&model.unk_token),
            Self::Other(ModelWrapper::BPE(model)) => model.get_unk_token().as_deref(),
        }
    }

    /// Returns the prefix of the pieces that continue a word, such as `##` of WordPiece.
    pub(super) fn continuation_prefix(&self) -> Option<&str> {
        match self {
            Self::WordPiece(model) => Some(model.prefix()),
            Self::Other(ModelWrapper::WordPiece(model)) => Some(&model.continuing_subword_prefix),
            _ => None,
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
        let kind = serde_json::from_str::<Kind>(json).ok();
        match kind.as_ref().and_then(|kind| kind.kind.as_ref()?.as_str()) {
            Some("Unigram") => serde_json::from_str(json).map(Self::Unigram),
            Some("WordPiece") => serde_json::from_str(json).map(Self::WordPiece),
            _ => serde_json::from_str(json).map(Self::Other),
        }
        .map_err(D::Error::custom)
    }
}

impl tokenizers::Model for Model {
    type Trainer = TrainerWrapper;

    fn tokenize(&self, text: &str) -> tokenizers::Result<Vec<Token>> {
        match self {
            Self::Unigram(model) => model.tokenize(text),
            Self::WordPiece(model) => model.tokenize(text),
            Self::Other(model) => model.tokenize(text),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        match self {
            Self::Unigram(model) => model.id(token),
            Self::WordPiece(model) => model.id(token),
            Self::Other(model) => model.token_to_id(token),
        }
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        match self {
            Self::Unigram(model) => model.text(id).map(str::to_string),
            Self::WordPiece(model) => model.text(id).map(str::to_string),
            Self::Other(model) => model.id_to_token(id),
        }
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        match self {
            Self::Unigram(model) => model.vocabulary(),
            Self::WordPiece(model) => model.vocabulary(),
            Self::Other(model) => model.get_vocab(),
        }
    }

    fn get_vocab_size(&self) -> usize {
        match self {
            Self::Unigram(model) => model.len(),
            Self::WordPiece(model) => model.len(),
            Self::Other(model) => model.get_vocab_size(),
        }
    }

    fn save(&self, folder: &Path, prefix: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        match self {
            Self::Unigram(_) | Self::WordPiece(_) => {
                Err("a model of albert-tasks cannot be saved".into())
            }
            Self::Other(model) => model.save(folder, prefix),
        }
    }

    fn get_trainer(&self) -> TrainerWrapper {
        match self {
            Self::Unigram(_) => UnigramTrainer::default().into(),
            Self::WordPiece(_) => WordPieceTrainer::default().into(),
            Self::Other(model) => model.get_trainer(),
        }
    }
}

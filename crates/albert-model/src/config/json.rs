//! Reading and writing `config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use albert_formats::{json, small_file};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::{AlbertConfig, ModelType, PROBLEM_TYPES};
use crate::error::{Error, Result};

impl AlbertConfig {
    /// Reads and validates a `config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON, or does not describe an ALBERT or BERT.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = small_file::read(path)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses and validates the text of a `config.json`.
    ///
    /// # Errors
    /// If the text is not JSON or does not describe an ALBERT or BERT.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::parse(text.as_bytes(), "config.json")
    }

    pub(super) fn parse(text: &[u8], file: &str) -> Result<Self> {
        Self::from_map(Self::object(text, file)?, file)
    }

    pub(super) fn object(text: &[u8], file: &str) -> Result<Map<String, Value>> {
        let value = json::parse(text).map_err(|source| Error::Json {
            file: file.into(),
            source,
        })?;
        let Value::Object(map) = value else {
            return Err(Fields::error(file, "{}", "an object", json::shown(&value)));
        };
        Ok(map)
    }

    pub(super) fn from_map(map: Map<String, Value>, file: &str) -> Result<Self> {
        let config = Self::from_fields(&mut Fields { file, map })?;
        config.validate_in(file)?;
        Ok(config)
    }

    fn from_fields(fields: &mut Fields<'_>) -> Result<Self> {
        let model_type = fields.model_type()?;
        fields.refuse_other_networks()?;
        let is_bert = model_type == ModelType::Bert;
        let default = if is_bert {
            Self::bert_base()
        } else {
            Self::default()
        };
        let id2label = fields.labels()?;
        let hidden_size = fields.size("hidden_size", default.hidden_size)?;
        let num_hidden_layers = fields.size("num_hidden_layers", default.num_hidden_layers)?;
        let (embedding_size, num_hidden_groups, inner_group_num) = if is_bert {
            (hidden_size, num_hidden_layers, 1)
        } else {
            (
                fields.size("embedding_size", default.embedding_size)?,
                fields.size("num_hidden_groups", default.num_hidden_groups)?,
                fields.size("inner_group_num", default.inner_group_num)?,
            )
        };
        let classifier_dropout = classifier_dropout(model_type);
        Ok(Self {
            model_type,
            vocab_size: fields.size("vocab_size", default.vocab_size)?,
            embedding_size,
            hidden_size,
            num_hidden_layers,
            num_hidden_groups,
            num_attention_heads: fields.size("num_attention_heads", default.num_attention_heads)?,
            intermediate_size: fields.size("intermediate_size", default.intermediate_size)?,
            inner_group_num,
            hidden_act: fields.activation("hidden_act", default.hidden_act)?,
            hidden_dropout_prob: fields
                .number("hidden_dropout_prob")?
                .unwrap_or(default.hidden_dropout_prob),
            attention_probs_dropout_prob: fields
                .number("attention_probs_dropout_prob")?
                .unwrap_or(default.attention_probs_dropout_prob),
            classifier_dropout_prob: match fields.map.get(classifier_dropout) {
                Some(Value::Null) => fields.number(classifier_dropout)?,
                _ => fields
                    .number(classifier_dropout)?
                    .or(default.classifier_dropout_prob),
            },
            max_position_embeddings: fields
                .size("max_position_embeddings", default.max_position_embeddings)?,
            type_vocab_size: fields.size("type_vocab_size", default.type_vocab_size)?,
            initializer_range: fields
                .number("initializer_range")?
                .unwrap_or(default.initializer_range),
            layer_norm_eps: fields
                .number("layer_norm_eps")?
                .unwrap_or(default.layer_norm_eps),
            tie_word_embeddings: fields
                .boolean("tie_word_embeddings", default.tie_word_embeddings)?,
            pad_token_id: fields.token("pad_token_id", default.pad_token_id)?,
            bos_token_id: fields.token("bos_token_id", default.bos_token_id)?,
            eos_token_id: fields.token("eos_token_id", default.eos_token_id)?,
            architectures: fields.strings("architectures")?,
            id2label,
            problem_type: fields.problem_type()?,
            other: std::mem::take(&mut fields.map),
        })
    }

    /// Returns the text of a `config.json` that [`from_json`](Self::from_json) reads back as the
    /// same configuration.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(&self.to_map()).expect("a map of plain values is JSON")
    }

    fn to_map(&self) -> Map<String, Value> {
        let mut map = Map::new();
        let mut put = |key: &str, value: Value| map.insert(key.into(), value);
        put("architectures", json!(self.architectures));
        put("model_type", json!(self.model_type.name()));
        put("vocab_size", json!(self.vocab_size));
        put("hidden_size", json!(self.hidden_size));
        put("num_hidden_layers", json!(self.num_hidden_layers));
        if self.model_type == ModelType::Albert {
            put("embedding_size", json!(self.embedding_size));
            put("num_hidden_groups", json!(self.num_hidden_groups));
            put("inner_group_num", json!(self.inner_group_num));
        }
        put("num_attention_heads", json!(self.num_attention_heads));
        put("intermediate_size", json!(self.intermediate_size));
        put("hidden_act", json!(self.hidden_act.to_string()));
        put("hidden_dropout_prob", json!(self.hidden_dropout_prob));
        put(
            "attention_probs_dropout_prob",
            json!(self.attention_probs_dropout_prob),
        );
        put(
            classifier_dropout(self.model_type),
            json!(self.classifier_dropout_prob),
        );
        put(
            "max_position_embeddings",
            json!(self.max_position_embeddings),
        );
        put("type_vocab_size", json!(self.type_vocab_size));
        put("initializer_range", json!(self.initializer_range));
        put("layer_norm_eps", json!(self.layer_norm_eps));
        put("tie_word_embeddings", json!(self.tie_word_embeddings));
        put("pad_token_id", json!(self.pad_token_id));
        put("bos_token_id", json!(self.bos_token_id));
        put("eos_token_id", json!(self.eos_token_id));
        if !self.id2label.is_empty() {
            let label2id: BTreeMap<_, _> = self
                .id2label
                .iter()
                .map(|(id, label)| (label, id))
                .collect();
            put("id2label", json!(self.id2label));
            put("label2id", json!(label2id));
        }
        if let Some(problem_type) = self.problem_type {
            let (name, _) = PROBLEM_TYPES
                .iter()
                .find(|(_, t)| *t == problem_type)
                .expect("every variant has a name");
            put("problem_type", json!(name));
        }
        for (key, value) in &self.other {
            put(key, value.clone());
        }
        map
    }
}

impl Serialize for AlbertConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.to_map().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for AlbertConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Self::from_map(Map::deserialize(deserializer)?, "config.json").map_err(D::Error::custom)
    }
}

/// Returns the key for the classifier's dropout.
fn classifier_dropout(model_type: ModelType) -> &'static str {
    match model_type {
        ModelType::Albert => "classifier_dropout_prob",
        ModelType::Bert => "classifier_dropout",
    }
}

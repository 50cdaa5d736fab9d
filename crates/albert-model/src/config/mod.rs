//! The configuration of a model: `config.json`, read and written with Hugging Face's keys.
//!
//! A missing field has the default of `transformers.AlbertConfig` or `transformers.BertConfig`.
//! ALBERT's defaults are the sizes of xxlarge: without `hidden_size`, H is 4096.
//!
//! Source: transformers 4.46.3 and 5.23.0, `configuration_albert.py`, `configuration_bert.py` and
//! `configuration_utils.py`.

mod dialect;
mod fields;
mod model_type;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

use albert_formats::{json, small_file};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::activation::HiddenAct;
use crate::error::{Error, Result};
use crate::parameters::Head;
pub(crate) use dialect::Dialect;
use fields::Fields;
pub use model_type::ModelType;

/// The maximum of each size, more than any ALBERT has: bounds what a hostile file can request.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 4096;

/// The meaning of a sequence classifier's logits (`problem_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemType {
    /// One number or several, without a function.
    Regression,
    /// Softmax over the labels.
    SingleLabelClassification,
    /// A sigmoid for each label.
    MultiLabelClassification,
}

const PROBLEM_TYPES: [(&str, ProblemType); 3] = [
    ("regression", ProblemType::Regression),
    (
        "single_label_classification",
        ProblemType::SingleLabelClassification,
    ),
    (
        "multi_label_classification",
        ProblemType::MultiLabelClassification,
    ),
];

/// The configuration of an ALBERT or a BERT: one field for each key of `config.json` that changes
/// the network's results or their meaning.
///
/// All other keys are kept in [`other`](Self::other) and written back. `label2id` is derived from
/// `id2label`.
///
/// A BERT is an ALBERT with one group per layer, E = H, and the identity as its projection:
/// `num_hidden_groups` then equals `num_hidden_layers`, `embedding_size` equals `hidden_size`, and
/// there is no projection.
#[derive(Debug, Clone, PartialEq)]
pub struct AlbertConfig {
    /// The network: an ALBERT or a BERT.
    pub model_type: ModelType,
    /// V, the number of tokens in the vocabulary.
    pub vocab_size: usize,
    /// E, the width of the embedding tables.
    pub embedding_size: usize,
    /// H, the width of the hidden states.
    pub hidden_size: usize,
    /// L, the number of times that a layer group is applied.
    pub num_hidden_layers: usize,
    /// G, the number of groups of weights that the layers use.
    pub num_hidden_groups: usize,
    /// N, the number of attention heads.
    pub num_attention_heads: usize,
    /// I, the inner width of the feed-forward network.
    pub intermediate_size: usize,
    /// The number of layers in a group, each with its own weights.
    pub inner_group_num: usize,
    /// The activation of the feed-forward network and of the masked-LM head.
    pub hidden_act: HiddenAct,
    /// Dropout of embeddings and attention outputs during training, in [0, 1).
    pub hidden_dropout_prob: f64,
    /// Dropout of attention probabilities during training, in [0, 1).
    pub attention_probs_dropout_prob: f64,
    /// Dropout before a classifier during training; `None` means `hidden_dropout_prob`.
    pub classifier_dropout_prob: Option<f64>,
    /// The number of position embeddings, and so the maximum number of tokens in a sequence.
    pub max_position_embeddings: usize,
    /// The number of token types.
    pub type_vocab_size: usize,
    /// The standard deviation of the initial values of matrices.
    pub initializer_range: f64,
    /// ε of every layer norm.
    pub layer_norm_eps: f64,
    /// True if the masked-LM decoder is the word embedding table.
    pub tie_word_embeddings: bool,
    /// The padding token. Published files disagree with their vocabularies: trust the tokenizer
    /// instead.
    pub pad_token_id: Option<u32>,
    /// The `[CLS]` token, with the caveat of [`pad_token_id`](Self::pad_token_id).
    pub bos_token_id: Option<u32>,
    /// The `[SEP]` token, with the caveat of [`pad_token_id`](Self::pad_token_id).
    pub eos_token_id: Option<u32>,
    /// The classes that the weights were saved from, such as `AlbertForMaskedLM`.
    pub architectures: Vec<String>,
    /// The classifier's labels, by index; empty if the file names none.
    pub id2label: BTreeMap<usize, String>,
    /// The meaning of a sequence classifier's logits.
    pub problem_type: Option<ProblemType>,
    /// Every other key, in the file's order.
    pub other: Map<String, Value>,
}

impl Default for AlbertConfig {
    /// Returns the configuration of `transformers.AlbertConfig()`.
    fn default() -> Self {
        Self {
            model_type: ModelType::Albert,
            vocab_size: 30_000,
            embedding_size: 128,
            hidden_size: 4096,
            num_hidden_layers: 12,
            num_hidden_groups: 1,
            num_attention_heads: 64,
            intermediate_size: 16_384,
            inner_group_num: 1,
            hidden_act: HiddenAct::GeluNew,
            hidden_dropout_prob: 0.0,
            attention_probs_dropout_prob: 0.0,
            classifier_dropout_prob: Some(0.1),
            max_position_embeddings: 512,
            type_vocab_size: 2,
            initializer_range: 0.02,
            layer_norm_eps: 1e-12,
            tie_word_embeddings: true,
            pad_token_id: Some(0),
            bos_token_id: Some(2),
            eos_token_id: Some(3),
            architectures: Vec::new(),
            id2label: BTreeMap::new(),
            problem_type: None,
            other: Map::new(),
        }
    }
}

impl AlbertConfig {
    fn v2(hidden_size: usize, layers: usize, heads: usize) -> Self {
        Self {
            hidden_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            intermediate_size: 4 * hidden_size,
            ..Self::default()
        }
    }

    /// Returns the configuration of `transformers.BertConfig()`, the sizes of bert-base-uncased: 12
    /// layers, H 768, 12 heads.
    pub fn bert_base() -> Self {
        Self {
            model_type: ModelType::Bert,
            vocab_size: 30_522,
            embedding_size: 768,
            hidden_size: 768,
            num_hidden_groups: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: HiddenAct::Gelu,
            hidden_dropout_prob: 0.1,
            attention_probs_dropout_prob: 0.1,
            classifier_dropout_prob: None,
            bos_token_id: None,
            eos_token_id: None,
            ..Self::default()
        }
    }

    /// Returns the configuration of albert-base-v2: one layer applied 12 times, H 768, 12 heads.
    pub fn base_v2() -> Self {
        Self::v2(768, 12, 12)
    }

    /// Returns the configuration of albert-large-v2: one layer applied 24 times, H 1024, 16 heads.
    pub fn large_v2() -> Self {
        Self::v2(1024, 24, 16)
    }

    /// Returns the configuration of albert-xlarge-v2: one layer applied 24 times, H 2048, 16 heads.
    pub fn xlarge_v2() -> Self {
        Self::v2(2048, 24, 16)
    }

    /// Returns the configuration of albert-xxlarge-v2: one layer applied 12 times, H 4096, 64
    /// heads.
    pub fn xxlarge_v2() -> Self {
        Self::v2(4096, 12, 64)
    }

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

    fn parse(text: &[u8], file: &str) -> Result<Self> {
        Self::from_map(Self::object(text, file)?, file)
    }

    fn object(text: &[u8], file: &str) -> Result<Map<String, Value>> {
        let value = json::parse(text).map_err(|source| Error::Json {
            file: file.into(),
            source,
        })?;
        let Value::Object(map) = value else {
            return Err(Fields::error(file, "{}", "an object", json::shown(&value)));
        };
        Ok(map)
    }

    fn from_map(map: Map<String, Value>, file: &str) -> Result<Self> {
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

    /// Returns the configuration of the same network as an ALBERT or as a BERT, with transformers'
    /// classes for it.
    pub(crate) fn with_model_type(&self, model_type: ModelType) -> Self {
        let mut config = self.clone();
        let (from, to) = (self.model_type.class_prefix(), model_type.class_prefix());
        for class in &mut config.architectures {
            if let Some(rest) = class.strip_prefix(from) {
                *class = format!("{to}{rest}");
            }
        }
        // Keys of the other network that a reader might misread.
        for key in [
            "embedding_size",
            "num_hidden_groups",
            "inner_group_num",
            "classifier_dropout",
            "classifier_dropout_prob",
        ] {
            config.other.shift_remove(key);
        }
        config.model_type = model_type;
        if model_type == ModelType::Albert {
            // Null means `hidden_dropout_prob` in a BERT; transformers' ALBERT refuses it.
            config
                .classifier_dropout_prob
                .get_or_insert(self.hidden_dropout_prob);
            // An ALBERT has as many orders of sentences as labels, a BERT always two.
            let predicts_order = [Head::PreTraining, Head::NextSentence].iter().any(|head| {
                config
                    .architectures
                    .iter()
                    .any(|it| head.is_architecture(it))
            });
            if predicts_order && config.num_labels() != self.order_labels() {
                config.id2label.clear();
            }
        }
        config
    }

    /// Returns the probability of dropout after the feed-forward network, which only a BERT has.
    pub(crate) fn feed_forward_dropout(&self) -> f64 {
        match self.model_type {
            ModelType::Albert => 0.0,
            ModelType::Bert => self.hidden_dropout_prob,
        }
    }

    /// Returns the number of classes of the sentence-order head: as many as an ALBERT has labels,
    /// and always two in a BERT, the next sentence and another.
    pub fn order_labels(&self) -> usize {
        match self.model_type {
            ModelType::Albert => self.num_labels(),
            ModelType::Bert => 2,
        }
    }

    /// Returns true if there is a projection from E to H: always in an ALBERT, never in a BERT.
    pub fn has_projection(&self) -> bool {
        self.model_type == ModelType::Albert
    }

    /// Returns D = H / N, the width of an attention head; 0 if there are no heads, which is not
    /// valid.
    pub fn head_size(&self) -> usize {
        self.hidden_size
            .checked_div(self.num_attention_heads)
            .unwrap_or(0)
    }

    /// Returns the number of classes of a classifier: as many as `id2label` names, else 2.
    pub fn num_labels(&self) -> usize {
        if self.id2label.is_empty() {
            2
        } else {
            self.id2label.len()
        }
    }

    /// Returns the name of class `index`: from `id2label`, else `LABEL_<index>`.
    pub fn label(&self, index: usize) -> String {
        self.id2label
            .get(&index)
            .cloned()
            .unwrap_or_else(|| format!("LABEL_{index}"))
    }

    /// Returns the group whose weights layer `layer` (0 to L - 1) uses: `⌊layer / (L / G)⌋`,
    /// computed in floating point as in transformers, even if G does not divide L.
    ///
    /// Source: transformers 4.46.3, `modeling_albert.py`, `AlbertTransformer.forward`.
    pub fn group_for_layer(&self, layer: usize) -> usize {
        let layers_per_group = self.num_hidden_layers as f64 / self.num_hidden_groups as f64;
        (layer as f64 / layers_per_group) as usize
    }

    /// Checks that the sizes are consistent.
    ///
    /// # Errors
    /// Names the first field that is not, and a value that would be.
    pub fn validate(&self) -> Result<()> {
        self.validate_in("config.json")
    }

    fn validate_in(&self, file: &str) -> Result<()> {
        let error = |field: &str, expected: &str, found: String| {
            Err(Fields::error(file, field, expected, found))
        };
        for (field, size) in [
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_hidden_groups", self.num_hidden_groups),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("inner_group_num", self.inner_group_num),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                return error(field, "a whole number above 0", "0".into());
            }
            let counts_layers = matches!(
                field,
                "num_hidden_layers" | "num_hidden_groups" | "inner_group_num"
            );
            let most = if counts_layers { MAX_LAYERS } else { MAX_SIZE };
            if size > most {
                return error(field, &format!("at most {most}"), size.to_string());
            }
        }
        if self.model_type == ModelType::Bert {
            for (field, expected, found) in [
                ("embedding_size", self.hidden_size, self.embedding_size),
                (
                    "num_hidden_groups",
                    self.num_hidden_layers,
                    self.num_hidden_groups,
                ),
                ("inner_group_num", 1, self.inner_group_num),
            ] {
                if found != expected {
                    return error(field, &format!("{expected} in a BERT"), found.to_string());
                }
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let nearest = nearest_divisor(self.hidden_size, self.num_attention_heads);
            return error(
                "num_attention_heads",
                &format!(
                    "a divisor of `hidden_size` {}, such as {nearest}",
                    self.hidden_size
                ),
                self.num_attention_heads.to_string(),
            );
        }
        for (field, probability) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            (
                "attention_probs_dropout_prob",
                self.attention_probs_dropout_prob,
            ),
            (
                "classifier_dropout_prob",
                self.classifier_dropout_prob.unwrap_or(0.0),
            ),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return error(
                    field,
                    "a probability, at least 0 and below 1",
                    probability.to_string(),
                );
            }
        }
        for (field, number) in [
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ] {
            if !(0.0..1.0).contains(&number) {
                return error(
                    field,
                    "a small number, at least 0 and below 1",
                    number.to_string(),
                );
            }
        }
        Ok(())
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

/// Returns the divisor of `size` that is nearest to `heads`.
fn nearest_divisor(size: usize, heads: usize) -> usize {
    let heads = heads.min(size);
    let below = (1..=heads)
        .rev()
        .find(|n| size.is_multiple_of(*n))
        .unwrap_or(1);
    let above = (heads..=heads.saturating_mul(2))
        .find(|n| size.is_multiple_of(*n))
        .unwrap_or(below);
    if above - heads < heads - below {
        above
    } else {
        below
    }
}

/// Returns the key for the classifier's dropout.
fn classifier_dropout(model_type: ModelType) -> &'static str {
    match model_type {
        ModelType::Albert => "classifier_dropout_prob",
        ModelType::Bert => "classifier_dropout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(json: &str) -> String {
        AlbertConfig::from_json(json).unwrap_err().to_string()
    }

    #[test]
    fn a_config_is_read_back_as_it_was_written() {
        let text = r#"{"hidden_size": 24, "num_attention_heads": 3, "hidden_act": "gelu", "inner_group_num": 2,
            "id2label": {"0": "NO", "1": "YES", "2": "MAYBE"}, "problem_type": "multi_label_classification",
            "classifier_dropout_prob": null, "pad_token_id": null, "architectures": ["AlbertForMaskedLM"],
            "tie_word_embeddings": false, "torch_dtype": "float32", "gap_size": 0, "layers_to_keep": [],
            "position_embedding_type": "absolute"}"#;
        let config = AlbertConfig::from_json(text).unwrap();
        assert_eq!(config.hidden_act, HiddenAct::Gelu);
        assert_eq!(config.classifier_dropout_prob, None);
        assert_eq!(config.label(2), "MAYBE");
        let other = [
            "torch_dtype",
            "gap_size",
            "layers_to_keep",
            "position_embedding_type",
        ];
        assert_eq!(config.other.keys().collect::<Vec<_>>(), other);
        assert_eq!(AlbertConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(
            serde_json::from_str::<AlbertConfig>(&serde_json::to_string(&config).unwrap()).unwrap(),
            config
        );
    }

    #[test]
    fn absent_fields_are_those_of_xxlarge() {
        assert_eq!(
            AlbertConfig::from_json("{}").unwrap(),
            AlbertConfig::xxlarge_v2()
        );
    }

    #[test]
    fn absent_fields_of_a_bert_are_those_of_transformers_bert_config() {
        let config = AlbertConfig::from_json(r#"{"model_type": "bert"}"#).unwrap();
        assert_eq!(config, AlbertConfig::bert_base());
        assert_eq!(AlbertConfig::from_json(&config.to_json()).unwrap(), config);
        let small = r#"{"architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6,
            "classifier_dropout": 0.2, "layer_norm_eps": 1e-5}"#;
        let small = AlbertConfig::from_json(small).unwrap();
        assert_eq!(small.model_type, ModelType::Bert);
        assert_eq!((small.num_hidden_groups, small.embedding_size), (6, 384));
        assert_eq!(small.classifier_dropout_prob, Some(0.2));
        assert_eq!(small.layer_norm_eps, 1e-5);
    }

    #[test]
    fn a_bert_that_this_crate_does_not_compute_is_refused() {
        for (json, expected) in [
            (
                r#"{"model_type": "bert", "position_embedding_type": "relative_key"}"#,
                "`position_embedding_type`",
            ),
            (
                r#"{"model_type": "bert", "is_decoder": true}"#,
                "decoders and cross-attention are not supported",
            ),
            (
                r#"{"model_type": "distilbert"}"#,
                "neither token types nor a pooler",
            ),
        ] {
            let message = message(json);
            assert!(message.contains(expected), "{json}: {message}");
        }
        let shared = AlbertConfig {
            num_hidden_groups: 1,
            ..AlbertConfig::bert_base()
        };
        let message = shared.validate().unwrap_err().to_string();
        assert!(message.contains("expected 12 in a BERT"), "{message}");
    }

    #[test]
    fn a_wrong_field_is_named_with_what_would_be_right() {
        let cases = [
            (
                r#"{"hidden_size": "768"}"#,
                "`hidden_size` in `config.json`: expected a whole number above 0, found \"768\"",
            ),
            (
                r#"{"hidden_size": null}"#,
                "expected a whole number above 0, found null",
            ),
            (
                r#"{"hidden_size": 768.5}"#,
                "expected a whole number above 0, found 768.5",
            ),
            (
                r#"{"vocab_size": 0}"#,
                "`vocab_size` in `config.json`: expected a whole number above 0, found 0",
            ),
            (
                r#"{"vocab_size": -1}"#,
                "expected a whole number above 0, found -1",
            ),
            (
                r#"{"hidden_size": 768, "num_attention_heads": 10}"#,
                "a divisor of `hidden_size` 768, such as 8, found 10",
            ),
            (
                r#"{"hidden_act": "prelu"}"#,
                "`hidden_act` in `config.json`: expected a function without trained parameters",
            ),
            (
                r#"{"hidden_act": "gelu2"}"#,
                "expected one of gelu, gelu_10",
            ),
            (
                r#"{"model_type": "roberta"}"#,
                "`model_type` in `config.json`: expected \"albert\" or \"bert\" (a RoBERTa counts positions",
            ),
            (
                r#"{"ln_type": "preln"}"#,
                "`ln_type` in `config.json`: expected \"postln\"",
            ),
            (
                r#"{"position_embedding_type": "relative_key"}"#,
                "`position_embedding_type`",
            ),
            (
                r#"{"hidden_dropout_prob": 1.0}"#,
                "expected a probability, at least 0 and below 1, found 1",
            ),
            (
                r#"{"num_hidden_layers": 100000}"#,
                "`num_hidden_layers` in `config.json`: expected at most 4096",
            ),
            (
                r#"{"id2label": {"A": 0}}"#,
                "`id2label` in `config.json`: expected an object from class indices to names",
            ),
            (
                r#"{"hidden_size": 2305843009213693951, "num_attention_heads": 1152921504606846976}"#,
                "at most 16777216",
            ),
            (
                r#"{"architectures": "AlbertModel"}"#,
                "`architectures` in `config.json`: expected an array of strings",
            ),
            ("[]", "expected an object, found an array"),
            ("{", "`config.json` is not valid JSON"),
        ];
        for (json, expected) in cases {
            let message = message(json);
            assert!(message.contains(expected), "{json}: {message}");
        }
    }

    /// `int(i / (L / G))` by CPython 3.11, with cases where it differs from `i * G // L`.
    #[test]
    fn groups_are_those_of_transformers() {
        let groups = |layers, groups| -> Vec<usize> {
            let config = AlbertConfig {
                num_hidden_layers: layers,
                num_hidden_groups: groups,
                ..Default::default()
            };
            (0..layers)
                .map(|layer| config.group_for_layer(layer))
                .collect()
        };
        assert_eq!(groups(12, 1), [0; 12]);
        assert_eq!(groups(5, 2), [0, 0, 0, 1, 1]);
        assert_eq!(groups(7, 3), [0, 0, 0, 1, 1, 2, 2]);
        assert_eq!(groups(4, 12), [0, 3, 6, 9]);
        assert_eq!(
            groups(18, 14),
            [0, 0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9, 10, 10, 11, 12, 13]
        );
    }

    #[test]
    fn labels_may_be_counted_instead_of_named() {
        assert_eq!(
            AlbertConfig::from_json(r#"{"_num_labels": 3}"#)
                .unwrap()
                .num_labels(),
            3
        );
        assert_eq!(AlbertConfig::default().num_labels(), 2);
    }
}

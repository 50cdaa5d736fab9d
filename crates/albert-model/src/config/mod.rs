//! The configuration of a model: `config.json`, read and written with Hugging Face's keys.
//!
//! A missing field has the default of `transformers.AlbertConfig` or `transformers.BertConfig`.
//! ALBERT's defaults are the sizes of xxlarge: without `hidden_size`, H is 4096.
//!
//! Source: transformers 4.46.3 and 5.23.0, `configuration_albert.py`, `configuration_bert.py` and
//! `configuration_utils.py`.

mod dialect;
mod fields;
mod json;
pub(crate) mod model_type;
mod validate;
mod yaml;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::activation::HiddenAct;
use crate::head::Head;
pub(crate) use dialect::Dialect;
pub use model_type::ModelType;

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
}

#[cfg(test)]
mod tests;

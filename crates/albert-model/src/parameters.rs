//! Lists every tensor of a model, with its name in a Hugging Face checkpoint and its shape.
//!
//! Names are spelled out only here. A checkpoint is checked against this list before anything is
//! loaded, and parameters are counted with it.

use std::fmt;

use crate::config::{AlbertConfig, ModelType};

/// The encoder module that every head contains, and the first part of its tensors' names.
pub(crate) const ALBERT: &str = "albert";

/// The embedding tables and their norm, in [`ALBERT`].
pub(crate) const EMBEDDINGS: &str = "embeddings";

/// The encoder, in [`ALBERT`].
pub(crate) const ENCODER: &str = "encoder";

/// The projection from E to H, in [`ENCODER`].
pub(crate) const PROJECTION: &str = "embedding_hidden_mapping_in";

/// The groups of layers, in [`ENCODER`], and the layers of a group.
pub(crate) const GROUPS: &str = "albert_layer_groups";
pub(crate) const LAYERS: &str = "albert_layers";

/// The parts of a layer: attention, the norm in it, and the norm after the feed-forward network.
pub(crate) const ATTENTION: &str = "attention";
pub(crate) const ATTENTION_NORM: &str = "LayerNorm";
pub(crate) const LAYER_NORM: &str = "full_layer_layer_norm";
/// The norm in attention by its name in the layer.
pub(crate) const ATTENTION_OUTPUT_NORM: &str = "attention.LayerNorm";

/// The pooler, in [`ALBERT`].
pub(crate) const POOLER: &str = "pooler";

/// The masked-LM head, its first product and the norm after it.
pub(crate) const MASKED_LM: &str = "predictions";
pub(crate) const MASKED_LM_DENSE: &str = "dense";
pub(crate) const MASKED_LM_NORM: &str = "LayerNorm";

/// The sentence-order head.
pub(crate) const SENTENCE_ORDER: &str = "sop_classifier.classifier";

/// The classifier of sequences, tokens or choices.
pub(crate) const CLASSIFIER: &str = "classifier";

/// The head that scores the first and last tokens of answers.
pub(crate) const SPANS: &str = "qa_outputs";

/// The norm of the embeddings, in [`EMBEDDINGS`].
pub(crate) const EMBEDDING_NORM: &str = "LayerNorm";
/// The word embeddings, which the masked-LM decoder is tied to.
pub(crate) const WORD_EMBEDDINGS: &str = "albert.embeddings.word_embeddings.weight";
/// The decoder, in [`MASKED_LM`], and its weight unless it is tied.
pub(crate) const DECODER: &str = "decoder";
pub(crate) const DECODER_WEIGHT: &str = "predictions.decoder.weight";

/// The bias of the masked-LM head, under its own name and under that of the decoder.
pub(crate) const MASKED_LM_BIAS: &str = "predictions.bias";
pub(crate) const DECODER_BIAS: &str = "predictions.decoder.bias";

/// Returns the name of a module in the model, such as `albert.pooler`.
pub(crate) fn in_model(module: &str) -> String {
    format!("{ALBERT}.{module}")
}

/// Returns the name of the projection from E to H.
pub(crate) fn projection() -> String {
    format!("{ALBERT}.{ENCODER}.{PROJECTION}")
}

/// Returns the name of a module's weight.
pub(crate) fn weight(module: &str) -> String {
    format!("{module}.weight")
}

/// Returns the name of a module's bias.
pub(crate) fn bias(module: &str) -> String {
    format!("{module}.bias")
}

/// Returns the name of an embedding table: `word`, `position` or `token_type`.
pub(crate) fn embedding_table(kind: &str) -> String {
    format!("{ALBERT}.{EMBEDDINGS}.{kind}_embeddings.weight")
}

/// Returns the name of the norm of the embeddings.
pub(crate) fn embedding_norm() -> String {
    format!("{ALBERT}.{EMBEDDINGS}.{EMBEDDING_NORM}")
}

/// Returns the name of a module of the masked-LM head.
pub(crate) fn in_masked_lm(module: &str) -> String {
    format!("{MASKED_LM}.{module}")
}

/// Returns the name of a layer: its group, and its place in the group.
pub(crate) fn layer_prefix(group: usize, inner: usize) -> String {
    format!("{ALBERT}.{ENCODER}.{GROUPS}.{group}.{LAYERS}.{inner}")
}

/// A matrix product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Hidden states to queries.
    Query,
    /// Hidden states to keys.
    Key,
    /// Hidden states to values.
    Value,
    /// Context to attention output.
    AttentionOutput,
    /// The feed-forward network's first product, H to I.
    Inner,
    /// The feed-forward network's second product, I to H.
    Output,
}

impl Product {
    /// All products, in the order of a forward pass.
    pub(crate) const ALL: [Self; 6] = [
        Self::Query,
        Self::Key,
        Self::Value,
        Self::AttentionOutput,
        Self::Inner,
        Self::Output,
    ];

    /// Returns the product's name in a layer.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Query => "attention.query",
            Self::Key => "attention.key",
            Self::Value => "attention.value",
            Self::AttentionOutput => "attention.dense",
            Self::Inner => "ffn",
            Self::Output => "ffn_output",
        }
    }

    /// Returns the product's name in the layer's attention, or in the layer if it is not part of
    /// attention.
    pub(crate) fn in_attention(self) -> &'static str {
        self.name()
            .strip_prefix("attention.")
            .unwrap_or(self.name())
    }

    /// Returns the number of outputs and of inputs.
    fn shape(self, config: &AlbertConfig) -> (usize, usize) {
        let (h, i) = (config.hidden_size, config.intermediate_size);
        match self {
            Self::Inner => (i, h),
            Self::Output => (h, i),
            _ => (h, h),
        }
    }
}

/// The head of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Head {
    /// Hidden states and the pooled `[CLS]`: [`AlbertModel`](crate::AlbertModel).
    Encoder,
    /// Masked tokens and sentence order: [`AlbertForPreTraining`](crate::AlbertForPreTraining).
    PreTraining,
    /// Masked tokens: [`AlbertForMaskedLM`](crate::AlbertForMaskedLM).
    MaskedLm,
    /// Sentence order, or a BERT's next sentence, without masked tokens:
    /// [`AlbertForNextSentencePrediction`](crate::AlbertForNextSentencePrediction).
    NextSentence,
    /// One label or several for a text:
    /// [`AlbertForSequenceClassification`](crate::AlbertForSequenceClassification).
    SequenceClassification,
    /// A label for each token:
    /// [`AlbertForTokenClassification`](crate::AlbertForTokenClassification).
    TokenClassification,
    /// The span of an answer: [`AlbertForQuestionAnswering`](crate::AlbertForQuestionAnswering).
    QuestionAnswering,
    /// One of several continuations: [`AlbertForMultipleChoice`](crate::AlbertForMultipleChoice).
    MultipleChoice,
}

impl Head {
    /// All heads.
    pub const ALL: [Self; 8] = [
        Self::Encoder,
        Self::PreTraining,
        Self::MaskedLm,
        Self::NextSentence,
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::QuestionAnswering,
        Self::MultipleChoice,
    ];

    /// Returns the name of the transformers class with this head, as in `architectures` of
    /// `config.json`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Encoder => "AlbertModel",
            Self::PreTraining => "AlbertForPreTraining",
            Self::MaskedLm => "AlbertForMaskedLM",
            Self::NextSentence => "AlbertForNextSentencePrediction",
            Self::SequenceClassification => "AlbertForSequenceClassification",
            Self::TokenClassification => "AlbertForTokenClassification",
            Self::QuestionAnswering => "AlbertForQuestionAnswering",
            Self::MultipleChoice => "AlbertForMultipleChoice",
        }
    }

    /// Returns the class of transformers that has this head in a network, such as
    /// `BertForMaskedLM`.
    pub fn class(self, model_type: ModelType) -> String {
        let albert = self.architecture();
        let head = albert.trim_start_matches(ModelType::Albert.class_prefix());
        format!("{}{head}", model_type.class_prefix())
    }

    /// Returns true for the name of a transformers class of ALBERT or BERT with this head.
    pub fn is_architecture(self, class: &str) -> bool {
        ModelType::ALL.iter().any(|&it| self.class(it) == class)
    }

    /// Returns true if its tensors are named `classifier.*`, a name that three heads share.
    pub(crate) fn is_classifier(self) -> bool {
        matches!(
            self,
            Self::SequenceClassification | Self::TokenClassification | Self::MultipleChoice
        )
    }

    /// Returns true if the head reads the pooled output.
    pub(crate) fn uses_pooler(self) -> bool {
        !matches!(
            self,
            Self::MaskedLm | Self::TokenClassification | Self::QuestionAnswering
        )
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.architecture())
    }
}

/// A tensor's name and shape.
pub(crate) type Parameter = (String, Vec<usize>);

impl AlbertConfig {
    /// Returns the number of parameters of a model with this head; tied tensors count once.
    ///
    /// The encoder includes its pooler. The base size has 11,683,584 parameters, a tenth of BERT's.
    /// Saturates at `usize::MAX`.
    pub fn parameter_count(&self, head: Head) -> usize {
        let layers = self.num_hidden_groups.saturating_mul(self.inner_group_num);
        count(layer(self, 0, 0))
            .saturating_mul(layers)
            .saturating_add(count(around_layers(self, head)))
    }
}

fn count(parameters: impl Iterator<Item = Parameter>) -> usize {
    let sizes = parameters.map(|(_, shape)| {
        shape
            .iter()
            .fold(1usize, |size, &dim| size.saturating_mul(dim))
    });
    sizes.fold(0, usize::saturating_add)
}

/// Iterates lazily over all tensors of a model with this head, so that a configuration with absurd
/// sizes costs nothing.
pub(crate) fn parameters(
    config: &AlbertConfig,
    head: Head,
) -> impl Iterator<Item = Parameter> + '_ {
    let layers = (0..config.num_hidden_groups)
        .flat_map(|group| (0..config.inner_group_num).map(move |inner| (group, inner)))
        .flat_map(|(group, inner)| layer(config, group, inner));
    around_layers(config, head).chain(layers)
}

fn around_layers(config: &AlbertConfig, head: Head) -> impl Iterator<Item = Parameter> + use<> {
    let mut parameters = embeddings(config);
    if head.uses_pooler() {
        parameters.extend(linear(
            &in_model(POOLER),
            config.hidden_size,
            config.hidden_size,
        ));
    }
    parameters.extend(head_parameters(config, head));
    parameters.into_iter()
}

fn embeddings(config: &AlbertConfig) -> Vec<Parameter> {
    let width = config.embedding_size;
    let table = |kind: &str, rows| (embedding_table(kind), vec![rows, width]);
    let mut parameters = vec![
        table("word", config.vocab_size),
        table("position", config.max_position_embeddings),
        table("token_type", config.type_vocab_size),
    ];
    parameters.extend(norm(&embedding_norm(), width));
    if config.has_projection() {
        parameters.extend(linear(&projection(), config.hidden_size, width));
    }
    parameters
}

fn layer(
    config: &AlbertConfig,
    group: usize,
    inner: usize,
) -> impl Iterator<Item = Parameter> + use<> {
    let prefix = layer_prefix(group, inner);
    let norms = [ATTENTION_OUTPUT_NORM, LAYER_NORM].map(|name| format!("{prefix}.{name}"));
    let products = Product::ALL.map(|product| {
        let (out, input) = product.shape(config);
        linear(&format!("{prefix}.{}", product.name()), out, input)
    });
    let norms = norms.map(|name| norm(&name, config.hidden_size));
    products.into_iter().chain(norms).flatten()
}

/// Returns the tensors of the head only, without the encoder and its pooler.
pub(crate) fn head_parameters(config: &AlbertConfig, head: Head) -> Vec<Parameter> {
    let h = config.hidden_size;
    match head {
        Head::Encoder => Vec::new(),
        Head::MaskedLm => masked_lm(config),
        Head::PreTraining => {
            let mut parameters = masked_lm(config);
            parameters.extend(linear(SENTENCE_ORDER, config.order_labels(), h));
            parameters
        }
        Head::NextSentence => linear(SENTENCE_ORDER, config.order_labels(), h).to_vec(),
        Head::SequenceClassification | Head::TokenClassification => {
            linear(CLASSIFIER, config.num_labels(), h).to_vec()
        }
        Head::MultipleChoice => linear(CLASSIFIER, 1, h).to_vec(),
        Head::QuestionAnswering => linear(SPANS, 2, h).to_vec(),
    }
}

fn masked_lm(config: &AlbertConfig) -> Vec<Parameter> {
    let (e, h, v) = (config.embedding_size, config.hidden_size, config.vocab_size);
    let mut parameters = linear(&in_masked_lm(MASKED_LM_DENSE), e, h).to_vec();
    parameters.extend(norm(&in_masked_lm(MASKED_LM_NORM), e));
    parameters.push((MASKED_LM_BIAS.into(), vec![v]));
    if !config.tie_word_embeddings {
        parameters.push((DECODER_WEIGHT.into(), vec![v, e]));
    }
    parameters
}

fn linear(name: &str, out: usize, input: usize) -> [Parameter; 2] {
    [(weight(name), vec![out, input]), (bias(name), vec![out])]
}

fn norm(name: &str, width: usize) -> [Parameter; 2] {
    [(weight(name), vec![width]), (bias(name), vec![width])]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sum(p.numel() for p in model.parameters())` of transformers 4.46.3.
    #[test]
    fn counts_are_those_of_transformers() {
        let sizes = [
            (AlbertConfig::base_v2(), 11_683_584, 11_221_680, 11_813_810),
            (AlbertConfig::large_v2(), 17_683_968, 16_795_824, 17_847_474),
            (
                AlbertConfig::xlarge_v2(),
                58_724_864,
                54_821_040,
                59_021_490,
            ),
            (
                AlbertConfig::xxlarge_v2(),
                222_595_584,
                206_368_944,
                223_158_450,
            ),
        ];
        for (config, encoder, masked_lm, pretraining) in sizes {
            assert_eq!(config.parameter_count(Head::Encoder), encoder);
            assert_eq!(config.parameter_count(Head::MaskedLm), masked_lm);
            assert_eq!(config.parameter_count(Head::PreTraining), pretraining);
        }
    }

    /// `sum(p.numel() for p in model.parameters())` of transformers 4.46.3.
    #[test]
    fn counts_of_bert_are_those_of_transformers() {
        let bert = AlbertConfig::bert_base();
        assert_eq!(bert.parameter_count(Head::Encoder), 109_482_240);
        assert_eq!(bert.parameter_count(Head::MaskedLm), 109_514_298);
        assert_eq!(bert.parameter_count(Head::PreTraining), 110_106_428);
    }

    #[test]
    fn the_list_and_the_count_agree_for_every_head() {
        let config = AlbertConfig {
            num_hidden_groups: 3,
            inner_group_num: 2,
            vocab_size: 50,
            ..AlbertConfig::base_v2()
        };
        for head in Head::ALL {
            assert_eq!(
                count(parameters(&config, head)),
                config.parameter_count(head),
                "{head}"
            );
        }
    }

    #[test]
    fn absurd_sizes_are_counted_without_overflow() {
        let config = AlbertConfig {
            hidden_size: usize::MAX,
            num_hidden_groups: usize::MAX,
            ..AlbertConfig::base_v2()
        };
        assert_eq!(config.parameter_count(Head::Encoder), usize::MAX);
        assert_eq!(parameters(&config, Head::Encoder).take(100).count(), 100);
    }
}

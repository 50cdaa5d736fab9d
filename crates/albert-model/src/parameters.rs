//! Every tensor of a model by its name in a Hugging Face checkpoint, and how many numbers it holds.
//!
//! This is the list that a checkpoint is checked against before anything is loaded, and the one
//! that parameters are counted from.

use std::fmt;

use crate::config::AlbertConfig;

/// The width of the sentence-order head: in order, swapped.
pub(crate) const SENTENCE_ORDERS: usize = 2;

/// What a model ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Head {
    /// Hidden states and the pooled `[CLS]`: [`AlbertModel`](crate::AlbertModel).
    Encoder,
    /// Masked tokens and sentence order: [`AlbertForPreTraining`](crate::AlbertForPreTraining).
    PreTraining,
    /// Masked tokens: [`AlbertForMaskedLM`](crate::AlbertForMaskedLM).
    MaskedLm,
    /// A label, or several, for a text:
    /// [`AlbertForSequenceClassification`](crate::AlbertForSequenceClassification).
    SequenceClassification,
    /// A label for each token:
    /// [`AlbertForTokenClassification`](crate::AlbertForTokenClassification).
    TokenClassification,
    /// The span that answers: [`AlbertForQuestionAnswering`](crate::AlbertForQuestionAnswering).
    QuestionAnswering,
    /// One of several continuations: [`AlbertForMultipleChoice`](crate::AlbertForMultipleChoice).
    MultipleChoice,
}

impl Head {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Encoder,
        Self::PreTraining,
        Self::MaskedLm,
        Self::SequenceClassification,
        Self::TokenClassification,
        Self::QuestionAnswering,
        Self::MultipleChoice,
    ];

    /// The class of transformers that has this head, as `architectures` in `config.json` names it.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Encoder => "AlbertModel",
            Self::PreTraining => "AlbertForPreTraining",
            Self::MaskedLm => "AlbertForMaskedLM",
            Self::SequenceClassification => "AlbertForSequenceClassification",
            Self::TokenClassification => "AlbertForTokenClassification",
            Self::QuestionAnswering => "AlbertForQuestionAnswering",
            Self::MultipleChoice => "AlbertForMultipleChoice",
        }
    }

    /// Whether its tensors are called `classifier.*`, which says nothing of the head.
    pub(crate) fn is_classifier(self) -> bool {
        matches!(
            self,
            Self::SequenceClassification | Self::TokenClassification | Self::MultipleChoice
        )
    }

    /// Whether the head reads the pooled output.
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
    /// How many parameters a model with this head has; tied tensors count once.
    ///
    /// The encoder is counted with its pooler. The base size has 11,683,584, a tenth of BERT's.
    /// A count beyond `usize` is given as `usize::MAX`.
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

/// Every tensor of a model with this head. The list is made as it is read: a configuration with
/// absurd sizes costs nothing until then.
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
            "albert.pooler",
            config.hidden_size,
            config.hidden_size,
        ));
    }
    parameters.extend(head_parameters(config, head));
    parameters.into_iter()
}

fn embeddings(config: &AlbertConfig) -> Vec<Parameter> {
    let width = config.embedding_size;
    let table = |name: &str, rows| {
        (
            format!("albert.embeddings.{name}_embeddings.weight"),
            vec![rows, width],
        )
    };
    let mut parameters = vec![
        table("word", config.vocab_size),
        table("position", config.max_position_embeddings),
        table("token_type", config.type_vocab_size),
    ];
    parameters.extend(norm("albert.embeddings.LayerNorm", width));
    parameters.extend(linear(
        "albert.encoder.embedding_hidden_mapping_in",
        config.hidden_size,
        width,
    ));
    parameters
}

fn layer(
    config: &AlbertConfig,
    group: usize,
    inner: usize,
) -> impl Iterator<Item = Parameter> + use<> {
    let (h, i) = (config.hidden_size, config.intermediate_size);
    let prefix = format!("albert.encoder.albert_layer_groups.{group}.albert_layers.{inner}");
    let products = [
        ("attention.query", h, h),
        ("attention.key", h, h),
        ("attention.value", h, h),
        ("attention.dense", h, h),
        ("ffn", i, h),
        ("ffn_output", h, i),
    ];
    let norms = ["attention.LayerNorm", "full_layer_layer_norm"];
    let products: Vec<_> = products
        .iter()
        .flat_map(|(name, out, input)| linear(&format!("{prefix}.{name}"), *out, *input))
        .collect();
    let norms: Vec<_> = norms
        .iter()
        .flat_map(|name| norm(&format!("{prefix}.{name}"), h))
        .collect();
    products.into_iter().chain(norms)
}

/// The tensors beyond the encoder and its pooler.
pub(crate) fn head_parameters(config: &AlbertConfig, head: Head) -> Vec<Parameter> {
    let h = config.hidden_size;
    match head {
        Head::Encoder => Vec::new(),
        Head::MaskedLm => masked_lm(config),
        Head::PreTraining => {
            let mut parameters = masked_lm(config);
            parameters.extend(linear("sop_classifier.classifier", SENTENCE_ORDERS, h));
            parameters
        }
        Head::SequenceClassification | Head::TokenClassification => {
            linear("classifier", config.num_labels(), h).to_vec()
        }
        Head::MultipleChoice => linear("classifier", 1, h).to_vec(),
        Head::QuestionAnswering => linear("qa_outputs", 2, h).to_vec(),
    }
}

fn masked_lm(config: &AlbertConfig) -> Vec<Parameter> {
    let (e, h, v) = (config.embedding_size, config.hidden_size, config.vocab_size);
    let mut parameters = linear("predictions.dense", e, h).to_vec();
    parameters.extend(norm("predictions.LayerNorm", e));
    parameters.push(("predictions.bias".into(), vec![v]));
    if !config.tie_word_embeddings {
        parameters.push(("predictions.decoder.weight".into(), vec![v, e]));
    }
    parameters
}

fn linear(name: &str, out: usize, input: usize) -> [Parameter; 2] {
    [
        (format!("{name}.weight"), vec![out, input]),
        (format!("{name}.bias"), vec![out]),
    ]
}

fn norm(name: &str, width: usize) -> [Parameter; 2] {
    [
        (format!("{name}.weight"), vec![width]),
        (format!("{name}.bias"), vec![width]),
    ]
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

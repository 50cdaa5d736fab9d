//! Lists every tensor of a model, with its name in a Hugging Face checkpoint and its shape.
//!
//! Names are spelled out only in [`names`] and [`product`]. A checkpoint is checked against this list
//! before anything is loaded, and parameters are counted with it.

mod names;
mod product;

use crate::config::AlbertConfig;
pub(crate) use crate::head::Head;
pub(crate) use names::*;
pub(crate) use product::Product;

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

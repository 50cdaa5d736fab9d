//! Maps the ranges of the flat buffer to the weights of the layers.

use std::ops::Range;

use crate::config::{AlbertConfig, ModelType};
use crate::parameters::{
    ATTENTION_OUTPUT_NORM, CLASSIFIER, DECODER_WEIGHT, LAYER_NORM, MASKED_LM_BIAS, MASKED_LM_DENSE,
    MASKED_LM_NORM, POOLER, Product, SENTENCE_ORDER, SPANS, bias, embedding_norm, embedding_table,
    in_masked_lm, in_model, layer_prefix, projection, weight,
};
use crate::train::flat::FlatTensor;

/// `y = x Wᵀ + b`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// The index among the network's dense layers.
    pub(super) id: usize,
    /// `(out, input)`
    pub(super) weight: Range<usize>,
    /// `(out)`
    pub(super) bias: Range<usize>,
    pub(super) out: usize,
    pub(super) input: usize,
}

/// γ and β
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Norm {
    pub(super) gamma: Range<usize>,
    pub(super) beta: Range<usize>,
}

/// A layer of a group.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub(super) query: Dense,
    /// Keys, then values.
    pub(super) key_value: Dense,
    pub(super) attention_output: Dense,
    pub(super) attention_norm: Norm,
    pub(super) inner: Dense,
    pub(super) output: Dense,
    pub(super) norm: Norm,
}

/// The masked-LM head.
#[derive(Debug, Clone)]
pub(super) struct MaskedLmHead {
    pub(super) dense: Dense,
    pub(super) norm: Norm,
    /// The weight is the word table if it is tied.
    pub(super) decoder: Dense,
    pub(super) is_tied: bool,
}

/// All layers of a model.
#[derive(Debug, Clone)]
pub(super) struct Network {
    pub(super) words: Range<usize>,
    pub(super) positions: Range<usize>,
    pub(super) types: Range<usize>,
    pub(super) embedding_norm: Norm,
    /// From E to H; `None` if E = H and the model has none.
    pub(super) projection: Option<Dense>,
    /// Those of the first group, then those of the next.
    pub(super) layers: Vec<Layer>,
    /// The layer of each step through the encoder: L repetitions of a group's layers.
    pub(super) schedule: Vec<usize>,
    /// L
    pub(super) repetitions: usize,
    pub(super) pooler: Option<Dense>,
    pub(super) masked_lm: Option<MaskedLmHead>,
    pub(super) sentence_order: Option<Dense>,
    pub(super) classifier: Option<Dense>,
    pub(super) spans: Option<Dense>,
    /// The number of dense layers.
    pub(super) dense_count: usize,
    model_type: ModelType,
}

impl Network {
    /// Returns true unless the classifier is that of a BERT's next sentence.
    pub(super) fn has_dropout_before(&self, classifier: &Dense) -> bool {
        let is_of_order = self
            .sentence_order
            .as_ref()
            .is_some_and(|order| order.id == classifier.id);
        self.model_type == ModelType::Albert || !is_of_order
    }

    /// Takes the ranges from the layout's tensors.
    pub(super) fn new<'a>(
        config: &AlbertConfig,
        tensor: impl Fn(&str) -> Option<&'a FlatTensor>,
    ) -> Self {
        let mut ranges = Ranges {
            tensor,
            dense_count: 0,
        };
        let (e, h, i) = (
            config.embedding_size,
            config.hidden_size,
            config.intermediate_size,
        );
        let table = |ranges: &Ranges<_>, name: &str| ranges.range(&embedding_table(name));
        let words = table(&ranges, "word");
        let (positions, types) = (table(&ranges, "position"), table(&ranges, "token_type"));
        let embedding_norm = ranges.norm(&embedding_norm());
        let projection = ranges.optional(&projection(), h, e);
        let mut layers = Vec::new();
        for group in 0..config.num_hidden_groups {
            for inner in 0..config.inner_group_num {
                let prefix = layer_prefix(group, inner);
                let name = |part: &str| format!("{prefix}.{part}");
                let product = |product: Product| name(product.name());
                layers.push(Layer {
                    query: ranges.dense(&product(Product::Query), h, h),
                    key_value: ranges.key_value([Product::Key, Product::Value].map(product), h),
                    attention_output: ranges.dense(&product(Product::AttentionOutput), h, h),
                    attention_norm: ranges.norm(&name(ATTENTION_OUTPUT_NORM)),
                    inner: ranges.dense(&product(Product::Inner), i, h),
                    output: ranges.dense(&product(Product::Output), h, i),
                    norm: ranges.norm(&name(LAYER_NORM)),
                });
            }
        }
        let schedule = (0..config.num_hidden_layers).flat_map(|repetition| {
            let first = config.group_for_layer(repetition) * config.inner_group_num;
            first..first + config.inner_group_num
        });
        let dense = ranges.optional(&in_masked_lm(MASKED_LM_DENSE), e, h);
        let masked_lm = dense.map(|dense| {
            let decoder = (ranges.tensor)(DECODER_WEIGHT);
            MaskedLmHead {
                dense,
                norm: ranges.norm(&in_masked_lm(MASKED_LM_NORM)),
                is_tied: decoder.is_none(),
                decoder: Dense {
                    weight: decoder.map_or(words.clone(), |tensor| tensor.range.clone()),
                    bias: ranges.range(MASKED_LM_BIAS),
                    out: config.vocab_size,
                    input: e,
                    id: ranges.next(),
                },
            }
        });
        let labels = (ranges.tensor)(&weight(CLASSIFIER)).map_or(0, |tensor| tensor.shape[0]);
        Self {
            words,
            positions,
            types,
            embedding_norm,
            projection,
            layers,
            schedule: schedule.collect(),
            repetitions: config.num_hidden_layers,
            pooler: ranges.optional(&in_model(POOLER), h, h),
            masked_lm,
            sentence_order: ranges.optional(SENTENCE_ORDER, 2, h),
            classifier: ranges.optional(CLASSIFIER, labels, h),
            spans: ranges.optional(SPANS, 2, h),
            dense_count: ranges.dense_count,
            model_type: config.model_type,
        }
    }

    /// Returns the dense layers of the encoder.
    pub(super) fn encoder(&self) -> impl Iterator<Item = &Dense> {
        let layers = self.layers.iter().flat_map(|layer| {
            [
                &layer.query,
                &layer.key_value,
                &layer.attention_output,
                &layer.inner,
                &layer.output,
            ]
        });
        self.projection.iter().chain(layers)
    }
}

struct Ranges<F> {
    tensor: F,
    dense_count: usize,
}

impl<'a, F: Fn(&str) -> Option<&'a FlatTensor>> Ranges<F> {
    fn next(&mut self) -> usize {
        self.dense_count += 1;
        self.dense_count - 1
    }

    fn range(&self, name: &str) -> Range<usize> {
        let tensor = (self.tensor)(name).expect("the layout has every tensor of the model");
        tensor.range.clone()
    }

    fn norm(&self, name: &str) -> Norm {
        Norm {
            gamma: self.range(&weight(name)),
            beta: self.range(&bias(name)),
        }
    }

    fn dense(&mut self, name: &str, out: usize, input: usize) -> Dense {
        Dense {
            id: self.next(),
            weight: self.range(&weight(name)),
            bias: self.range(&bias(name)),
            out,
            input,
        }
    }

    fn optional(&mut self, name: &str, out: usize, input: usize) -> Option<Dense> {
        (self.tensor)(&weight(name))?;
        Some(self.dense(name, out, input))
    }

    /// Keys and values, which are next to each other.
    fn key_value(&mut self, names: [String; 2], h: usize) -> Dense {
        let both = |part: fn(&str) -> String| {
            let [key, value] = [0, 1].map(|at| self.range(&part(&names[at])));
            debug_assert_eq!(key.end, value.start);
            key.start..value.end
        };
        let (weight, bias) = (both(weight), both(bias));
        Dense {
            id: self.next(),
            weight,
            bias,
            out: 2 * h,
            input: h,
        }
    }
}

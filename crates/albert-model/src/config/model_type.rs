//! The two networks of this crate, as named by `model_type` in `config.json`.

use std::fmt;

/// The network that a configuration describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum ModelType {
    /// ALBERT: layers in groups that share weights, and a projection from E to H.
    #[default]
    Albert,
    /// BERT: one group per layer, E = H, and no projection.
    Bert,
}

impl ModelType {
    /// Both networks.
    pub(crate) const ALL: [Self; 2] = [Self::Albert, Self::Bert];

    /// Returns the prefix of transformers' class names, as in `AlbertModel`.
    pub(crate) fn class_prefix(self) -> &'static str {
        match self {
            Self::Albert => "Albert",
            Self::Bert => "Bert",
        }
    }

    /// Returns the network with its article, "an ALBERT" or "a BERT".
    pub(crate) fn with_article(self) -> &'static str {
        match self {
            Self::Albert => "an ALBERT",
            Self::Bert => "a BERT",
        }
    }

    /// Returns the name in `config.json`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Albert => "albert",
            Self::Bert => "bert",
        }
    }
}

impl fmt::Display for ModelType {
    /// Writes the name as in prose, "ALBERT" or "BERT".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Albert => "ALBERT",
            Self::Bert => "BERT",
        })
    }
}

/// An encoder that is often mistaken for a BERT.
struct Other {
    /// Its `model_type`.
    name: &'static str,
    /// The prefix of transformers' classes for it.
    class_prefix: &'static str,
    /// The module that its heads hold, as the names of their tensors begin; empty if it is a BERT's.
    module: &'static str,
    /// The differences from a BERT.
    why: &'static str,
}

const fn other(
    name: &'static str,
    class_prefix: &'static str,
    module: &'static str,
    why: &'static str,
) -> Other {
    Other {
        name,
        class_prefix,
        module,
        why,
    }
}

const ROBERTA: &str =
    "a RoBERTa counts positions from its padding id and has a masked-LM head of its own";
const DEBERTA: &str = "a DeBERTa has disentangled attention over relative positions";
const GTE: &str = "a GTE model has rotary positions and gated feed-forward networks";

/// Longer prefixes of classes come before those that they begin with.
const OTHERS: [Other; 24] = [
    other(
        "xlm-roberta-xl",
        "XLMRobertaXL",
        "",
        "an XLM-RoBERTa-XL normalizes before its sub-layers",
    ),
    other("xlm-roberta", "XLMRoberta", "roberta", ROBERTA),
    other("camembert", "Camembert", "roberta", ROBERTA),
    other(
        "roberta-prelayernorm",
        "RobertaPreLayerNorm",
        "roberta_prelayernorm",
        "it normalizes before its sub-layers",
    ),
    other("roberta", "Roberta", "roberta", ROBERTA),
    other(
        "distilbert",
        "DistilBert",
        "distilbert",
        "a DistilBERT has neither token types nor a pooler, and heads of its own",
    ),
    other(
        "electra",
        "Electra",
        "electra",
        "an ELECTRA has no pooler, and heads of its own",
    ),
    other(
        "mobilebert",
        "MobileBert",
        "mobilebert",
        "a MobileBERT has bottlenecks in each layer",
    ),
    other(
        "squeezebert",
        "SqueezeBert",
        "",
        "a SqueezeBERT has grouped convolutions",
    ),
    other(
        "mpnet",
        "MPNet",
        "mpnet",
        "an MPNet has relative position biases and no token types",
    ),
    other("deberta-v2", "DebertaV2", "deberta", DEBERTA),
    other("deberta", "Deberta", "deberta", DEBERTA),
    other(
        "modernbert",
        "ModernBert",
        "",
        "a ModernBERT has rotary positions, local attention and no biases",
    ),
    other(
        "nomic_bert",
        "NomicBert",
        "",
        "a Nomic BERT has rotary positions and gated feed-forward networks",
    ),
    other("new", "New", "new", GTE),
    other("gte", "Gte", "", GTE),
    other(
        "megatron-bert",
        "MegatronBert",
        "",
        "a Megatron BERT normalizes before its sub-layers",
    ),
    other(
        "roformer",
        "RoFormer",
        "roformer",
        "a RoFormer has rotary positions",
    ),
    other(
        "rembert",
        "RemBert",
        "rembert",
        "a RemBERT has an output embedding of its own",
    ),
    other(
        "ernie",
        "Ernie",
        "ernie",
        "an ERNIE has embeddings of tasks",
    ),
    other("nezha", "Nezha", "nezha", "a NEZHA has relative positions"),
    other("big_bird", "BigBird", "", "a BigBird has sparse attention"),
    other(
        "convbert",
        "ConvBert",
        "convbert",
        "a ConvBERT has convolutions in its attention",
    ),
    other(
        "xlnet",
        "XLNet",
        "",
        "an XLNet has relative positions and two streams of attention",
    ),
];

impl ModelType {
    /// Returns what another network than ALBERT and BERT has, by the class of transformers.
    pub(crate) fn other_by_class(class: &str) -> Option<&'static str> {
        let found = OTHERS.iter().find(|it| class.starts_with(it.class_prefix));
        found.map(|it| it.why)
    }

    /// Returns what another network than ALBERT and BERT has, by the module that its heads hold.
    pub(crate) fn other_by_module(module: &str) -> Option<&'static str> {
        let found = OTHERS
            .iter()
            .find(|it| !module.is_empty() && it.module == module);
        found.map(|it| it.why)
    }
}

/// Returns what is expected in place of the model type `found`.
pub(super) fn expected(found: &str) -> String {
    match OTHERS.iter().find(|it| it.name == found) {
        Some(other) => format!(
            "\"albert\" or \"bert\" ({}, which is not supported)",
            other.why
        ),
        None => "\"albert\" or \"bert\"".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relatives_of_bert_are_refused_with_what_they_would_need() {
        assert!(expected("roberta").contains("counts positions from its padding id"));
        assert_eq!(expected("gpt2"), "\"albert\" or \"bert\"");
        assert_eq!(ModelType::other_by_class("BertForMaskedLM"), None);
        assert_eq!(ModelType::other_by_module("bert"), None);
        assert_eq!(ModelType::other_by_module(""), None);
        assert_eq!(
            ModelType::other_by_class("DebertaV2ForMaskedLM"),
            Some(DEBERTA)
        );
    }
}

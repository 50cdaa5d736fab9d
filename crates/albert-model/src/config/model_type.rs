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

/// Encoders that are often mistaken for a BERT, and the difference of each.
const OTHERS: [(&str, &str); 16] = [
    ("roberta", ROBERTA),
    ("xlm-roberta", ROBERTA),
    ("camembert", ROBERTA),
    (
        "distilbert",
        "a DistilBERT has neither token types nor a pooler, and heads of its own",
    ),
    (
        "electra",
        "an ELECTRA has heads of its own, for replaced tokens",
    ),
    ("mobilebert", "a MobileBERT has bottlenecks in each layer"),
    ("squeezebert", "a SqueezeBERT has grouped convolutions"),
    ("mpnet", "an MPNet has relative position biases"),
    ("deberta", DEBERTA),
    ("deberta-v2", DEBERTA),
    (
        "modernbert",
        "a ModernBERT has rotary positions, local attention and no biases",
    ),
    (
        "nomic_bert",
        "a Nomic BERT has rotary positions and gated feed-forward networks",
    ),
    (
        "new",
        "a GTE model has rotary positions and gated feed-forward networks",
    ),
    (
        "megatron-bert",
        "a Megatron BERT normalizes before its sub-layers",
    ),
    ("roformer", "a RoFormer has rotary positions"),
    (
        "xlnet",
        "an XLNet has relative positions and two streams of attention",
    ),
];

const ROBERTA: &str =
    "a RoBERTa counts positions from its padding id and has a masked-LM head of its own";
const DEBERTA: &str = "a DeBERTa has disentangled attention over relative positions";

/// Returns what is expected in place of the model type `found`.
pub(super) fn expected(found: &str) -> String {
    match OTHERS.iter().find(|(name, _)| *name == found) {
        Some((_, why)) => format!("\"albert\" or \"bert\" ({why}, which is not supported)"),
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
    }
}

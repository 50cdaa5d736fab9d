//! Converts BERT's tensor names, in transformers' files and Google's, to canonical names and back.
//!
//! A BERT is an ALBERT with one group per layer, so layer N is group N.
//!
//! | BERT | canonical |
//! |---|---|
//! | `bert.encoder.layer.N.attention.self.query` | `albert.encoder.albert_layer_groups.N.albert_layers.0.attention.query` |
//! | `….attention.output.dense`, `….attention.output.LayerNorm` | `….attention.dense`, `….attention.LayerNorm` |
//! | `….intermediate.dense`, `….output.dense` | `….ffn`, `….ffn_output` |
//! | `….output.LayerNorm` | `….full_layer_layer_norm` |
//! | `bert.pooler.dense` | `albert.pooler` |
//! | `cls.predictions.transform.dense`, `cls.predictions.bias` | `predictions.dense`, `predictions.bias` |
//! | `cls.seq_relationship` | `sop_classifier.classifier` |
//!
//! Source: transformers 4.46.3, `modeling_bert.py`; google-research/bert eedf571, `modeling.py`.

use crate::parameters::{
    ALBERT, ATTENTION, ATTENTION_NORM, CLASSIFIER, ENCODER, GROUPS, LAYER_NORM, LAYERS, MASKED_LM,
    Product, SENTENCE_ORDER, SPANS, in_model, layer_prefix,
};

/// Returns the names of a layer's modules in BERT and their canonical names.
fn modules() -> [(&'static str, String); 8] {
    [
        ("attention.self.query", Product::Query.name().into()),
        ("attention.self.key", Product::Key.name().into()),
        ("attention.self.value", Product::Value.name().into()),
        (
            "attention.output.dense",
            Product::AttentionOutput.name().into(),
        ),
        (
            "attention.output.LayerNorm",
            format!("{ATTENTION}.{ATTENTION_NORM}"),
        ),
        ("intermediate.dense", Product::Inner.name().into()),
        ("output.dense", Product::Output.name().into()),
        ("output.LayerNorm", LAYER_NORM.into()),
    ]
}

/// Returns true for a tensor of a BERT layer, whose name no ALBERT has: `…encoder.layer.0.…`, or
/// Google's `bert/encoder/layer_0/…`.
pub(super) fn is_of_layer(name: &str) -> bool {
    let rest = name
        .split_once("encoder.layer.")
        .or_else(|| name.split_once("encoder/layer_"));
    rest.is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns the canonical name of an encoder tensor, given without `bert.`.
pub(super) fn encoder_name(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("pooler.dense.") {
        return Some(format!("{}.{rest}", in_model("pooler")));
    }
    if let Some(rest) = name.strip_prefix("encoder.layer.") {
        let (layer, rest) = rest.split_once('.')?;
        let layer = layer.parse().ok()?;
        let known = modules().into_iter().find_map(|(bert, ours)| {
            let part = rest.strip_prefix(bert)?.strip_prefix('.')?;
            Some(format!("{ours}.{part}"))
        });
        // A name that no BERT has, such as that of cross-attention, stays within its layer, where it
        // has no place.
        let rest = known.unwrap_or_else(|| rest.to_string());
        return Some(format!("{}.{rest}", layer_prefix(layer, 0)));
    }
    name.starts_with("embeddings.")
        .then(|| format!("{ALBERT}.{name}"))
}

/// Returns the canonical name of a pretraining head's tensor.
pub(super) fn head_name(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("cls.seq_relationship.") {
        return Some(format!("{SENTENCE_ORDER}.{rest}"));
    }
    let rest = name.strip_prefix("cls.predictions.")?;
    let rest = rest.strip_prefix("transform.").unwrap_or(rest);
    Some(format!("{MASKED_LM}.{rest}"))
}

/// Converts a name in Google's archives (`bert/encoder/layer_0/…`, kernel, gamma, beta) to that in
/// transformers' files. The values of kernels are transposed elsewhere.
pub(super) fn from_tensorflow(name: &str) -> String {
    let name = name.strip_prefix("module/").unwrap_or(name);
    let parts: Vec<String> = name
        .split('/')
        .map(|part| match part {
            "kernel" | "gamma" | "output_weights" => "weight".into(),
            "beta" | "output_bias" => "bias".into(),
            _ if part.ends_with("_embeddings") => format!("{part}.weight"),
            _ => match part.strip_prefix("layer_") {
                Some(layer) => format!("layer.{layer}"),
                None => part.into(),
            },
        })
        .collect();
    match &parts[..] {
        // The heads that Google's fine-tuning scripts add.
        [part] if part == "weight" || part == "bias" => format!("{CLASSIFIER}.{part}"),
        [cls, squad, part] if cls == "cls" && squad == "squad" => format!("{SPANS}.{part}"),
        _ => parts.join("."),
    }
}

/// Converts a canonical name to that of transformers' BERT.
pub(super) fn to_bert(name: &str) -> String {
    let layers = format!("{ALBERT}.{ENCODER}.{GROUPS}.");
    let in_layer = || {
        let (layer, rest) = name.strip_prefix(&layers)?.split_once('.')?;
        let rest = rest.strip_prefix(LAYERS)?.strip_prefix(".0.")?;
        modules().into_iter().find_map(|(bert, ours)| {
            let part = rest.strip_prefix(ours.as_str())?.strip_prefix('.')?;
            Some(format!("bert.encoder.layer.{layer}.{bert}.{part}"))
        })
    };
    if let Some(name) = in_layer() {
        return name;
    }
    let replaced = [
        (format!("{}.", in_model("pooler")), "bert.pooler.dense."),
        (format!("{ALBERT}."), "bert."),
        (
            format!("{MASKED_LM}.dense."),
            "cls.predictions.transform.dense.",
        ),
        (
            format!("{MASKED_LM}.LayerNorm."),
            "cls.predictions.transform.LayerNorm.",
        ),
        (format!("{MASKED_LM}."), "cls.predictions."),
        (format!("{SENTENCE_ORDER}."), "cls.seq_relationship."),
    ];
    replaced
        .iter()
        .find_map(|(ours, bert)| Some(format!("{bert}{}", name.strip_prefix(ours.as_str())?)))
        .unwrap_or_else(|| name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of transformers' BERT, and their canonical names.
    const NAMES: [(&str, &str); 9] = [
        (
            "bert.embeddings.word_embeddings.weight",
            "albert.embeddings.word_embeddings.weight",
        ),
        (
            "bert.encoder.layer.11.attention.self.key.bias",
            "albert.encoder.albert_layer_groups.11.albert_layers.0.attention.key.bias",
        ),
        (
            "bert.encoder.layer.0.attention.output.LayerNorm.weight",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.attention.LayerNorm.weight",
        ),
        (
            "bert.encoder.layer.0.output.dense.weight",
            "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn_output.weight",
        ),
        ("bert.pooler.dense.weight", "albert.pooler.weight"),
        (
            "cls.predictions.transform.LayerNorm.bias",
            "predictions.LayerNorm.bias",
        ),
        ("cls.predictions.bias", "predictions.bias"),
        (
            "cls.seq_relationship.weight",
            "sop_classifier.classifier.weight",
        ),
        ("qa_outputs.bias", "qa_outputs.bias"),
    ];

    #[test]
    fn names_go_both_ways() {
        for (bert, ours) in NAMES {
            let found = match bert.strip_prefix("bert.") {
                Some(rest) => encoder_name(rest),
                None => head_name(bert),
            };
            assert_eq!(found.as_deref().unwrap_or(bert), ours);
            assert_eq!(to_bert(ours), bert);
        }
    }

    #[test]
    fn googles_names_become_transformers() {
        for (google, expected) in [
            (
                "bert/encoder/layer_3/attention/self/query/kernel",
                "bert.encoder.layer.3.attention.self.query.weight",
            ),
            (
                "bert/embeddings/LayerNorm/gamma",
                "bert.embeddings.LayerNorm.weight",
            ),
            (
                "bert/embeddings/word_embeddings",
                "bert.embeddings.word_embeddings.weight",
            ),
            ("cls/predictions/output_bias", "cls.predictions.bias"),
            (
                "cls/seq_relationship/output_weights",
                "cls.seq_relationship.weight",
            ),
            ("output_weights", "classifier.weight"),
            ("cls/squad/output_bias", "qa_outputs.bias"),
        ] {
            assert_eq!(from_tensorflow(google), expected);
        }
    }

    #[test]
    fn only_berts_layers_are_berts() {
        assert!(is_of_layer("encoder.layer.0.output.dense.weight"));
        assert!(is_of_layer("bert/encoder/layer_0/output/dense/kernel"));
        assert!(!is_of_layer(
            "bert/encoder/layer_shared/output/dense/kernel"
        ));
        assert!(!is_of_layer("albert.encoder.albert_layer_groups.0.x"));
    }
}

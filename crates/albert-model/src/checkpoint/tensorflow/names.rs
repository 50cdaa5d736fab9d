//! Converts Google's names of ALBERT's tensors, in TensorFlow checkpoints and, with dots, in
//! PyTorch code modeled on them.
//!
//! Source: google-research/albert, `modeling.py`; transformers 4.46.3, `load_tf_weights_in_albert`;
//! lonePatient/albert_pytorch 46de9ec, `model/modeling_albert.py`, for the names with dots.

use crate::parameters::{
    ATTENTION_OUTPUT_NORM, CLASSIFIER, DECODER, EMBEDDINGS, LAYER_NORM, MASKED_LM, POOLER, Product,
    SENTENCE_ORDER, in_masked_lm, in_model, layer_prefix, projection, weight,
};

/// Suffixes that optimizers give to their own tensors, and names of theirs without a weight's.
const SLOTS: [&str; 10] = [
    "adam_m",
    "adam_v",
    "lamb_m",
    "lamb_v",
    "AdamWeightDecayOptimizer",
    "AdamWeightDecayOptimizer_1",
    "LAMBOptimizer",
    "LAMBOptimizer_1",
    "global_step",
    "ExponentialMovingAverage",
];

/// Returns true for a tensor of the optimizer, which is not part of the model.
pub(in crate::checkpoint) fn is_slot(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|last| SLOTS.contains(&last))
}

/// Returns the canonical name of one of Google's names, `None` for any other.
pub(in crate::checkpoint) fn canonical(name: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split(['/', '.']) {
        match part {
            // With dots, list elements are `group.0`; in TensorFlow they are `group_0`.
            _ if part.starts_with("inner_group_") => parts.extend(["inner_group", &part[12..]]),
            _ if part.starts_with("group_") => parts.extend(["group", &part[6..]]),
            "attention_1" => parts.push("attention"),
            "ffn_1" => parts.push("ffn"),
            "kernel" | "gamma" | "output_weights" => parts.push("weight"),
            "beta" | "output_bias" => parts.push("bias"),
            _ => parts.push(part),
        }
    }
    // TensorFlow Hub puts everything below `module`.
    let parts = parts.strip_prefix(&["module"]).unwrap_or(&parts);
    let (last, parts) = parts.split_last()?;
    let name = match parts {
        ["bert", "embeddings"] if last.ends_with("_embeddings") => {
            return Some(weight(&in_model(&format!("{EMBEDDINGS}.{last}"))));
        }
        ["bert", "embeddings", table] => in_model(&format!("{EMBEDDINGS}.{table}")),
        ["bert", "encoder", "embedding_hidden_mapping_in"] => projection(),
        [
            "bert",
            "encoder",
            "transformer",
            "group",
            group,
            "inner_group",
            inner,
            part @ ..,
        ] => {
            let part = match part {
                ["attention", "self", "query"] => Product::Query.name(),
                ["attention", "self", "key"] => Product::Key.name(),
                ["attention", "self", "value"] => Product::Value.name(),
                ["attention", "output", "dense"] => Product::AttentionOutput.name(),
                ["LayerNorm"] => ATTENTION_OUTPUT_NORM,
                ["LayerNorm_1"] => LAYER_NORM,
                ["ffn", "intermediate", "dense"] => Product::Inner.name(),
                ["ffn", "intermediate", "output", "dense"] => Product::Output.name(),
                _ => return None,
            };
            let (group, inner) = (group.parse().ok()?, inner.parse().ok()?);
            format!("{}.{part}", layer_prefix(group, inner))
        }
        ["bert", "pooler", "dense"] => in_model(POOLER),
        ["cls", "predictions", "transform", part] => in_masked_lm(part),
        ["cls", "predictions"] => MASKED_LM.into(),
        ["cls", "predictions", "decoder"] => in_masked_lm(DECODER),
        ["cls", "seq_relationship"] => SENTENCE_ORDER.into(),
        [] if name == "output_weights" || name == "output_bias" => CLASSIFIER.into(),
        _ => return None,
    };
    matches!(*last, "weight" | "bias").then(|| format!("{name}.{last}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYER: &str = "albert.encoder.albert_layer_groups.2.albert_layers.1";

    #[test]
    fn googles_names_become_hugging_faces() {
        let tensorflow = "bert/encoder/transformer/group_2/inner_group_1";
        let dots = "bert.encoder.transformer.group.2.inner_group.1";
        let cases = [
            (
                "bert/embeddings/word_embeddings".into(),
                "albert.embeddings.word_embeddings.weight".into(),
            ),
            (
                "module/bert/embeddings/LayerNorm/gamma".into(),
                "albert.embeddings.LayerNorm.weight".into(),
            ),
            (
                "bert/encoder/embedding_hidden_mapping_in/bias".into(),
                "albert.encoder.embedding_hidden_mapping_in.bias".into(),
            ),
            (
                format!("{tensorflow}/attention_1/self/key/kernel"),
                format!("{LAYER}.attention.key.weight"),
            ),
            (
                format!("{tensorflow}/attention_1/output/dense/bias"),
                format!("{LAYER}.attention.dense.bias"),
            ),
            (
                format!("{tensorflow}/LayerNorm/beta"),
                format!("{LAYER}.attention.LayerNorm.bias"),
            ),
            (
                format!("{tensorflow}/LayerNorm_1/gamma"),
                format!("{LAYER}.full_layer_layer_norm.weight"),
            ),
            (
                format!("{tensorflow}/ffn_1/intermediate/dense/kernel"),
                format!("{LAYER}.ffn.weight"),
            ),
            (
                format!("{tensorflow}/ffn_1/intermediate/output/dense/bias"),
                format!("{LAYER}.ffn_output.bias"),
            ),
            (
                "bert/pooler/dense/kernel".into(),
                "albert.pooler.weight".into(),
            ),
            (
                "cls/predictions/transform/LayerNorm/beta".into(),
                "predictions.LayerNorm.bias".into(),
            ),
            (
                "cls/predictions/output_bias".into(),
                "predictions.bias".into(),
            ),
            (
                "cls/seq_relationship/output_weights".into(),
                "sop_classifier.classifier.weight".into(),
            ),
            ("output_weights".into(), "classifier.weight".into()),
            (
                format!("{dots}.attention.self.query.weight"),
                format!("{LAYER}.attention.query.weight"),
            ),
            (
                format!("{dots}.ffn.intermediate.output.dense.bias"),
                format!("{LAYER}.ffn_output.bias"),
            ),
            (
                "bert.pooler.dense.weight".into(),
                "albert.pooler.weight".into(),
            ),
            (
                "cls.seq_relationship.weight".into(),
                "sop_classifier.classifier.weight".into(),
            ),
            (
                "cls.predictions.decoder.weight".into(),
                "predictions.decoder.weight".into(),
            ),
        ];
        let cases: [(String, String); 19] = cases;
        for (google, expected) in cases {
            assert_eq!(canonical(&google), Some(expected), "{google}");
        }
    }

    #[test]
    fn other_names_are_none_of_googles() {
        for name in [
            "bert/encoder/layer_shared/attention/self/key/kernel",
            "",
            "a/b",
            "weight",
            "classifier.weight",
        ] {
            assert_eq!(canonical(name), None, "{name}");
        }
        assert!(is_slot("bert/pooler/dense/kernel/adam_m") && is_slot("global_step"));
        assert!(!is_slot("bert/pooler/dense/kernel"));
    }
}

//! Configurations that are read, and the messages for those that are not.

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

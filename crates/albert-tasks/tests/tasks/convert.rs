//! A converted model is the same model, with all its files.

use albert_tasks::albert_model::WeightFormat;
use albert_tasks::tools::convert;
use albert_tasks::{Embedder, ModelFiles, RunOptions};

use crate::support::{Folder, max_difference, message, tiny};

/// Weights rounded to 8 bits, on a vector of length 1. Seen: 0.003.
const BF16_TOLERANCE: f32 = 0.02;

/// The rounding of products in 8 bits. Seen: 0.007.
const INT8_TOLERANCE: f32 = 0.04;

fn embedding(files: &ModelFiles) -> Vec<f32> {
    let embedder = Embedder::load(files, &RunOptions::default()).unwrap();
    embedder.embed(&["the river"]).unwrap().remove(0).vector
}

#[test]
fn tokenizer_and_pooling_come_along() {
    let dir = tempfile::tempdir().unwrap();
    for (dtype, tolerance) in [
        (WeightFormat::F32, 0.0),
        (WeightFormat::BF16, BF16_TOLERANCE),
        (WeightFormat::Int8, INT8_TOLERANCE),
    ] {
        let folder = dtype.to_string();
        let converted = dir.path().join(&folder);
        let report = convert(&tiny(), &converted, dtype).unwrap();
        assert!(report.unused.is_empty());
        let converted = ModelFiles::from_dir(&converted).unwrap();
        for file in [
            "tokenizer.json",
            "modules.json",
            "1_Pooling/config.json",
            "sentence_bert_config.json",
        ] {
            assert_eq!(
                converted.read(file).unwrap(),
                tiny().read(file).unwrap(),
                "{file}"
            );
        }
        assert!(
            max_difference(&embedding(&tiny()), &embedding(&converted)) <= tolerance,
            "{folder}"
        );
    }
}

#[test]
fn googles_names_of_a_tokenizer_become_those_of_transformers() {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
    for (from, name, becomes) in [
        (
            "sentencepiece/spiece.model",
            "30k-clean.model",
            "spiece.model",
        ),
        ("wordpiece/vocab.txt", "vocab_chinese.txt", "vocab.txt"),
    ] {
        let content = std::fs::read(format!("{fixtures}/{from}")).unwrap();
        let folder = Folder::new()
            .without("tokenizer.json")
            .without("tokenizer_config.json")
            .with(name, &content);
        let dir = tempfile::tempdir().unwrap();
        let converted = dir.path().join("converted");
        convert(&folder.files(), &converted, WeightFormat::F32).unwrap();
        assert_eq!(std::fs::read(converted.join(becomes)).unwrap(), content);
        assert!(!converted.join(name).exists());
    }
}

#[test]
fn nothing_is_written_where_something_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let outside = Folder::new().modules(&[("Transformer", ""), ("Pooling", "../1_Pooling")]);
    let error = message(convert(&outside.files(), dir.path(), WeightFormat::F32));
    assert!(
        error.contains("`../1_Pooling` in `modules.json` leaves the model's folder"),
        "{error}"
    );
    let broken = Folder::new().with("model.safetensors", "not tensors");
    assert!(convert(&broken.files(), dir.path(), WeightFormat::F32).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

    convert(&tiny(), dir.path(), WeightFormat::F32).unwrap();
    let error = message(convert(&tiny(), dir.path(), WeightFormat::F32));
    assert!(error.contains("already holds a model"), "{error}");
}

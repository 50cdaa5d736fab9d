//! The report of `inspect` on a model.

use albert_tasks::RunOptions;
use albert_tasks::tools::inspect;

use crate::support::{Folder, tiny};

#[test]
fn a_model_is_described_from_its_files() {
    let inspection = inspect(&tiny(), &RunOptions::default()).unwrap();
    let json = serde_json::to_value(&inspection).unwrap();
    assert_eq!(json["architecture"], "AlbertForPreTraining");
    assert_eq!(json["activation"]["name"], "gelu_new");
    assert_eq!(json["pooling"]["modes"], serde_json::json!(["cls", "mean"]));
    assert_eq!(json["pooling"]["normalize"], true);
    assert_eq!(json["tokenizer"]["model"], "Unigram");
    assert_eq!(json["tokenizer"]["lowercase"], true);
    assert_eq!(json["tokenizer"]["keep_accents"], false);
    assert_eq!(json["tokenizer"]["max_length"], 40);
    for key in ["used", "missing", "unused", "renamed", "tied"] {
        assert!(json["tensors"][key].is_array(), "{key}");
    }
    assert!(inspection.tensors.missing.is_empty() && inspection.tensors.unused.is_empty());
    assert!(
        inspection
            .tensors
            .used
            .iter()
            .any(|name| name == "albert.pooler.weight")
    );
    let stored = std::fs::metadata(crate::support::tiny_dir().join("model.safetensors"))
        .unwrap()
        .len() as usize;
    let header = stored - inspection.parameters * 4;
    assert!(
        (1000..5000).contains(&header),
        "{} parameters in {stored} bytes",
        inspection.parameters
    );
}

#[test]
fn parts_that_cannot_be_used_are_described_too() {
    let folder = Folder::new()
        .without("tokenizer.json")
        .modules(&[("Transformer", ""), ("LSTM", "")]);
    let json =
        serde_json::to_value(inspect(&folder.files(), &RunOptions::default()).unwrap()).unwrap();
    assert!(
        json["tokenizer"]["error"]
            .as_str()
            .unwrap()
            .starts_with("no tokenizer in `")
    );
    assert!(
        json["pooling"]["error"]
            .as_str()
            .unwrap()
            .starts_with("module `sentence_transformers.models.LSTM`")
    );
}

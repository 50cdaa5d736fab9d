//! Model folders, whole and broken: what is said about each.

use albert_tasks::{
    Embedder, FillOptions, MaskFiller, ModelFiles, PoolingMode, RunOptions, Tokenizer,
    TokenizerOptions,
};
use serde_json::json;

use crate::support::{Folder, message, tiny};

const LFS_POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:0f\nsize 99\n";

fn embedder_error(folder: Folder) -> String {
    message(Embedder::load(&folder.files(), &RunOptions::default()))
}

#[test]
fn the_copied_folder_is_the_same_model() {
    let embed = |files: &ModelFiles| {
        Embedder::load(files, &RunOptions::default())
            .unwrap()
            .embed(&["the river"])
            .unwrap()
    };
    assert_eq!(embed(&Folder::new().files()), embed(&tiny()));
}

#[test]
fn a_folder_without_config_says_so() {
    let error = embedder_error(Folder::new().without("config.json"));
    assert!(
        error.starts_with("no configuration in `") && error.contains("expected `config.json`"),
        "{error}"
    );
}

#[test]
fn a_folder_without_tokenizer_says_what_is_expected() {
    let error = embedder_error(Folder::new().without("tokenizer.json"));
    assert!(
        error.starts_with("no tokenizer in `")
            && error.ends_with("expected `spiece.model`, `tokenizer.json` or `vocab.txt`"),
        "{error}"
    );
}

#[test]
fn a_broken_tokenizer_file_is_named() {
    for file in ["spiece.model", "vocab.txt"] {
        let error = embedder_error(Folder::new().without("tokenizer.json").with(file, "x"));
        assert!(error.contains(&format!("`{file}`")), "{error}");
    }
}

#[test]
fn lfs_pointers_are_refused() {
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "modules.json",
        "1_Pooling/config.json",
    ] {
        let error = embedder_error(Folder::new().with(file, LFS_POINTER));
        assert!(
            error.contains(file) && error.contains("is a Git LFS pointer"),
            "{file}: {error}"
        );
    }
}

#[test]
fn a_vocabulary_larger_than_the_table_is_refused() {
    let folder = Folder::new().edit("tokenizer.json", |tokenizer| {
        tokenizer["model"]["vocab"]
            .as_array_mut()
            .unwrap()
            .push(json!(["▁one more", -9.0]));
    });
    let rows = Tokenizer::load(&tiny(), &TokenizerOptions::default())
        .unwrap()
        .vocab_size();
    assert_eq!(
        embedder_error(folder),
        format!(
            "`tokenizer.json` has ids up to {rows}: expected ids below {rows}, the `vocab_size` of `config.json`"
        )
    );
}

#[test]
fn a_vocabulary_without_special_tokens_is_refused() {
    let rename = |token: &'static str| {
        Folder::new().edit("tokenizer.json", move |tokenizer| {
            let added = tokenizer["added_tokens"].as_array_mut().unwrap();
            added.retain(|added| added["content"] != token);
            let vocabulary = tokenizer["model"]["vocab"].as_array_mut().unwrap();
            vocabulary
                .iter_mut()
                .find(|piece| piece[0] == token)
                .unwrap()[0] = json!("gone");
        })
    };
    for token in ["[CLS]", "[SEP]"] {
        let error = embedder_error(rename(token));
        assert_eq!(
            error,
            format!("no `{token}` in the vocabulary of `tokenizer.json`")
        );
    }
    let folder = rename("[MASK]");
    let without_mask = folder.files();
    Embedder::load(&without_mask, &RunOptions::default()).unwrap();
    let error = message(MaskFiller::load(&without_mask, &RunOptions::default()));
    assert_eq!(error, "no `[MASK]` in the vocabulary of `tokenizer.json`");
}

#[test]
fn broken_json_names_the_file() {
    for file in [
        "tokenizer_config.json",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
    ] {
        let error = embedder_error(Folder::new().with(file, "{\"a\": "));
        assert!(
            error.starts_with(&format!("`{file}` is not valid JSON: ")),
            "{error}"
        );
    }
    let error = embedder_error(Folder::new().with("tokenizer.json", "{}"));
    assert!(
        error.starts_with("`tokenizer.json` does not describe a tokenizer: "),
        "{error}"
    );
}

#[test]
fn wrong_types_name_file_key_expected_and_found() {
    let pooling = |key: &'static str, value: serde_json::Value| {
        embedder_error(
            Folder::new().edit("1_Pooling/config.json", move |config| config[key] = value),
        )
    };
    let file = "`1_Pooling/config.json`";
    assert_eq!(
        pooling("pooling_mode_mean_tokens", json!("yes")),
        format!("`pooling_mode_mean_tokens` in {file}: expected true or false, found \"yes\"")
    );
    assert_eq!(
        pooling("word_embedding_dimension", json!(-1)),
        format!("`word_embedding_dimension` in {file}: expected a whole number, found -1")
    );
    assert_eq!(
        pooling("word_embedding_dimension", json!(768)),
        format!(
            "`word_embedding_dimension` in {file}: expected 24, the `hidden_size` of `config.json`, found 768"
        )
    );
    let known = "cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken";
    for mode in [json!("average"), json!(["cls", 3]), json!([])] {
        let error = pooling("pooling_mode", mode);
        assert!(
            error.starts_with(&format!(
                "`pooling_mode` in {file}: expected one of {known}"
            )),
            "{error}"
        );
    }
    let error = embedder_error(Folder::new().with("modules.json", "{}"));
    assert_eq!(
        error,
        "`(top level)` in `modules.json`: expected a list of modules, found an object"
    );
    let error = embedder_error(Folder::new().with(
        "sentence_bert_config.json",
        "{\"max_seq_length\": \"long\"}",
    ));
    assert_eq!(
        error,
        "`max_seq_length` in `sentence_bert_config.json`: expected a whole number, found \"long\""
    );
}

#[test]
fn no_path_leads_out_of_the_folder() {
    for path in ["../1_Pooling", "/etc", "1_Pooling/../.."] {
        let error =
            embedder_error(Folder::new().modules(&[("Transformer", ""), ("Pooling", path)]));
        assert_eq!(
            error,
            format!("path `{path}` in `modules.json` leaves the model's folder")
        );
    }
}

#[test]
fn modules_that_are_not_computed_are_refused_with_the_reason() {
    let base = [("Transformer", ""), ("Pooling", "1_Pooling")];
    let refused = |modules: &[(&str, &str)]| embedder_error(Folder::new().modules(modules));
    let module = "sentence_transformers.models";
    assert_eq!(
        refused(&[base[0], base[1], ("LSTM", "2_LSTM")]),
        format!(
            "module `{module}.LSTM` in `modules.json` is not supported: only Transformer, Pooling, Dense, \
             LayerNorm, Dropout and Normalize are computed"
        )
    );
    let order =
        "expected Transformer, then Pooling, then any of Dense, LayerNorm, Dropout and Normalize";
    for modules in [
        vec![base[1], base[0]],
        vec![base[0], ("Normalize", "1_Normalize")],
        vec![base[0], ("Dense", "1_Dense"), base[1]],
        vec![base[0], base[1], base[1]],
    ] {
        assert!(refused(&modules).ends_with(order));
    }
    let own = json!([{"type": "modeling.Dense", "path": ""}]).to_string();
    assert_eq!(
        embedder_error(Folder::new().with("modules.json", &own)),
        "module `modeling.Dense` in `modules.json` is not supported: it is the model's own code, \
         which is never run"
    );
    let moved = refused(&[("Transformer", "0_Transformer"), base[1]]);
    assert!(
        moved.ends_with("it has no folder `0_Transformer`"),
        "{moved}"
    );
    assert_eq!(
        refused(&[base[0]]),
        "`type` in `modules.json`: expected a module `Pooling`, found none"
    );
}

#[test]
fn a_plain_folder_gets_mean_and_normalization_and_says_so() {
    let folder = Folder::new().without("modules.json");
    let embedder = Embedder::load(&folder.files(), &RunOptions::default())
        .unwrap()
        .with_truncate_dim(7)
        .unwrap();
    let pooling = embedder.pooling();
    assert_eq!(
        (pooling.modes.as_slice(), pooling.normalize),
        (&[PoolingMode::Mean][..], true)
    );
    assert!(!pooling.from_modules && pooling.why.contains("no modules.json"));
    // Without modules.json, the cut comes before the normalization.
    let vector = &embedder.embed(&["the river"]).unwrap()[0].vector;
    assert!((vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-6);
}

#[test]
fn a_default_prompt_that_is_not_there_is_an_error() {
    let prompts =
        json!({"prompts": {"query": "query: "}, "default_prompt_name": "passage"}).to_string();
    assert_eq!(
        embedder_error(Folder::new().with("config_sentence_transformers.json", &prompts)),
        "`default_prompt_name` in `config_sentence_transformers.json`: expected one of `prompts`, found \"passage\""
    );
}

#[test]
fn the_shortest_of_the_limits_on_length_holds() {
    let max_length = |folder: Folder| {
        Embedder::load(&folder.files(), &RunOptions::default())
            .unwrap()
            .max_length()
    };
    let tokenizer = |config: serde_json::Value| {
        let folder = Folder::new().without("sentence_bert_config.json");
        max_length(folder.with("tokenizer_config.json", config.to_string()))
    };
    assert_eq!(
        max_length(Folder::new().with("sentence_bert_config.json", "{\"max_seq_length\": 20}")),
        20
    );
    // `max_seq_length` replaces the tokenizer's limit, also where it is the larger; null is as none.
    let both = |length: serde_json::Value| {
        let folder = Folder::new().with("tokenizer_config.json", "{\"model_max_length\": 16}");
        let length = json!({"max_seq_length": length}).to_string();
        max_length(folder.with("sentence_bert_config.json", length))
    };
    assert_eq!((both(json!(40)), both(json!(null))), (40, 16));
    assert_eq!(tokenizer(json!({"max_len": 30})), 30);
    assert_eq!(tokenizer(json!({"model_max_length": 1e30})), 48);
    assert_eq!(tokenizer(json!({"model_max_length": 512})), 48);
}

/// sentence-transformers before 2.0 saved the network in a folder of its own, and a version alone as
/// the top `config.json`.
#[test]
fn a_network_in_a_folder_of_its_own_is_the_same_model() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path("0_Transformer")).unwrap();
    for file in [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
    ] {
        let moved = folder.path("0_Transformer").join(file);
        std::fs::rename(folder.path(file), moved).unwrap();
    }
    let folder = folder.with("config.json", "{\"__version__\": \"1.2.0\"}");
    let folder = folder.edit("modules.json", |modules| {
        modules[0]["path"] = json!("0_Transformer");
    });
    let embed = |files: &ModelFiles| {
        let embedder = Embedder::load(files, &RunOptions::default()).unwrap();
        embedder.embed(&["the river"]).unwrap()
    };
    assert_eq!(embed(&folder.files()), embed(&tiny()));
}

/// Python writes them, where JSON has no such numbers.
#[test]
fn numbers_that_are_not_finite_do_not_matter_where_nobody_reads_them() {
    let config = std::fs::read_to_string(Folder::new().path("config.json")).unwrap();
    let config = config.replacen('{', "{\"loss\": NaN, \"best\": [-Infinity], ", 1);
    let folder = Folder::new().with("config.json", config);
    Embedder::load(&folder.files(), &RunOptions::default()).unwrap();
}

#[test]
fn do_lower_case_of_sentence_transformers_lowercases() {
    let cased = || {
        Folder::new().edit("tokenizer.json", |tokenizer| {
            let steps = tokenizer["normalizer"]["normalizers"]
                .as_array_mut()
                .unwrap();
            steps.retain(|step| step["type"] != "Lowercase");
        })
    };
    let embed = |folder: &Folder, text: &str| {
        Embedder::load(&folder.files(), &RunOptions::default())
            .unwrap()
            .embed(&[text])
            .unwrap()
    };
    let lowered = cased().with("sentence_bert_config.json", "{\"do_lower_case\": true}");
    assert_ne!(embed(&cased(), "The River"), embed(&cased(), "the river"));
    assert_eq!(embed(&lowered, "The River"), embed(&cased(), "the river"));
}

#[test]
fn a_tokenizer_that_makes_its_library_panic_is_an_error() {
    let unknown_token = Folder::new().edit("tokenizer.json", |tokenizer| {
        tokenizer["post_processor"]["special_tokens"] = json!({});
    });
    let broken_map = Folder::new().edit("tokenizer.json", |tokenizer| {
        tokenizer["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
    });
    for folder in [unknown_token, broken_map] {
        let error = embedder_error(folder);
        assert!(
            error.starts_with("`tokenizer.json` does not describe a tokenizer: "),
            "{error}"
        );
    }
}

#[test]
fn a_mask_token_that_no_text_can_hold_is_refused_when_loading() {
    let folder = Folder::new().edit("tokenizer.json", |tokenizer| {
        tokenizer["added_tokens"]
            .as_array_mut()
            .unwrap()
            .retain(|token| token["content"] != "[MASK]");
    });
    let error = message(MaskFiller::load(&folder.files(), &RunOptions::default()));
    assert!(
        error.starts_with("`[MASK]` is not among the `added_tokens`"),
        "{error}"
    );
}

#[test]
fn weights_that_are_no_numbers_give_an_error_and_no_answer() {
    let folder = Folder::new();
    let path = folder.path("model.safetensors");
    let mut tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    for (name, tensor) in &mut tensors {
        if name.ends_with("word_embeddings.weight") {
            *tensor = (tensor.zeros_like().unwrap() / 0.0).unwrap();
        }
    }
    candle_core::safetensors::save(&tensors, &path).unwrap();
    let embedder = Embedder::load(&folder.files(), &RunOptions::default()).unwrap();
    assert!(message(embedder.embed(&["the river"])).contains("not finite"));
    let filler = MaskFiller::load(&folder.files(), &RunOptions::default()).unwrap();
    let filled = filler
        .fill_each(&["the [MASK]"], &FillOptions::default())
        .pop()
        .unwrap();
    assert!(message(filled).contains("not finite"));
}

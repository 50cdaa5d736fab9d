//! `inspect`: what a model is made of.

use serde_json::Value;

use crate::harness::{Folder, cli};

#[test]
fn json_has_the_sections_of_the_contract() {
    let run = cli(&["inspect", "--format", "json"]).ok();
    let model: Value = serde_json::from_str(&run.stdout).unwrap();
    for key in [
        "architecture",
        "network",
        "parameters",
        "tensors",
        "tokenizer",
        "pooling",
        "activation",
    ] {
        assert!(model.get(key).is_some(), "{key}");
    }
    for key in ["used", "missing", "unused", "renamed", "tied"] {
        assert!(model["tensors"][key].is_array(), "{key}");
    }
    assert!(model["parameters"].as_u64().unwrap() > 100_000);
    assert!(!model["tensors"]["used"].as_array().unwrap().is_empty());
    assert_eq!(model["tensors"]["missing"], serde_json::json!([]));
}

#[test]
fn a_pipe_gets_the_same_on_one_line() {
    let jsonl = cli(&["inspect"]).ok().row();
    let json: Value =
        serde_json::from_str(&cli(&["inspect", "--format", "json"]).ok().stdout).unwrap();
    assert_eq!(jsonl, json);
}

#[test]
fn the_table_shows_numbers_for_people() {
    let run = cli(&["inspect", "--format", "table"]).ok();
    assert!(
        run.stdout
            .lines()
            .any(|line| line.starts_with("architecture  ")),
        "{}",
        run.stdout
    );
    let parameters = run
        .stdout
        .lines()
        .find(|line| line.starts_with("parameters"))
        .unwrap();
    assert!(parameters.contains(','), "{parameters}");
}

#[test]
fn what_is_not_a_model_is_an_error_that_names_the_file() {
    let folder = Folder::new();
    cli(&["inspect", "--model", folder.as_str()]).fails(1, &["config.json"]);
    folder.write("config.json", "{");
    folder.write("model.safetensors", "not tensors");
    cli(&["inspect", "--model", folder.as_str()]).fails(1, &["config.json"]);
}

#[test]
fn a_broken_tokenizer_is_shown_and_fails_and_an_absent_one_is_shown() {
    let folder = Folder::new();
    cli(&["convert", "--output", folder.as_str()]).ok();
    // It names another tokenizer than that of `spiece.model`.
    std::fs::remove_file(folder.path("tokenizer_config.json")).unwrap();
    let fails = |broken: &str| {
        folder.write("spiece.model", broken);
        let run = cli(&["inspect", "--model", folder.as_str(), "--format", "json"]);
        assert!(run.stdout.contains("\"tensors\""), "{}", run.stdout);
        run.fails(1, &["`spiece.model` cannot be used"]);
    };
    fails("{}");
    for file in ["spiece.model", "tokenizer.json", "vocab.txt"] {
        let _ = std::fs::remove_file(format!("{}/{file}", folder.as_str()));
    }
    cli(&["inspect", "--model", folder.as_str()]).ok();
}

#[test]
fn it_has_no_rows_to_write_as_csv() {
    cli(&["inspect", "--format", "csv"]).fails(2, &["csv"]);
}

#[test]
fn a_tokenizer_that_cannot_be_read_is_a_failure_and_none_is_not() {
    let folder = Folder::with_model_files(&["config.json", "model.safetensors"]);
    cli(&["inspect", "--model", folder.as_str()]).ok();
    folder.write("tokenizer.json", "{");
    let run = cli(&["inspect", "--model", folder.as_str()]);
    let run = run.fails(1, &["the tokenizer cannot be used"]);
    assert!(run.stdout.contains("parameters"), "{}", run.stdout);
}

#[cfg(unix)]
#[test]
fn a_folder_whose_path_is_not_utf8_is_a_model() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use crate::harness::{command, finish};
    let folder = Folder::with_model_files(&["config.json", "model.safetensors"]);
    let parent = Folder::new();
    let link = std::path::Path::new(parent.as_str()).join(OsStr::from_bytes(b"m\xff"));
    std::os::unix::fs::symlink(folder.as_str(), &link).unwrap();
    finish(command().arg("inspect").arg("--model").arg(link)).ok();
}

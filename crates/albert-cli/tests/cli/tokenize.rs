//! `tokenize`: needs no weights and cuts nothing off.

use crate::harness::{Folder, cli, cli_with, keys};

#[test]
fn a_row_has_the_keys_of_the_contract_in_their_order() {
    let row = cli(&["tokenize", "Hello there"]).ok().row();
    let expected = [
        "index",
        "text",
        "ids",
        "pieces",
        "type_ids",
        "special_tokens_mask",
        "offsets",
    ];
    assert_eq!(keys(&row), expected);
    let length = row["ids"].as_array().unwrap().len();
    for key in &expected[3..] {
        assert_eq!(row[key].as_array().unwrap().len(), length, "{key}");
    }
    assert_eq!(row["pieces"][0], "[CLS]");
    assert_eq!(row["special_tokens_mask"][0], 1);
    assert_eq!(row["offsets"][0], serde_json::json!([0, 0]));
}

#[test]
fn a_pair_has_both_texts_and_two_types() {
    let row = cli(&["tokenize", "one", "--pair", "two"]).ok().row();
    assert_eq!(keys(&row)[..3], ["index", "text", "pair"]);
    let types = row["type_ids"].as_array().unwrap();
    assert!(types.contains(&0.into()) && types.contains(&1.into()));
    cli(&["tokenize", "one", "two", "--pair", "three"]).fails(2, &["--pair"]);
    cli_with(&["tokenize", "--pair", "three"], "one\n").fails(2, &["--pair"]);
}

#[test]
fn offsets_count_characters_of_the_text() {
    let text = "naïve 世界 end";
    let row = cli(&["tokenize", text]).ok().row();
    let characters: Vec<char> = text.chars().collect();
    let offsets = row["offsets"].as_array().unwrap();
    let last = &offsets[offsets.len() - 2];
    let (start, end) = (
        last[0].as_u64().unwrap() as usize,
        last[1].as_u64().unwrap() as usize,
    );
    assert_eq!(end, characters.len());
    assert!("end".ends_with(&characters[start..end].iter().collect::<String>()));
}

#[test]
fn neither_weights_nor_a_config_are_needed() {
    let folder = Folder::with_model_files(&["tokenizer.json"]);
    let here = cli(&["tokenize", "a text", "--model", folder.as_str()])
        .ok()
        .row();
    let built_in = cli(&["tokenize", "a text"]).ok().row();
    assert_eq!(here["ids"], built_in["ids"]);
}

#[test]
fn a_long_text_is_not_cut() {
    let row = cli(&["tokenize", &"word ".repeat(2000)]).ok().row();
    assert!(row["ids"].as_array().unwrap().len() >= 2002);
}

#[test]
fn lowercase_can_be_overridden() {
    let ids =
        |args: &[&str]| cli(&[&["tokenize", "Paris"], args].concat()).ok().row()["ids"].clone();
    assert_eq!(
        ids(&["--lowercase", "true"]),
        cli(&["tokenize", "paris"]).ok().row()["ids"]
    );
    assert_ne!(
        ids(&["--lowercase", "true"]),
        ids(&["--lowercase", "false"])
    );
    cli(&["tokenize", "a", "--lowercase", "maybe"]).fails(2, &["--lowercase"]);
}

#[test]
fn odd_texts_are_texts() {
    let texts = [
        "",
        " ",
        "\u{0}",
        "\u{feff}",
        "[CLS] [MASK]",
        "\u{1F600}",
        "e\u{301}",
        "\u{202e}",
    ];
    let lines: String = texts
        .iter()
        .map(|text| format!("{}\n", serde_json::json!({"text": text})))
        .collect();
    let rows = cli_with(&["tokenize", "--input-format", "jsonl"], lines)
        .ok()
        .rows();
    assert_eq!(rows.len(), texts.len());
    for (row, text) in rows.iter().zip(texts) {
        assert_eq!(row["text"], text);
    }
}

#[test]
fn explain_adds_a_rule_to_each_piece() {
    let row = cli(&["tokenize", "[MASK] É", "--explain"]).ok().row();
    assert_eq!(keys(&row).last(), Some(&"explain"));
    let explain = row["explain"].as_array().unwrap();
    assert_eq!(explain.len(), row["ids"].as_array().unwrap().len());
    assert_eq!(explain[0], serde_json::json!({"rule": "template"}));
    assert_eq!(explain[1]["rule"], "special token");
    assert!(
        explain[2]["normalized"]["steps"]
            .as_array()
            .is_some_and(|steps| !steps.is_empty()),
        "{row}"
    );
    let table = cli(&["tokenize", "É", "--explain", "--format", "table"]).ok();
    assert!(
        table.stdout.contains("rule") && table.stdout.contains("É -> e"),
        "{}",
        table.stdout
    );
    let csv = cli(&["tokenize", "a", "--explain", "--format", "csv"]).ok();
    assert!(
        csv.stdout
            .lines()
            .next()
            .is_some_and(|header| header.ends_with("offsets,explain"))
    );
    let csv = cli(&["tokenize", "a", "--format", "csv"]).ok();
    assert!(
        csv.stdout
            .lines()
            .next()
            .is_some_and(|header| header.ends_with(",offsets"))
    );
}

#[test]
fn special_tokens_in_a_text_can_be_read_as_text() {
    let row = |args: &[&str]| cli(&[&["tokenize", "a [SEP] b"], args].concat()).ok().row();
    let count = |row: &serde_json::Value| {
        row["pieces"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|piece| *piece == "[SEP]")
            .count()
    };
    assert_eq!(count(&row(&[])), 2);
    assert_eq!(count(&row(&["--no-special-parse"])), 1);
    let vector =
        |args: &[&str]| cli(&[&["embed", "a [SEP] b"], args].concat()).ok().row()["tokens"].clone();
    assert_ne!(vector(&[]), vector(&["--no-special-parse"]));
}

#[test]
fn a_tokenizer_may_come_from_another_folder() {
    let ids =
        |args: &[&str]| cli(&[&["tokenize", "a river"], args].concat()).ok().row()["ids"].clone();
    let tiny = crate::harness::tiny_model();
    assert_eq!(ids(&["--tokenizer", &tiny]), ids(&["--model", &tiny]));
    let empty = Folder::new();
    cli(&["tokenize", "a", "--tokenizer", empty.as_str()])
        .fails(1, &["`--tokenizer`", "no tokenizer"]);
}

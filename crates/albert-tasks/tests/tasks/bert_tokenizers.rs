//! The tokenizers of BERTs, cased, uncased and Chinese: the ids of transformers' BertTokenizer from
//! `vocab.txt`, and those of BertTokenizerFast from `tokenizer.json`.
//!
//! `fixtures/tokenizers-bert` comes from `scripts/make_bert_tokenizer_fixtures.py`, which asks
//! transformers 4.46.3.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde::Deserialize;
use serde_json::Value;

const KINDS: [&str; 5] = ["uncased", "cased", "chinese", "umlauts", "joined"];

#[derive(Deserialize)]
struct Case {
    text: String,
    pair: Option<String>,
    answers: BTreeMap<String, Answer>,
}

#[derive(Deserialize)]
struct Answer {
    fast: Vec<u32>,
    /// `None` if it is the same.
    slow: Option<Vec<u32>>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers-bert")
}

fn cases() -> Vec<Case> {
    let file = fs::read(fixtures().join("cases.json")).unwrap();
    let mut file: Value = serde_json::from_slice(&file).unwrap();
    let cases: Vec<Case> = serde_json::from_value(file["cases"].take()).unwrap();
    assert!(cases.len() > 280);
    cases
}

/// Loads the tokenizer of a folder with these files.
fn load(files: &[PathBuf]) -> Tokenizer {
    let dir = tempfile::tempdir().unwrap();
    for file in files {
        fs::copy(file, dir.path().join(file.file_name().unwrap())).unwrap();
    }
    let files = ModelFiles::from_dir(dir.path()).unwrap();
    Tokenizer::load(&files, &TokenizerOptions::default()).unwrap()
}

fn ids(tokenizer: &Tokenizer, case: &Case) -> Vec<u32> {
    let encoding = tokenizer.encode(&case.text, case.pair.as_deref(), None);
    encoding.unwrap().ids
}

#[test]
fn tokenizer_json_gives_the_ids_of_the_fast_bert_tokenizer() {
    for kind in KINDS {
        let folder = fixtures().join(kind);
        let tokenizer =
            load(&["tokenizer.json", "tokenizer_config.json"].map(|it| folder.join(it)));
        for case in cases() {
            let found = ids(&tokenizer, &case);
            assert_eq!(found, case.answers[kind].fast, "{kind}: {:?}", case.text);
        }
    }
}

#[test]
fn vocab_txt_gives_the_ids_of_the_slow_bert_tokenizer() {
    for kind in KINDS {
        let config = fixtures().join(kind).join("tokenizer_config.json");
        let tokenizer = load(&[fixtures().join("vocab.txt"), config]);
        for case in cases() {
            let Answer { fast, slow } = &case.answers[kind];
            let expected = slow.as_ref().unwrap_or(fast);
            let found = ids(&tokenizer, &case);
            assert_eq!(&found, expected, "{kind}: {:?}", case.text);
        }
    }
}

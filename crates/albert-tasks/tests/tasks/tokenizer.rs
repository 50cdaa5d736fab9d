//! Texts to ids and back to places in the text.

use std::path::Path;

use albert_tasks::tokenizer::Encoding;
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde::Deserialize;
use serde_json::json;

use crate::support::{Folder, message, tiny};

fn load(files: &ModelFiles) -> Tokenizer {
    Tokenizer::load(files, &TokenizerOptions::default()).unwrap()
}

#[test]
fn offsets_count_characters_in_each_text_of_a_pair() {
    let encoding = load(&tiny())
        .encode("Café the", Some("é river"), None)
        .unwrap();
    let of = |piece: &str| {
        encoding
            .pieces
            .iter()
            .position(|known| known == piece)
            .unwrap()
    };
    assert_eq!(encoding.offsets[of("▁the")], (5, 8));
    assert_eq!(encoding.offsets[of("▁river")], (2, 7));
    assert_eq!(
        (
            encoding.type_ids[of("▁the")],
            encoding.type_ids[of("▁river")]
        ),
        (0, 1)
    );
    for (index, &special) in encoding.special_tokens_mask.iter().enumerate() {
        let is_added = ["[CLS]", "[SEP]"].contains(&encoding.pieces[index].as_str());
        assert_eq!(special == 1, is_added);
        assert_eq!(encoding.offsets[index] == (0, 0), is_added, "{index}");
    }
}

#[test]
fn an_unknown_piece_is_named_as_such() {
    let encoding = load(&tiny()).encode("東京", None, None).unwrap();
    assert!(
        encoding.pieces.contains(&"<unk>".to_string()),
        "{:?}",
        encoding.pieces
    );
}

#[test]
fn of_a_pair_the_longer_text_is_cut_first() {
    let encode = |max_length| -> Encoding {
        let long = "the river ".repeat(5);
        load(&tiny())
            .encode(&long, Some("the town"), Some(max_length))
            .unwrap()
    };
    let cut = encode(11);
    assert_eq!((cut.ids.len(), cut.truncated), (11, true));
    assert_eq!(cut.type_ids.iter().filter(|&&id| id == 1).count(), 3);
    assert!(!encode(15).truncated);
}

#[test]
fn truncation_and_padding_stored_in_the_file_are_ignored() {
    let folder = Folder::new().edit("tokenizer.json", |tokenizer| {
        tokenizer["truncation"] =
            json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0});
        tokenizer["padding"] = json!({"strategy": {"Fixed": 99}, "direction": "Right", "pad_to_multiple_of": null,
            "pad_id": 0, "pad_type_id": 0, "pad_token": "<pad>"});
    });
    let text = "the river runs through the town";
    let encode = |files: &ModelFiles| load(files).encode(text, None, None).unwrap();
    assert_eq!(encode(&folder.files()), encode(&tiny()));
}

#[test]
fn overrides_decide_about_case_and_accents() {
    let encode = |lowercase, keep_accents, text: &str| {
        let options = TokenizerOptions {
            lowercase,
            keep_accents,
            ..TokenizerOptions::default()
        };
        Tokenizer::load(&tiny(), &options)
            .unwrap()
            .encode(text, None, None)
            .unwrap()
            .pieces
    };
    let plain = encode(None, None, "the cafe");
    assert_eq!(encode(None, None, "The Café"), plain);
    assert_eq!(encode(Some(true), Some(false), "The Café"), plain);
    // A vocabulary of small letters does not know the others.
    assert!(encode(Some(false), None, "The Café").contains(&"<unk>".to_string()));
    assert!(encode(None, Some(true), "the café").contains(&"<unk>".to_string()));
    assert_eq!(encode(Some(false), Some(true), "the cafe"), plain);
}

#[test]
fn an_override_that_another_step_defeats_is_refused() {
    let folder = Folder::new().edit("tokenizer.json", |tokenizer| {
        let steps = tokenizer["normalizer"]["normalizers"]
            .as_array_mut()
            .unwrap();
        steps.push(json!({"type": "Replace", "pattern": {"String": "A"}, "content": "a"}));
    });
    let options = TokenizerOptions {
        lowercase: Some(false),
        ..TokenizerOptions::default()
    };
    assert_eq!(
        message(Tokenizer::load(&folder.files(), &options)),
        "the normalizer of `tokenizer.json` does not allow `lowercase = false`: another step still \
         lowercases text"
    );
}

#[derive(Deserialize)]
struct Case {
    text: String,
    pair: Option<String>,
    #[serde(flatten)]
    reference: Reference,
    /// The answer of tokenizer.json alone, if its ids differ from those of spiece.model.
    tokenizer_json: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    ids: Vec<u32>,
    pieces: Vec<String>,
    type_ids: Vec<u32>,
    offsets: Option<Vec<(usize, usize)>>,
}

/// The tokenizer of albert-base-v2 is too large for this repository.
#[test]
fn the_tokenizer_json_of_the_english_alberts_agrees_with_the_crate() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    let (folder, cases) = (
        data.join("albert-base-v2-tokenizer"),
        data.join("tokenizer-cases.json"),
    );
    if !folder.is_dir() || !cases.is_file() {
        eprintln!("SKIPPED: no {} and {}", folder.display(), cases.display());
        return;
    }
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(cases).unwrap()).unwrap();
    let cases: Vec<Case> = serde_json::from_value(value["cases"].clone()).unwrap();
    // Alone, as `spiece.model` next to it would take precedence.
    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(
        folder.join("tokenizer.json"),
        alone.path().join("tokenizer.json"),
    )
    .unwrap();
    let tokenizer = load(&ModelFiles::from_dir(alone.path()).unwrap());
    assert!(cases.len() >= 500);
    for case in cases {
        let expected = case.tokenizer_json.as_ref().unwrap_or(&case.reference);
        let encoding = tokenizer
            .encode(&case.text, case.pair.as_deref(), None)
            .unwrap();
        assert_eq!(encoding.ids, expected.ids, "{:?}", case.text);
        assert_eq!(encoding.pieces, expected.pieces, "{:?}", case.text);
        assert_eq!(encoding.type_ids, expected.type_ids, "{:?}", case.text);
        assert_eq!(
            Some(&encoding.offsets),
            expected.offsets.as_ref(),
            "{:?}",
            case.text
        );
    }
}

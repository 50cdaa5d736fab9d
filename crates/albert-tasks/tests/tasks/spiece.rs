//! `spiece.model` and `vocab.txt`: the reference's ids, pieces, types and places.
//!
//! `fixtures/tokenizers` comes from `scripts/make_tokenizer_fixtures.py`, which asks transformers
//! 4.46.3.

use std::io::Write;
use std::path::{Path, PathBuf};

use albert_tasks::tokenizer::{Encoding, Explanation, Rule};
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::message;

#[derive(Deserialize)]
struct Case {
    text: String,
    pair: Option<String>,
    answers: Vec<Answer>,
}

/// The reference's answer under some settings.
#[derive(Deserialize)]
struct Answer {
    r#for: Vec<String>,
    #[serde(flatten)]
    tokens: Tokens,
}

#[derive(Deserialize)]
struct Tokens {
    ids: Vec<u32>,
    pieces: Vec<String>,
    type_ids: Vec<u32>,
    offsets: Option<Vec<(usize, usize)>>,
}

impl Tokens {
    /// `elsewhere`: texts whose places the tokenizers crate, the reference for places, gets wrong.
    fn assert_are(&self, encoding: &Encoding, text: &str, elsewhere: &[&str]) {
        assert_eq!(encoding.ids, self.ids, "{text:?}");
        assert_eq!(encoding.pieces, self.pieces, "{text:?}");
        assert_eq!(encoding.type_ids, self.type_ids, "{text:?}");
        if let Some(offsets) = &self.offsets {
            assert_eq!(
                &encoding.offsets == offsets,
                !elsewhere.contains(&text),
                "{text:?}: {encoding:?}"
            );
        }
    }
}

fn fixture(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tokenizers")
        .join(folder)
}

fn load(folder: &str, options: &TokenizerOptions) -> Tokenizer {
    Tokenizer::load(&ModelFiles::from_dir(fixture(folder)).unwrap(), options).unwrap()
}

fn assert_agrees(folder: &str, setting: &str, elsewhere: &[&str]) {
    let file: Value =
        serde_json::from_slice(&std::fs::read(fixture(folder).join("cases.json")).unwrap())
            .unwrap();
    let cases: Vec<Case> = serde_json::from_value(file["cases"].clone()).unwrap();
    assert!(cases.len() > 250);
    let options = TokenizerOptions {
        lowercase: Some(setting.starts_with("lower")),
        keep_accents: setting.ends_with("+accents").then_some(true),
        ..TokenizerOptions::default()
    };
    let tokenizer = load(folder, &options);
    for case in cases {
        let answer = case
            .answers
            .iter()
            .find(|answer| answer.r#for.iter().any(|name| name == setting));
        let encoding = tokenizer
            .encode(&case.text, case.pair.as_deref(), None)
            .unwrap();
        answer
            .unwrap()
            .tokens
            .assert_are(&encoding, &case.text, elsewhere);
    }
}

#[test]
fn every_text_is_cut_as_the_slow_albert_tokenizer_does() {
    assert_agrees("sentencepiece", "lower", &[]);
    assert_agrees("sentencepiece", "cased", &[]);
}

#[test]
fn with_accents_kept_too() {
    // A letter and a mark that are composed take the room of both, not of the letter alone.
    let composed = ["e\u{301}", "cafe\u{301}", "n\u{303}o", "\u{1e9b}\u{323}"];
    assert_agrees("sentencepiece", "lower+accents", &composed);
    assert_agrees("sentencepiece", "cased+accents", &composed);
}

#[test]
fn every_text_is_cut_as_the_slow_bert_tokenizer_does() {
    assert_agrees("wordpiece", "lower", &[]);
    // The tokenizers crate loses places when it composes, which BertTokenizerFast does not do.
    let composed = [
        "か\u{3099}",
        "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}",
    ];
    assert_agrees("wordpiece", "cased", &composed);
}

/// The tokenizer of albert-base-v2 is too large for this repository.
#[test]
fn the_genuine_model_agrees_with_the_reference() -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Case {
        text: String,
        pair: Option<String>,
        #[serde(flatten)]
        tokens: Tokens,
    }
    let Some(data) = std::env::var_os("ALBERT_DATA").map(PathBuf::from) else {
        // Past the capture of tests' output: that nothing was compared must be seen.
        writeln!(
            std::io::stderr(),
            "SKIPPED: ALBERT_DATA is not set; the genuine spiece.model was not compared"
        )?;
        return Ok(());
    };
    let cases = data.join("tokenizer-cases.json");
    let files = ModelFiles::from_dir(data.join("albert-base-v2-tokenizer"))?;
    let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default())?;
    assert!(
        tokenizer.source().starts_with("spiece.model"),
        "{}",
        tokenizer.source()
    );
    let file: Value = serde_json::from_slice(&std::fs::read(cases)?)?;
    let cases: Vec<Case> = serde_json::from_value(file["cases"].clone())?;
    assert!(cases.len() >= 500);
    for case in cases {
        let encoding = tokenizer.encode(&case.text, case.pair.as_deref(), None)?;
        // The crate drops the first character and forgets that it did: all it says is one place
        // off.
        case.tokens
            .assert_are(&encoding, &case.text, &["\u{1f}us\u{1d}"]);
    }
    Ok(())
}

/// A folder with the small `spiece.model` and other files.
fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        fixture("sentencepiece").join("spiece.model"),
        dir.path().join("spiece.model"),
    )
    .unwrap();
    for (file, content) in files {
        std::fs::write(dir.path().join(file), content.to_string()).unwrap();
    }
    dir
}

fn read(dir: &tempfile::TempDir) -> albert_tasks::Result<Tokenizer> {
    Tokenizer::load(
        &ModelFiles::from_dir(dir.path()).unwrap(),
        &TokenizerOptions::default(),
    )
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, None, None).unwrap().ids
}

#[test]
fn a_spiece_model_decides_before_a_tokenizer_json_and_that_before_a_vocab_txt() {
    let dir = folder(&[]);
    let put = |from: PathBuf, file: &str| std::fs::copy(from, dir.path().join(file)).unwrap();
    put(
        crate::support::tiny_dir().join("tokenizer.json"),
        "tokenizer.json",
    );
    put(fixture("wordpiece").join("vocab.txt"), "vocab.txt");
    for file in ["spiece.model", "tokenizer.json", "vocab.txt"] {
        let tokenizer = read(&dir).unwrap();
        assert!(
            tokenizer.source().starts_with(file),
            "{}",
            tokenizer.source()
        );
        std::fs::remove_file(dir.path().join(file)).unwrap();
    }
    assert!(
        message(read(&dir)).ends_with("expected `spiece.model`, `tokenizer.json` or `vocab.txt`")
    );
}

#[test]
fn the_settings_of_tokenizer_config_json_are_followed() {
    let text = "The  Café";
    let with = |config: Value| {
        ids(
            &read(&folder(&[("tokenizer_config.json", config)])).unwrap(),
            text,
        )
    };
    let option = |lowercase, keep_accents| {
        let options = TokenizerOptions {
            lowercase,
            keep_accents,
            ..TokenizerOptions::default()
        };
        ids(&load("sentencepiece", &options), text)
    };
    assert_eq!(
        with(json!({"do_lower_case": false})),
        option(Some(false), None)
    );
    assert_eq!(
        with(json!({"keep_accents": true})),
        option(None, Some(true))
    );
    assert_ne!(with(json!({"keep_accents": true})), option(None, None));
    assert_eq!(with(json!({})), option(None, None));
}

#[test]
fn added_tokens_are_taken_out_of_the_text_before_it_is_cut() {
    let size = load("sentencepiece", &TokenizerOptions::default()).vocab_size() as u32;
    let decoder = json!({"added_tokens_decoder": {size.to_string(): {"content": "<Name>", "lstrip": true,
        "normalized": false, "rstrip": true, "single_word": false, "special": true}},
        "additional_special_tokens": ["<Name>"]});
    let old = [
        ("added_tokens.json", json!({"<Name>": size})),
        (
            "special_tokens_map.json",
            json!({
        "additional_special_tokens": ["<Name>"]}),
        ),
    ];
    let decoder = read(&folder(&[("tokenizer_config.json", decoder)])).unwrap();
    let old = read(&folder(&old)).unwrap();
    for (tokenizer, places) in [(&decoder, (3, 11)), (&old, (4, 10))] {
        let encoding = tokenizer.encode("the <Name> river", None, None).unwrap();
        let at = encoding.ids.iter().position(|&id| id == size).unwrap();
        assert_eq!(
            (encoding.pieces[at].as_str(), encoding.offsets[at]),
            ("<Name>", places)
        );
        assert_eq!(encoding.special_tokens_mask[at], 0);
        assert_eq!(
            (
                tokenizer.vocab_size() as u32,
                tokenizer.token_to_id("<Name>")
            ),
            (size + 1, Some(size))
        );
    }
}

#[test]
fn special_tokens_may_have_other_names() {
    let map = json!({"mask_token": "(", "cls_token": {"content": "zzz"}, "sep_token": "[MASK]"});
    let error = message(read(&folder(&[("special_tokens_map.json", map)])));
    assert_eq!(error, "no `zzz` in the vocabulary of `spiece.model`");
    let map = json!({"mask_token": "(", "sep_token": "[MASK]"});
    let tokenizer = read(&folder(&[("special_tokens_map.json", map)])).unwrap();
    assert_eq!(
        (tokenizer.mask_token(), tokenizer.mask_token_id()),
        ("(", Some(5))
    );
    assert_eq!(ids(&tokenizer, ""), [2, 4]);
}

#[test]
fn what_cannot_be_followed_is_refused_with_the_reason() {
    let refusal = |file: &str, content: Value| message(read(&folder(&[(file, content)])));
    let config = |content: Value| refusal("tokenizer_config.json", content);
    assert_eq!(
        config(json!({"additional_special_tokens": ["<new>"]})),
        "special token `<new>` has no id: expected it in the vocabulary or in `added_tokens.json`"
    );
    assert_eq!(
        config(json!({"tokenizer_class": "XLNetTokenizer"})),
        "`tokenizer_class` in `tokenizer_config.json`: expected `AlbertTokenizer`, as there is a \
         `spiece.model`, found \"XLNetTokenizer\""
    );
    assert!(
        config(json!({"added_tokens_decoder": {"x": {}}})).starts_with("`added_tokens_decoder`")
    );
    assert!(config(json!({"keep_accents": "yes"})).starts_with("`keep_accents`"));
    assert!(
        refusal("added_tokens.json", json!(["a"]))
            .starts_with("`(top level)` in `added_tokens.json`")
    );
    let dir = folder(&[]);
    std::fs::write(dir.path().join("spiece.model"), "{}").unwrap();
    assert!(message(read(&dir)).starts_with("`spiece.model` cannot be used: "));
}

#[test]
fn special_tokens_can_be_read_as_text() {
    let options = TokenizerOptions {
        special_tokens_as_text: true,
        ..TokenizerOptions::default()
    };
    for folder in ["sentencepiece", "wordpiece"] {
        let plain = load(folder, &TokenizerOptions::default());
        let as_text = load(folder, &options);
        let sep = plain.token_to_id("[SEP]").unwrap();
        let count = |tokenizer: &Tokenizer| {
            ids(tokenizer, "the [SEP] river")
                .iter()
                .filter(|&&id| id == sep)
                .count()
        };
        assert_eq!((count(&plain), count(&as_text)), (2, 1), "{folder}");
        assert_eq!(ids(&plain, "the river"), ids(&as_text, "the river"));
    }
}

#[test]
fn truncation_is_that_of_the_tokenizers_crate() {
    let tokenizer = load("sentencepiece", &TokenizerOptions::default());
    let texts = [
        "",
        "the",
        "the river",
        "the river rose in the harbour",
        "a b c d e f g h i j k",
    ];
    let json = Tokenizer::load(&crate::support::tiny(), &TokenizerOptions::default()).unwrap();
    for first in texts {
        for second in [None, Some(""), Some("the"), Some("a b c d e f g")] {
            for room in 1..12 {
                let special = if second.is_some() { 3 } else { 2 };
                let lengths = |tokenizer: &Tokenizer, first: usize, second: Option<usize>| {
                    // Each `.` is one token in both vocabularies, except for a `▁` before the
                    // first.
                    let dots = |count: usize| ".".repeat(count);
                    let (first, second) = (dots(first), second.map(dots));
                    let encoding = tokenizer
                        .encode(&first, second.as_deref(), Some(room + special))
                        .unwrap();
                    let second = encoding.type_ids.iter().filter(|&&id| id == 1).count();
                    (encoding.ids.len(), second, encoding.truncated)
                };
                let (first, second) = (first.len(), second.map(str::len));
                assert_eq!(
                    lengths(&tokenizer, first, second),
                    lengths(&json, first, second)
                );
            }
        }
    }
}

fn explained(tokenizer: &Tokenizer, text: &str) -> Vec<(String, Explanation)> {
    let (encoding, explanations) = tokenizer.explain(text, None).unwrap();
    assert_eq!(encoding, tokenizer.encode(text, None, None).unwrap());
    assert_eq!(encoding.ids.len(), explanations.len());
    encoding.pieces.into_iter().zip(explanations).collect()
}

#[test]
fn each_token_has_the_rule_that_made_it() {
    let tokenizer = load("sentencepiece", &TokenizerOptions::default());
    let rules = |text: &str| -> Vec<(String, Rule)> {
        explained(&tokenizer, text)
            .into_iter()
            .map(|(piece, reason)| (piece, reason.rule))
            .collect()
    };
    let template = |piece: &str| (piece.to_string(), Rule::Template);
    let expected = [
        ("[MASK]", Rule::SpecialToken),
        ("▁", Rule::UnigramPiece),
        ("(", Rule::UserDefined),
    ];
    let expected = expected.map(|(piece, rule)| (piece.to_string(), rule));
    assert_eq!(rules("[MASK] (")[1..4], expected);
    assert_eq!(rules("")[..], [template("[CLS]"), template("[SEP]")]);
    assert_eq!(rules("東")[2].1, Rule::UnknownCharacters);
    let number = explained(&tokenizer, "in 2011, he");
    let comma = &number.iter().find(|(piece, _)| piece == ",").unwrap().1;
    assert_eq!(comma.rule, Rule::DigitComma, "{number:?}");
    assert!(
        comma
            .cut_from
            .as_ref()
            .is_some_and(|piece| piece.ends_with("1,"))
    );
}

#[test]
fn an_explanation_tells_what_the_text_became() {
    let tokenizer = load("sentencepiece", &TokenizerOptions::default());
    let changed = |text: &str| -> Vec<(String, String, Vec<String>)> {
        let reasons = explained(&tokenizer, text)
            .into_iter()
            .filter_map(|(_, reason)| reason.normalized);
        reasons
            .map(|normalized| (normalized.from, normalized.to, normalized.steps))
            .collect()
    };
    let is = |from: &str, to: &str, steps: &[&str]| {
        (
            from.to_string(),
            to.to_string(),
            steps.iter().map(ToString::to_string).collect::<Vec<_>>(),
        )
    };
    assert_eq!(
        changed("É"),
        [is("É", "e", &["lowercased", "NFKD", "accents dropped"])]
    );
    assert_eq!(
        changed("e\u{301}"),
        [is("e\u{301}", "e", &["accents dropped"])]
    );
    assert_eq!(changed("''"), [is("''", "\"", &["quotes joined"])]);
    assert_eq!(changed("the river"), []);
}

#[test]
fn word_pieces_are_explained_too() {
    let tokenizer = load("wordpiece", &TokenizerOptions::default());
    let rules: Vec<(String, Rule)> = explained(&tokenizer, "The unwanted [MASK] ☃")
        .into_iter()
        .map(|(piece, reason)| (piece, reason.rule))
        .collect();
    let expected = [
        ("[CLS]", Rule::Template),
        ("the", Rule::WholeWord),
        ("un", Rule::WordPiece),
        ("##want", Rule::Continuation),
        ("##ed", Rule::Continuation),
        ("[MASK]", Rule::SpecialToken),
        ("[UNK]", Rule::UnknownWord),
        ("[SEP]", Rule::Template),
    ];
    assert_eq!(
        rules,
        expected.map(|(piece, rule)| (piece.to_string(), rule))
    );
    let the = &explained(&tokenizer, "The")[1].1;
    assert_eq!(
        the.normalized
            .as_ref()
            .map(|normalized| normalized.to.as_str()),
        Some("the")
    );
}

#[test]
fn marks_that_are_more_than_accents_are_noticed() {
    let tokenizer = load("sentencepiece", &TokenizerOptions::default());
    tokenizer.encode("café e\u{301}", None, None).unwrap();
    assert!(!tokenizer.dropped_marks());
    tokenizer.encode("यहाँ हिन्दी", None, None).unwrap();
    assert!(tokenizer.dropped_marks());
}

#[test]
fn a_vocab_txt_needs_its_special_tokens_and_settings_that_are_known() {
    let folder = |config: Value, change: &dyn Fn(String) -> String| {
        let dir = tempfile::tempdir().unwrap();
        let vocab = std::fs::read_to_string(fixture("wordpiece").join("vocab.txt")).unwrap();
        std::fs::write(dir.path().join("vocab.txt"), change(vocab)).unwrap();
        std::fs::write(dir.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        dir
    };
    let same = |vocab: String| vocab;
    let without = folder(json!({}), &|vocab| vocab.replace("[SEP]\n", ""));
    assert_eq!(
        message(read(&without)),
        "no `[SEP]` in the vocabulary of `vocab.txt`"
    );
    let basic = folder(json!({"do_basic_tokenize": false}), &same);
    assert!(message(read(&basic)).starts_with("`do_basic_tokenize` in `tokenizer_config.json`"));
    // Text can be cut without a mask.
    let without = read(&folder(json!({}), &|vocab| vocab.replace("[MASK]\n", ""))).unwrap();
    assert_eq!(without.mask_token_id(), None);
    let cased = read(&folder(json!({"do_lower_case": false}), &same)).unwrap();
    assert!(ids(&cased, "The") != ids(&cased, "the"));
}

#[test]
fn models_of_pairs_and_of_characters_are_cut_as_the_slow_albert_tokenizer_does() {
    assert_agrees("bpe", "lower", &[]);
    assert_agrees("characters", "lower", &[]);
    for (folder, name) in [("bpe", "BPE"), ("characters", "characters")] {
        let tokenizer = load(folder, &TokenizerOptions::default());
        let (_, explanations) = tokenizer.explain("the river", None).unwrap();
        assert_eq!(explanations[1].rule, Rule::Piece, "{name}");
        assert_eq!(explanations[1].score, None);
    }
}

/// transformers 5 writes the list of tokens under another name, and their ids to tokenizer.json.
#[test]
fn tokens_that_a_tokenizer_json_adds_are_taken_out_as_transformers_5_does() {
    let size = load("sentencepiece", &TokenizerOptions::default()).vocab_size() as u32;
    let token = |id: u32, content: &str, normalized: bool, special: bool| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": normalized, "special": special})
    };
    let added = json!({"added_tokens": [
        token(size, "[E1]", false, true),
        token(size + 1, "Upper", false, false),
        token(size + 2, "Café Noir", true, false),
    ]});
    for class in ["AlbertTokenizer", "TokenizersBackend"] {
        let config = json!({"tokenizer_class": class, "extra_special_tokens": ["[E1]"]});
        let dir = folder(&[
            ("tokenizer.json", added.clone()),
            ("tokenizer_config.json", config),
        ]);
        let tokenizer = read(&dir).unwrap();
        let found = |text: &str| -> Vec<u32> {
            let ids = ids(&tokenizer, text);
            ids.into_iter().filter(|&id| id >= size).collect()
        };
        // Before normalization: as they are written, and nothing else.
        assert_eq!(found("[E1] the Upper river"), [size, size + 1]);
        assert_eq!(found("[e1] the upper river"), [] as [u32; 0]);
        // After it: in any spelling that becomes the same.
        assert_eq!(found("the CAFE  NOIR, café noir"), [size + 2, size + 2]);
        let text = "a river [E1]  Café Noir rose";
        let encoding = tokenizer.encode(text, None, None).unwrap();
        let at = encoding.ids.iter().position(|&id| id == size + 2).unwrap();
        assert_eq!(encoding.offsets[at], (14, 23));
        // The text around a token is cut by itself.
        let plain = ids(&tokenizer, "rose");
        assert!(encoding.ids.ends_with(&plain[1..]));
    }
}

#[test]
fn extra_special_tokens_are_a_list_or_names_with_tokens() {
    let with = |extra: Value| {
        read(&folder(&[(
            "tokenizer_config.json",
            json!({"extra_special_tokens": extra}),
        )]))
    };
    let taken = |tokenizer: &Tokenizer| ids(tokenizer, "the(river").contains(&5);
    for extra in [json!(["("]), json!({"image_token": "("})] {
        assert!(taken(&with(extra).unwrap()));
    }
    assert!(message(with(json!("("))).starts_with("`extra_special_tokens`"));
}

#[test]
fn googles_archives_name_their_files_otherwise() {
    for (from, name) in [
        ("sentencepiece/spiece.model", "30k-clean.model"),
        ("sentencepiece/spiece.model", "assets/30k-clean.model"),
        ("wordpiece/vocab.txt", "vocab_chinese.txt"),
        ("wordpiece/vocab.txt", "assets/vocab_chinese.txt"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(fixture(from), path).unwrap();
        let tokenizer = read(&dir).unwrap();
        assert!(tokenizer.source().starts_with(name), "{name}");
        let (folder, _) = from.split_once('/').unwrap();
        let usual = load(folder, &TokenizerOptions::default());
        assert_eq!(ids(&tokenizer, "the river"), ids(&usual, "the river"));
    }
}

#[test]
fn a_mask_token_without_an_id_is_text_like_any_other() {
    let map = json!({"mask_token": "<mask>"});
    let tokenizer = read(&folder(&[("special_tokens_map.json", map)])).unwrap();
    assert_eq!(tokenizer.mask_token_id(), None);
    assert!(!ids(&tokenizer, "the <mask> river").is_empty());
}

/// A text of some 300,000 characters with all that normalization and the rules of cutting meet.
fn long_text(with_added_tokens: bool) -> String {
    let mut text = String::new();
    for number in 0..4000 {
        text.push_str("the river runs through the old town, it's ``quoted'' and ");
        match number % 7 {
            0 => text.push_str("Zürich's NAÏVE Café  ΟΔΟΣ "),
            1 => text.push_str("東京 tower 1,000 "),
            2 => text.push_str(&format!("the {number},{number} of 5, ")),
            3 => text.push_str("e\u{301}t\u{e9}\t\nﬁne ½ "),
            4 if with_added_tokens && number == 2013 => text.push_str("a [MASK] here "),
            _ => text.push_str("plain words "),
        }
    }
    text
}

/// Reading part by part is how memory stays within bounds; `explain` reads a text as a whole.
#[test]
fn a_long_text_has_the_same_tokens_part_by_part() {
    let mut tokenizers: Vec<Tokenizer> = ["sentencepiece", "bpe", "characters", "wordpiece"]
        .map(|folder| load(folder, &TokenizerOptions::default()))
        .into();
    let tiny = Tokenizer::load(&crate::support::tiny(), &TokenizerOptions::default());
    tokenizers.push(tiny.unwrap());
    if let Ok(files) = ModelFiles::builtin() {
        tokenizers.push(Tokenizer::load(&files, &TokenizerOptions::default()).unwrap());
    }
    let lines = "the river runs through the old town\r\n\r\nin 1,000 winters\t\tof the  north\n";
    let ideographs =
        "東京都千代田区丸の内一丁目。京都市左京区北白川追分町，東京都千代田区丸の内一丁目";
    for text in [
        long_text(false),
        long_text(true),
        lines.repeat(2_000),
        ideographs.repeat(1_000),
    ] {
        for tokenizer in &tokenizers {
            let (whole, _) = tokenizer.explain(&text, None).unwrap();
            let parts = tokenizer.encode(&text, None, None).unwrap();
            assert!(parts == whole, "{tokenizer:?}");
            let compact = tokenizer.encode_compact(&text).unwrap().unwrap();
            assert_eq!(compact.ids, whole.ids, "{tokenizer:?}");
            let special = (0..compact.ids.len()).filter(|&index| compact.is_special(index));
            assert_eq!(special.collect::<Vec<_>>(), [0, whole.ids.len() - 1]);
        }
    }
}

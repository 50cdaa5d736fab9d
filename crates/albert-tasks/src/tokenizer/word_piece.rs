//! `vocab.txt`: WordPiece, as transformers' `BertTokenizer` cuts text with it.
//!
//! Many Chinese ALBERT models only have this file, with one piece per line; the line number is the
//! id. The settings are those of `tokenizer_config.json`, with transformers' defaults.
//!
//! The tokenizers crate's tables of marks and punctuation are of an older Unicode than Python's:
//! marks such as U+1AC1 are kept, and punctuation such as U+2E43 divides no word, as in
//! `BertTokenizerFast`.

use serde_json::{Map, Value, json};

use super::TokenizerOptions;
use super::engine::Engine as _;
use super::hugging_face::HuggingFace;
use super::special::{SpecialTokens, defaults};
use crate::files::VOCABULARIES;
use crate::json::JsonObject;
use crate::{Error, ModelFiles, Result};

/// Reads a model's `vocab.txt`, if it has one under any of its names.
pub(super) fn read(
    files: &ModelFiles,
    options: &TokenizerOptions,
) -> Result<Option<(&'static str, HuggingFace)>> {
    let Some((file, bytes)) = files.read_first(&VOCABULARIES)? else {
        return Ok(None);
    };
    let vocabulary = vocabulary(&bytes, file)?;
    let special = SpecialTokens::read(
        files,
        &defaults(&[
            ("unk_token", "[UNK]"),
            ("sep_token", "[SEP]"),
            ("pad_token", "[PAD]"),
            ("cls_token", "[CLS]"),
            ("mask_token", "[MASK]"),
        ]),
    )?;
    let id = |token: &str| {
        vocabulary
            .get(token)
            .and_then(Value::as_u64)
            .map(|id| id as u32)
    };
    let required = |role: &str| {
        let token = special.role(role).unwrap_or_default().to_string();
        match id(&token) {
            Some(id) => Ok((token, id)),
            None => Err(Error::MissingToken {
                token,
                file: file.into(),
            }),
        }
    };
    let ((unk, _), cls, sep) = (
        required("unk_token")?,
        required("cls_token")?,
        required("sep_token")?,
    );
    let mut added = special.with_ids(id)?;
    added.sort_by_key(|(id, _)| *id);
    let tokens = added.iter().map(|(id, token)| {
        json!({"id": id, "content": token.content, "single_word": token.single_word, "lstrip": token.lstrip,
            "rstrip": token.rstrip, "normalized": token.normalized, "special": token.special})
    });
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": tokens.collect::<Vec<Value>>(),
        "normalizer": normalizer(files, options)?,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": template(&cls, &sep),
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    let tokenizer = HuggingFace::from_value(&tokenizer, file, special, options)?;
    // The tokenizers crate numbers added tokens by itself.
    for (id, token) in added {
        if tokenizer.token_to_id(&token.content) != Some(id) {
            return Err(Error::AddedTokenId {
                token: token.content,
                id,
                next: tokenizer.vocab_size(),
            });
        }
    }
    Ok(Some((file, tokenizer)))
}

/// Returns the pieces with their ids; of equal ones the last counts, as it does in transformers.
fn vocabulary(bytes: &[u8], file: &str) -> Result<Map<String, Value>> {
    let text = std::str::from_utf8(bytes).map_err(|source| Error::NotUtf8 {
        file: file.into(),
        source,
    })?;
    // Python reads \r\n and \r as line ends too.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = text.strip_suffix('\n').unwrap_or(&text).split('\n');
    Ok(lines
        .zip(0u32..)
        .map(|(piece, id)| (piece.to_string(), json!(id)))
        .collect())
}

/// Returns a normalizer with the steps of `BasicTokenizer`, in its order: clean, set Chinese
/// characters apart, compose, lowercase.
fn normalizer(files: &ModelFiles, options: &TokenizerOptions) -> Result<Value> {
    let config = JsonObject::read(files, "tokenizer_config.json")?;
    let setting = |key: &str| {
        Ok::<_, Error>(
            config
                .as_ref()
                .map(|config| config.bool(key))
                .transpose()?
                .flatten(),
        )
    };
    if setting("do_basic_tokenize")? == Some(false) {
        return Err(Error::Field {
            file: "tokenizer_config.json".into(),
            field: "do_basic_tokenize".into(),
            expected: "true".into(),
            found: "false, which is not supported".into(),
        });
    }
    let lowercase = options
        .lowercase
        .or(setting("do_lower_case")?)
        .unwrap_or(true);
    // Without a word on accents they go where capitals go.
    let strip_accents = options
        .keep_accents
        .map(|keep| !keep)
        .or(setting("strip_accents")?);
    let bert = |clean: bool, chinese: bool, strip_accents: bool, lowercase: bool| {
        json!({"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
            "strip_accents": strip_accents, "lowercase": lowercase})
    };
    let strip_accents = strip_accents.unwrap_or(lowercase);
    let mut steps = vec![
        // BertNormalizer leaves these, which Python counts among the control characters.
        json!({"type": "Replace", "pattern": {"Regex": r"[\p{Cn}\p{Co}]"}, "content": ""}),
        bert(
            true,
            setting("tokenize_chinese_chars")?.unwrap_or(true),
            false,
            false,
        ),
    ];
    if !strip_accents {
        steps.push(json!({"type": "NFC"}));
    }
    steps.push(bert(false, false, strip_accents, lowercase));
    Ok(json!({"type": "Sequence", "normalizers": steps}))
}

/// `[CLS] A [SEP]`, and `[CLS] A [SEP] B [SEP]` with B and the end of it of type 1.
fn template((cls, cls_id): &(String, u32), (sep, sep_id): &(String, u32)) -> Value {
    let special =
        |token: &str, type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
    let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
    let single = [special(cls, 0), text("A", 0), special(sep, 0)];
    let pair = [
        special(cls, 0),
        text("A", 0),
        special(sep, 0),
        text("B", 1),
        special(sep, 1),
    ];
    let token = |token: &str, id: u32| {
        (
            token.to_string(),
            json!({"id": token, "ids": [id], "tokens": [token]}),
        )
    };
    let tokens: Map<String, Value> = [token(cls, *cls_id), token(sep, *sep_id)]
        .into_iter()
        .collect();
    json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_has_the_id_of_its_line() {
        let ids =
            |bytes: &[u8]| serde_json::to_string(&vocabulary(bytes, "vocab.txt").unwrap()).unwrap();
        assert_eq!(ids(b"[PAD]\n##a\nb\n"), r###"{"[PAD]":0,"##a":1,"b":2}"###);
        assert_eq!(ids(b"a\r\nb"), r#"{"a":0,"b":1}"#);
        assert_eq!(ids(b"a\nb\na\n"), r#"{"a":2,"b":1}"#);
        assert!(vocabulary(&[0xff], "vocab.txt").is_err());
    }
}

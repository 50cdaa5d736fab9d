//! Overrides of lowercasing and of dropping accents, made in the `normalizer` of tokenizer.json.
//!
//! ALBERT's normalizer is a list: quotes, NFKD, StripAccents, Lowercase, SentencePiece's map,
//! spaces. An override takes the one step out or puts it where that order has it. A BertNormalizer
//! has switches instead. Whether the result obeys is then tried on letters, because a SentencePiece
//! map may fold case by itself.

use serde_json::{Value, json};
use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::TokenizerOptions;
use super::hugging_face::contained;
use crate::json::JsonObject;
use crate::{Error, Result};

/// The tokenizers of transformers that put the settings of tokenizer_config.json into a
/// BertNormalizer.
const BERT_CLASSES: [&str; 2] = ["BertTokenizer", "BertTokenizerFast"];

/// The switches of a BertNormalizer, with the settings of tokenizer_config.json that they follow.
const BERT_SWITCHES: [(&str, &str); 3] = [
    ("lowercase", "do_lower_case"),
    ("strip_accents", "strip_accents"),
    ("handle_chinese_chars", "tokenize_chinese_chars"),
];

/// The switches of a BertNormalizer that tokenizer_config.json sets.
pub(super) struct BertSwitches(Vec<(&'static str, bool)>);

impl BertSwitches {
    /// Reads the settings that transformers' BertTokenizerFast follows; `None` if the configuration
    /// belongs to another tokenizer or has none of them.
    pub(super) fn read(config: &JsonObject) -> Result<Option<Self>> {
        let class = config.str("tokenizer_class")?;
        if class.is_some_and(|class| !BERT_CLASSES.contains(&class)) {
            return Ok(None);
        }
        let mut switches = Vec::new();
        for (switch, setting) in BERT_SWITCHES {
            switches.extend(config.bool(setting)?.map(|stated| (switch, stated)));
        }
        Ok((!switches.is_empty()).then_some(Self(switches)))
    }

    /// Sets the switches of a normalizer, if it is a BertNormalizer: that of bert-base-chinese
    /// lowercases, and its configuration keeps capitals.
    pub(super) fn apply(&self, normalizer: &mut Value) {
        if is(normalizer, "BertNormalizer") {
            for (switch, stated) in &self.0 {
                normalizer[switch] = json!(stated);
            }
        }
    }
}

/// Edits a normalizer.
pub(super) fn apply(normalizer: &mut Value, options: &TokenizerOptions) -> Result<()> {
    let mut steps = Vec::new();
    flatten(normalizer, &mut steps).map_err(|why| Error::NormalizerOverride {
        option: describe(options),
        why,
    })?;
    if let Some(bert) = steps.iter_mut().find(|step| is(step, "BertNormalizer")) {
        if let Some(lowercase) = options.lowercase {
            bert["lowercase"] = json!(lowercase);
        }
        if let Some(keep_accents) = options.keep_accents {
            bert["strip_accents"] = json!(!keep_accents);
        }
    } else {
        if let Some(keep_accents) = options.keep_accents {
            set_strip_accents(&mut steps, !keep_accents);
        }
        if let Some(lowercase) = options.lowercase {
            set_lowercase(&mut steps, lowercase);
        }
    }
    *normalizer = json!({"type": "Sequence", "normalizers": steps});
    Ok(())
}

/// Checks on letters that a finished normalizer does what was asked.
pub(super) fn verify(
    normalizer: Option<&NormalizerWrapper>,
    options: &TokenizerOptions,
) -> Result<()> {
    let refuse = |option: String, why: &str| {
        Err(Error::NormalizerOverride {
            option,
            why: why.to_string(),
        })
    };
    if let Some(wanted) = options.lowercase
        && lowercases(normalizer)? != wanted
    {
        return refuse(
            format!("lowercase = {wanted}"),
            "another step still lowercases text",
        );
    }
    if let Some(wanted) = options.keep_accents
        && keeps_accents(normalizer)? != wanted
    {
        return refuse(
            format!("keep_accents = {wanted}"),
            "another step of it handles accents",
        );
    }
    Ok(())
}

pub(super) fn lowercases(normalizer: Option<&NormalizerWrapper>) -> Result<bool> {
    Ok(normalize(normalizer, "A")?.contains('a'))
}

pub(super) fn keeps_accents(normalizer: Option<&NormalizerWrapper>) -> Result<bool> {
    Ok(normalize(normalizer, "é")?.trim() != "e")
}

fn normalize(normalizer: Option<&NormalizerWrapper>, text: &str) -> Result<String> {
    let mut normalized = NormalizedString::from(text);
    if let Some(normalizer) = normalizer {
        contained(|| normalizer.normalize(&mut normalized)).map_err(Error::Tokenize)?;
    }
    Ok(normalized.get().to_string())
}

/// Returns the steps of a normalizer in order, nested sequences opened.
fn flatten(normalizer: &Value, steps: &mut Vec<Value>) -> std::result::Result<(), String> {
    match normalizer {
        Value::Null => Ok(()),
        Value::Object(map) if is(normalizer, "Sequence") => match map.get("normalizers") {
            Some(Value::Array(list)) => list.iter().try_for_each(|step| flatten(step, steps)),
            _ => Err("`normalizers` is not a list".to_string()),
        },
        Value::Object(map) if map.get("type").is_some_and(Value::is_string) => {
            steps.push(normalizer.clone());
            Ok(())
        }
        _ => Err("a step of it has no type".to_string()),
    }
}

fn set_lowercase(steps: &mut Vec<Value>, lowercase: bool) {
    if !lowercase {
        steps.retain(|step| !is(step, "Lowercase"));
    } else if !steps.iter().any(|step| is(step, "Lowercase")) {
        steps.insert(before_charsmap(steps), json!({"type": "Lowercase"}));
    }
}

fn set_strip_accents(steps: &mut Vec<Value>, strip: bool) {
    if strip && steps.iter().any(|step| is(step, "StripAccents")) {
        return;
    }
    // The decomposition just before is there for the sake of stripping alone.
    while let Some(at) = steps.iter().position(|step| is(step, "StripAccents")) {
        steps.remove(at);
        if at > 0 && (is(&steps[at - 1], "NFKD") || is(&steps[at - 1], "NFD")) {
            steps.remove(at - 1);
        }
    }
    if strip {
        let lowercase = steps.iter().position(|step| is(step, "Lowercase"));
        let at = lowercase.unwrap_or_else(|| before_charsmap(steps));
        steps.splice(
            at..at,
            [json!({"type": "NFKD"}), json!({"type": "StripAccents"})],
        );
    }
}

/// Returns the place just before SentencePiece's map, which knows lowercased text; else the end.
fn before_charsmap(steps: &[Value]) -> usize {
    steps
        .iter()
        .position(|step| is(step, "Precompiled"))
        .unwrap_or(steps.len())
}

fn is(step: &Value, kind: &str) -> bool {
    step.get("type").and_then(Value::as_str) == Some(kind)
}

fn describe(options: &TokenizerOptions) -> String {
    let lowercase = options
        .lowercase
        .map(|value| format!("lowercase = {value}"));
    let keep_accents = options
        .keep_accents
        .map(|value| format!("keep_accents = {value}"));
    lowercase
        .into_iter()
        .chain(keep_accents)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(normalizer: &Value) -> Vec<&str> {
        let steps = normalizer["normalizers"].as_array().unwrap();
        steps
            .iter()
            .map(|step| step["type"].as_str().unwrap())
            .collect()
    }

    fn edited(mut normalizer: Value, lowercase: Option<bool>, keep_accents: Option<bool>) -> Value {
        apply(
            &mut normalizer,
            &TokenizerOptions {
                lowercase,
                keep_accents,
                ..TokenizerOptions::default()
            },
        )
        .unwrap();
        normalizer
    }

    fn albert() -> Value {
        let steps: Vec<Value> = [
            "Replace",
            "NFKD",
            "StripAccents",
            "Lowercase",
            "Precompiled",
            "Replace",
        ]
        .into_iter()
        .map(|kind| json!({"type": kind}))
        .collect();
        json!({"type": "Sequence", "normalizers": steps})
    }

    #[test]
    fn steps_are_taken_out() {
        let edited = edited(albert(), Some(false), Some(true));
        assert_eq!(kinds(&edited), ["Replace", "Precompiled", "Replace"]);
    }

    #[test]
    fn steps_are_put_back_in_alberts_order() {
        let cased = json!({"type": "Sequence", "normalizers": [
            {"type": "Replace"}, {"type": "Precompiled"}, {"type": "Replace"},
        ]});
        let edited = edited(cased, Some(true), Some(false));
        assert_eq!(
            kinds(&edited),
            [
                "Replace",
                "NFKD",
                "StripAccents",
                "Lowercase",
                "Precompiled",
                "Replace"
            ]
        );
    }

    #[test]
    fn an_override_that_says_what_is_there_changes_nothing() {
        assert_eq!(edited(albert(), Some(true), Some(false)), albert());
    }

    #[test]
    fn a_bert_normalizer_is_switched() {
        let bert = json!({"type": "BertNormalizer", "lowercase": true, "strip_accents": null});
        let edited = edited(bert, Some(false), Some(true));
        let step = &edited["normalizers"][0];
        assert_eq!(
            (&step["lowercase"], &step["strip_accents"]),
            (&json!(false), &json!(false))
        );
    }

    #[test]
    fn a_normalizer_without_types_is_refused() {
        let mut normalizer = json!({"normalizers": 3});
        let options = TokenizerOptions {
            lowercase: Some(true),
            ..TokenizerOptions::default()
        };
        let error = apply(&mut normalizer, &options).unwrap_err().to_string();
        assert!(error.contains("`lowercase = true`"), "{error}");
    }
}

//! Reads one flat section of a YAML file, as in PL-BERT's configurations.
//!
//! ```yaml
//! model_params:
//!     vocab_size: 178    # whole numbers, fractions, true and false, null, text
//! ```
//!
//! Other sections are skipped. In this section any other YAML syntax is refused.

use serde_json::{Map, Value};

use crate::config::fields::Fields;
use crate::error::Result;

/// Returns the keys and plain values under the top-level key `section`.
pub(super) fn section(text: &[u8], file: &str, section: &str) -> Result<Map<String, Value>> {
    let text = String::from_utf8_lossy(text);
    let wrong = |expected: &str, line: &str| {
        let shown: String = line.trim().chars().take(60).collect();
        Fields::error(file, section, expected, format!("`{shown}`"))
    };
    let mut map = Map::new();
    let mut indent = None;
    let mut is_inside = false;
    for line in text.lines() {
        let line = without_comment(line);
        let content = line.trim_start();
        if content.is_empty() {
            continue;
        }
        let depth = line.len() - content.len();
        if depth == 0 {
            is_inside = content
                .strip_prefix(section)
                .is_some_and(|rest| rest.starts_with(':'));
            if is_inside && content.len() > section.len() + 1 {
                return Err(wrong("indented lines below the key", line));
            }
            continue;
        }
        if !is_inside {
            continue;
        }
        if *indent.get_or_insert(depth) != depth || line.starts_with('\t') {
            return Err(wrong("equally indented lines", line));
        }
        let Some((key, value)) = content.split_once(": ") else {
            return Err(wrong("`key: value`", line));
        };
        let Some(value) = scalar(value.trim()) else {
            return Err(wrong(
                "a number, true, false, null or a text as value",
                line,
            ));
        };
        if map.insert(key.trim_end().into(), value).is_some() {
            return Err(wrong("every key once", line));
        }
    }
    if indent.is_none() {
        return Err(Fields::error(
            file,
            section,
            "a section with the model's sizes",
            "none",
        ));
    }
    Ok(map)
}

/// Removes a comment, which starts at the margin or after a space.
fn without_comment(line: &str) -> &str {
    let start = if line.starts_with('#') {
        Some(0)
    } else {
        line.find(" #")
    };
    line[..start.unwrap_or(line.len())].trim_end()
}

fn scalar(text: &str) -> Option<Value> {
    let quoted = |quote: char| {
        text.strip_prefix(quote)?
            .strip_suffix(quote)
            .filter(|inner| !inner.contains(quote))
    };
    if let Some(inner) = quoted('"').or_else(|| quoted('\'')) {
        return (!inner.contains('\\')).then(|| inner.into());
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | '+');
    if text.is_empty() || !text.chars().all(is_plain) {
        return None;
    }
    Some(match text {
        "true" | "True" => true.into(),
        "false" | "False" => false.into(),
        "null" => Value::Null,
        _ => match (text.parse::<i64>(), text.parse::<f64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) if number.is_finite() => number.into(),
            _ => text.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Map<String, Value>> {
        section(text.as_bytes(), "config.yml", "model_params")
    }

    #[test]
    fn the_section_is_read_and_others_are_passed_over() {
        let text = "# PL-BERT\nlog_dir: \"a: b\"\ndataset_params:\n    tokens: [1, 2]\n\nmodel_params:\n    vocab_size: 178 # phonemes\n\n    dropout: 0.1\n    name: 'a-b'\n    tied: true\nafter: 1\n";
        let map = read(text).unwrap();
        let expected =
            serde_json::json!({"vocab_size": 178, "dropout": 0.1, "name": "a-b", "tied": true});
        assert_eq!(Value::Object(map), expected);
    }

    #[test]
    fn what_is_not_flat_is_refused() {
        for (text, expected) in [
            ("a: 1", "a section with the model's sizes"),
            ("model_params: {a: 1}", "indented lines"),
            ("model_params:\n  a:\n    b: 1", "`key: value`"),
            ("model_params:\n  a: 1\n    b: 1", "equally indented"),
            ("model_params:\n  a: [1]", "a number"),
            ("model_params:\n  a: &x 1", "a number"),
            ("model_params:\n  a: *x", "a number"),
            ("model_params:\n  a: 1\n  a: 2", "every key once"),
            ("model_params:\n  - a", "`key: value`"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}

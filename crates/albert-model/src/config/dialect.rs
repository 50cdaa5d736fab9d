//! Reads configurations in other dialects than Hugging Face's: Google's `albert_config.json`,
//! PL-BERT's `config.yml`, Kokoro's `config.json`.

use albert_formats::json::shown;
use serde_json::{Map, Value};

use crate::activation::HiddenAct;
use crate::config::fields::Fields;
use crate::config::{AlbertConfig, ModelType, yaml};
use crate::error::{Error, Result};

/// The dialect of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `config.json` of transformers.
    HuggingFace,
    /// `albert_config.json`, in which `gelu` is the tanh form.
    ///
    /// Source: google-research/albert, `modeling.py`, `gelu`.
    Google,
    /// The `model_params` of a `config.yml`, given to transformers' `AlbertConfig`.
    PlBert,
    /// The `plbert` of a `config.json`, with `n_token` for the vocabulary.
    Kokoro,
}

/// Keys that Google never writes, and of which transformers writes some into every config.json.
const HUGGING_FACES: [&str; 5] = [
    "model_type",
    "architectures",
    "transformers_version",
    "layer_norm_eps",
    "torch_dtype",
];

impl AlbertConfig {
    /// Reads a configuration in any dialect; also returns the dialect and the activation's name in
    /// the file.
    pub(crate) fn in_any_dialect(
        text: &[u8],
        file: &str,
        beside_tensorflow: bool,
    ) -> Result<(Self, Dialect, Option<String>)> {
        let (mut map, dialect) = if file.ends_with(".yml") || file.ends_with(".yaml") {
            (yaml::section(text, file, "model_params")?, Dialect::PlBert)
        } else {
            let map = Self::object(text, file)?;
            let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
            let is_googles = ["albert_config", "bert_config"]
                .iter()
                .any(|own| name.starts_with(own))
                || beside_tensorflow && !HUGGING_FACES.iter().any(|key| map.contains_key(*key));
            match map.get("plbert") {
                Some(plbert) => (kokoro(plbert, map.get("n_token"), file)?, Dialect::Kokoro),
                None if is_googles => (map, Dialect::Google),
                None => (map, Dialect::HuggingFace),
            }
        };
        let stated = map
            .get("hidden_act")
            .and_then(Value::as_str)
            .map(String::from);
        let file_name = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let is_bert = dialect == Dialect::Google && file_name.starts_with("bert_config");
        if is_bert {
            // transformers' conversion of Google's BERTs keeps `gelu`, its exact form.
            map.insert("model_type".into(), ModelType::Bert.name().into());
        } else if dialect == Dialect::Google && stated.as_deref() == Some("gelu") {
            map.insert("hidden_act".into(), HiddenAct::GeluNew.to_string().into());
        }
        Ok((Self::from_map(map, file)?, dialect, stated))
    }
}

fn kokoro(plbert: &Value, tokens: Option<&Value>, file: &str) -> Result<Map<String, Value>> {
    let wrong = |field: &str, expected: &str, found: &Value| -> Error {
        Fields::error(file, field, expected, shown(found))
    };
    let Value::Object(plbert) = plbert else {
        return Err(wrong("plbert", "an object", plbert));
    };
    let mut map = plbert.clone();
    match tokens {
        Some(tokens) => drop(map.insert("vocab_size".into(), tokens.clone())),
        None => return Err(wrong("n_token", "the size of the vocabulary", &Value::Null)),
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, file: &str, tensorflow: bool) -> (AlbertConfig, Dialect) {
        let (config, dialect, _) =
            AlbertConfig::in_any_dialect(text.as_bytes(), file, tensorflow).unwrap();
        (config, dialect)
    }

    const SIZES: &str = r#""hidden_size": 24, "num_attention_heads": 3, "hidden_act": "gelu""#;

    #[test]
    fn gelu_is_the_tanh_form_in_googles_files_alone() {
        let google = format!("{{{SIZES}, \"net_structure_type\": 0}}");
        let hugging_face = format!("{{{SIZES}, \"model_type\": \"albert\"}}");
        for (text, file, tensorflow, expected) in [
            (
                &google,
                "a/albert_config.json",
                false,
                (HiddenAct::GeluNew, Dialect::Google),
            ),
            (
                &google,
                "config.json",
                true,
                (HiddenAct::GeluNew, Dialect::Google),
            ),
            (
                &google,
                "config.json",
                false,
                (HiddenAct::Gelu, Dialect::HuggingFace),
            ),
            (
                &hugging_face,
                "config.json",
                true,
                (HiddenAct::Gelu, Dialect::HuggingFace),
            ),
        ] {
            let (config, dialect) = read(text, file, tensorflow);
            assert_eq!(
                (config.hidden_act, dialect),
                expected,
                "{file} {tensorflow}"
            );
        }
        let relu = google.replace("gelu", "relu");
        assert_eq!(
            read(&relu, "albert_config_zh.json", true).0.hidden_act,
            HiddenAct::Relu
        );
    }

    #[test]
    fn kokoros_vocabulary_stands_beside_its_plbert() {
        let text = format!(
            "{{\"n_token\": 178, \"plbert\": {{{SIZES}, \"dropout\": 0.1}}, \"vocab\": {{}}}}"
        );
        let (config, dialect) = read(&text, "config.json", false);
        assert_eq!(
            (config.vocab_size, config.hidden_size, dialect),
            (178, 24, Dialect::Kokoro)
        );
        let wrong =
            AlbertConfig::in_any_dialect(b"{\"plbert\": {}}", "config.json", false).unwrap_err();
        assert!(wrong.to_string().contains("`n_token`"), "{wrong}");
    }

    #[test]
    fn plberts_defaults_are_transformers() {
        let text = "log_dir: \"x\"\nmodel_params:\n  vocab_size: 178\n  hidden_size: 768\n  num_attention_heads: 12\n";
        let (config, dialect) = read(text, "config.yml", false);
        assert_eq!(
            (config.embedding_size, config.hidden_act),
            (128, HiddenAct::GeluNew)
        );
        assert_eq!((config.vocab_size, dialect), (178, Dialect::PlBert));
    }
}

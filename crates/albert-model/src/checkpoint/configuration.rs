//! Chooses the configuration file of a folder, and its dialect.

use std::path::Path;

use albert_formats::small_file;

use crate::checkpoint::choice::names;
use crate::config::{AlbertConfig, Dialect};
use crate::error::{Error, Result};

const HUGGING_FACE: &str = "config.json";
const PL_BERT: [&str; 2] = ["config.yml", "config.yaml"];

/// A configuration and its origin.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) config: AlbertConfig,
    /// True for Google's dialect, which does not name labels.
    pub(super) is_googles: bool,
    /// The source of the activation.
    pub(super) activation: String,
    pub(super) choices: Vec<String>,
}

impl Configuration {
    /// Finds and reads the configuration of a folder, with TensorFlow weights or others.
    pub(super) fn find(dir: &Path, with_tensorflow: bool) -> Result<Self> {
        let files = names(dir)?;
        let has = |name: &str| files.iter().any(|file| file == name);
        let google: Vec<&String> = files
            .iter()
            .filter(|name| {
                let is_googles = ["albert_config", "bert_config"]
                    .iter()
                    .any(|start| name.starts_with(start));
                is_googles && name.ends_with(".json")
            })
            .collect();
        let google = match &google[..] {
            [name] => Some(name.as_str()),
            // brightmart's archives hold several sizes.
            _ => google
                .iter()
                .find(|name| *name == &"albert_config.json")
                .map(|name| name.as_str()),
        };
        let plbert = PL_BERT.into_iter().find(|name| has(name));
        let (file, why) = match (has(HUGGING_FACE), google, plbert) {
            (true, Some(google), _) if with_tensorflow => (
                google,
                "which came with the TensorFlow weights, before `config.json`",
            ),
            (true, _, _) => (HUGGING_FACE, ""),
            (false, Some(google), _) => (google, "there is no `config.json`"),
            (false, None, Some(plbert)) => (plbert, "there is no `config.json`"),
            (false, None, None) => return Err(Error::NoConfig { path: dir.into() }),
        };
        let path = dir.join(file);
        let text = small_file::read(&path)?;
        let mut found = Self::parse(&text, &path.display().to_string(), file, with_tensorflow)?;
        if !why.is_empty() {
            found
                .choices
                .insert(0, format!("configuration: `{file}`, {why}"));
        }
        Ok(found)
    }

    /// Parses the text of a configuration, which errors call `path` and reports call `file`.
    pub(super) fn parse(
        text: &[u8],
        path: &str,
        file: &str,
        with_tensorflow: bool,
    ) -> Result<Self> {
        let (config, dialect, stated) = AlbertConfig::in_any_dialect(text, path, with_tensorflow)?;
        let activation = match (&stated, dialect) {
            (None, _) => format!("no `hidden_act` in `{file}`: transformers' default"),
            (Some(name), Dialect::Google) if name != &config.hidden_act.to_string() => {
                format!("`hidden_act` {name:?} in `{file}`, by which Google means gelu_new")
            }
            _ => format!("`hidden_act` in `{file}`"),
        };
        let mut choices = Vec::new();
        match dialect {
            Dialect::HuggingFace => {}
            Dialect::Google => choices.push(format!("configuration: `{file}` in Google's dialect")),
            Dialect::PlBert => choices.push(format!(
                "configuration: the `model_params` of `{file}`, as PL-BERT has it"
            )),
            Dialect::Kokoro => choices.push(format!(
                "configuration: the `plbert` of `{file}`, as Kokoro has it"
            )),
        }
        if dialect != Dialect::HuggingFace && stated.is_some() {
            choices.push(format!(
                "activation: `{}`, from {activation}",
                config.hidden_act
            ));
        }
        if dialect == Dialect::HuggingFace && with_tensorflow && stated.as_deref() == Some("gelu") {
            choices.push(format!(
                "activation: `gelu` is the exact one, as Hugging Face's `{file}` says; Google trained with the tanh \
                 form, which an `albert_config.json` next to it would choose"
            ));
        }
        Ok(Self {
            config,
            is_googles: dialect == Dialect::Google,
            activation,
            choices,
        })
    }
}

//! Which of a folder's files describes the model, and in whose words.

use std::path::Path;

use crate::checkpoint::choice::names;
use crate::config::{AlbertConfig, Dialect};
use crate::error::{Error, Result, refuse_lfs_pointer};

const HUGGING_FACE: &str = "config.json";
const PL_BERT: [&str; 2] = ["config.yml", "config.yaml"];

/// A configuration and where it comes from.
#[derive(Debug)]
pub(super) struct Configuration {
    pub(super) config: AlbertConfig,
    /// Whether it is in Google's words, which name no labels.
    pub(super) is_googles: bool,
    /// Where the activation comes from.
    pub(super) activation: String,
    pub(super) choices: Vec<String>,
}

impl Configuration {
    /// Finds and reads the configuration beside weights, TensorFlow's or others.
    pub(super) fn find(dir: &Path, beside_tensorflow: bool) -> Result<Self> {
        let files = names(dir)?;
        let has = |name: &str| files.iter().any(|file| file == name);
        let google: Vec<&String> = files
            .iter()
            .filter(|name| name.starts_with("albert_config") && name.ends_with(".json"))
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
            (true, Some(google), _) if beside_tensorflow => (
                google,
                "which came with the TensorFlow weights, before `config.json`",
            ),
            (true, _, _) => (HUGGING_FACE, ""),
            (false, Some(google), _) => (google, "there is no `config.json`"),
            (false, None, Some(plbert)) => (plbert, "there is no `config.json`"),
            (false, None, None) => return Err(Error::NoConfig { path: dir.into() }),
        };
        let path = dir.join(file);
        let text = std::fs::read(&path).map_err(|source| Error::Io {
            path: path.clone(),
            source,
        })?;
        refuse_lfs_pointer(&path, &text)?;
        let mut found = Self::parse(&text, &path.display().to_string(), file, beside_tensorflow)?;
        if !why.is_empty() {
            found
                .choices
                .insert(0, format!("configuration: `{file}`, {why}"));
        }
        Ok(found)
    }

    /// Reads the text of a configuration that messages call `path`, and reports `file`.
    pub(super) fn parse(
        text: &[u8],
        path: &str,
        file: &str,
        beside_tensorflow: bool,
    ) -> Result<Self> {
        let (config, dialect, stated) =
            AlbertConfig::in_any_dialect(text, path, beside_tensorflow)?;
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
            Dialect::Google => choices.push(format!("configuration: `{file}` in Google's words")),
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
        if dialect == Dialect::HuggingFace && beside_tensorflow && stated.as_deref() == Some("gelu")
        {
            choices.push(format!(
                "activation: `gelu` is the exact one, as Hugging Face's `{file}` says; Google trained with the tanh \
                 form, which an `albert_config.json` beside it would choose"
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

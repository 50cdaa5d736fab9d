//! The options that choose a model and control its tokenizer.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use albert_tasks::{BUILTIN, ModelFiles, TokenizerOptions};
use anyhow::Context;
use clap::Args;

use crate::failure::usage;
#[cfg(feature = "hub")]
use crate::hub::HubArgs;
use crate::progress::Talk;

/// The options of the model and its tokenizer.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A model on the Hub (owner/name), a folder with a model's files, or the built-in model
    #[arg(long, value_name = "ID|DIR|NAME", env = "ALBERT_MODEL", default_value = BUILTIN)]
    pub(crate) model: OsString,

    #[command(flatten)]
    pub(crate) reading: ReadingArgs,
}

/// The way to a model's files, and the way that it reads text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ReadingArgs {
    #[cfg(feature = "hub")]
    #[command(flatten)]
    hub: HubArgs,

    /// Take the tokenizer's files from this folder instead of the model's
    #[arg(long = "tokenizer", value_name = "DIR")]
    pub(crate) tokenizer_dir: Option<PathBuf>,

    /// Lowercase the text first, overriding tokenizer_config.json
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    lowercase: Option<bool>,

    /// Keep accents, overriding tokenizer_config.json
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    keep_accents: Option<bool>,
}

impl ModelArgs {
    /// Finds the model's files, downloading those that are missing.
    pub(crate) fn files(&self, talk: Talk) -> anyhow::Result<ModelFiles> {
        self.reading.files(&self.model, talk)
    }

    /// Returns the tokenizer's options.
    pub(crate) fn tokenizer(&self) -> TokenizerOptions {
        self.reading.tokenizer()
    }
}

impl ReadingArgs {
    /// Finds a model's files, downloading those that are missing, with the tokenizer of `--tokenizer`.
    pub(crate) fn files(&self, model: &OsStr, talk: Talk) -> anyhow::Result<ModelFiles> {
        let files = self.own_files(model, talk)?;
        match &self.tokenizer_dir {
            Some(dir) => files.with_tokenizer(dir).context("`--tokenizer`"),
            None => Ok(files),
        }
    }

    /// Finds a model's files with its own tokenizer.
    pub(crate) fn own_files(&self, model: &OsStr, talk: Talk) -> anyhow::Result<ModelFiles> {
        if model.is_empty() {
            return Err(usage(
                "the model is empty: expected a name on the Hub, a folder or a built-in name",
            )
            .context("`--model` or ALBERT_MODEL"));
        }
        match model.to_str() {
            Some(model) => self.named(model, talk),
            // Only a folder can have a name that is not UTF-8.
            None => Ok(ModelFiles::from_dir(model)?),
        }
    }

    #[cfg(feature = "hub")]
    fn named(&self, model: &str, talk: Talk) -> anyhow::Result<ModelFiles> {
        self.hub.files(model, talk)
    }

    #[cfg(not(feature = "hub"))]
    fn named(&self, model: &str, _talk: Talk) -> anyhow::Result<ModelFiles> {
        Ok(ModelFiles::resolve(model)?)
    }

    /// Returns the tokenizer's options.
    pub(crate) fn tokenizer(&self) -> TokenizerOptions {
        TokenizerOptions {
            lowercase: self.lowercase,
            keep_accents: self.keep_accents,
            ..TokenizerOptions::default()
        }
    }
}

/// The option for special tokens that occur in a text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct SpecialArgs {
    /// Read special tokens that occur in a text, such as `[MASK]`, as ordinary characters
    #[arg(long)]
    pub(crate) no_special_parse: bool,
}

//! The options that choose a model and control its tokenizer.

use std::ffi::OsString;
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
        if self.model.is_empty() {
            return Err(usage(
                "the model is empty: expected a name on the Hub, a folder or a built-in name",
            )
            .context("`--model` or ALBERT_MODEL"));
        }
        match self.model.to_str() {
            Some(model) => self.files_of(model, talk),
            // Only a folder can have a name that is not UTF-8.
            None => self.with_tokenizer(ModelFiles::from_dir(&self.model)?),
        }
    }

    /// Finds the files of another model in the same way.
    pub(crate) fn files_of(&self, model: &str, talk: Talk) -> anyhow::Result<ModelFiles> {
        #[cfg(feature = "hub")]
        let files = self.hub.files(model, talk)?;
        #[cfg(not(feature = "hub"))]
        let files = {
            let _ = talk;
            ModelFiles::resolve(model)?
        };
        self.with_tokenizer(files)
    }

    /// Replaces the tokenizer's files by those of `--tokenizer`, if given.
    fn with_tokenizer(&self, files: ModelFiles) -> anyhow::Result<ModelFiles> {
        match &self.tokenizer_dir {
            Some(dir) => files.with_tokenizer(dir).context("`--tokenizer`"),
            None => Ok(files),
        }
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

//! The options of `pretrain`, and the settings whose defaults depend on others.

use std::path::PathBuf;

use albert_model::AlbertConfig;
use albert_tasks::{ModelFiles, Tokenizer};
use albert_train::optim::OptimizerKind;
use albert_train::optim::schedule::Warmup;
use albert_train::pretrain::{Preset, Start, WARMUP_SHARE, lamb_learning_rate};
use albert_train::{Length, TrainerSettings};
use clap::{Args, ValueEnum};

use crate::commands::training::{Defaults, settings};
use crate::options::ModelArgs;
use crate::options::pretraining::PretrainingArgs;
use crate::options::training::{BATCH_SIZE, OptimizationArgs, RunArgs};
use crate::progress::Talk;

/// The default number of epochs.
const EPOCHS: f64 = 3.0;

/// Learning rates of AdamW and Muon for random weights, and for those of a trained model.
const NEW_RATE: f64 = 5e-4;
const TRAINED_RATE: f64 = 5e-5;

/// The options of `pretrain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli pretrain --train corpus.txt --preset tiny --output my-albert
  albert-cli pretrain --output my-albert --resume")]
pub(crate) struct PretrainArgs {
    /// Text with one sentence per line and a blank line between documents: files (.txt, .gz, .zst)
    /// or folders
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., required = true)]
    pub(super) train: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) model: ModelArgs,

    /// Start from random weights with this configuration, instead of from --model
    #[arg(
        long,
        value_name = "FILE",
        requires = "tokenizer_dir",
        help_heading = "Model"
    )]
    pub(super) config: Option<PathBuf>,

    /// Start from random weights of a standard size, with suitable training settings
    #[arg(
        long,
        value_name = "SIZE",
        value_enum,
        conflicts_with = "config",
        help_heading = "Model"
    )]
    pub(super) preset: Option<PresetName>,

    #[command(flatten)]
    pub(super) text: PretrainingArgs,

    #[command(flatten)]
    pub(super) run: RunArgs,

    #[command(flatten)]
    pub(super) optimization: OptimizationArgs,
}

/// A standard size of a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PresetName {
    /// 4 layers of width 256, lamb
    Tiny,
    /// albert-base-v2, lamb
    Base,
    /// albert-large-v2, lamb
    Large,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Tiny => Self::Tiny,
            PresetName::Base => Self::Base,
            PresetName::Large => Self::Large,
        }
    }
}

impl PretrainArgs {
    /// Returns the settings of the trainer: given options, then those that suit the start.
    pub(super) fn settings(&self) -> TrainerSettings {
        let options = &self.optimization;
        let optimizer = match self.preset {
            Some(_) => OptimizerKind::Lamb,
            None => OptimizerKind::AdamW,
        };
        let is_new = self.preset.is_some() || self.config.is_some();
        let batch_size = options.batch_size.unwrap_or(BATCH_SIZE);
        let defaults = Defaults {
            optimizer,
            learning_rate: match options.optimizer.unwrap_or(optimizer) {
                OptimizerKind::Lamb => lamb_learning_rate(batch_size),
                _ if is_new => NEW_RATE,
                _ => TRAINED_RATE,
            },
            batch_size,
            warmup: match self.preset {
                Some(_) => Warmup::Share(WARMUP_SHARE),
                None => Warmup::Steps(0),
            },
            length: Length::Epochs(EPOCHS),
        };
        settings(&self.run, options, &defaults)
    }

    /// Returns the initial weights and the files of the tokenizer.
    pub(super) fn start(&self, talk: Talk) -> anyhow::Result<(Start, ModelFiles)> {
        let groups = self.optimization.layer_groups;
        let tokenizer = self
            .model
            .reading
            .tokenizer_dir
            .as_ref()
            .map(ModelFiles::from_dir)
            .transpose()?;
        if let (Some(path), Some(tokenizer)) = (&self.config, &tokenizer) {
            let mut config = AlbertConfig::from_file(path)?;
            config.num_hidden_groups = groups.unwrap_or(config.num_hidden_groups);
            config.validate()?;
            return Ok((Start::Random(Box::new(config)), tokenizer.clone()));
        }
        let files = match (&tokenizer, self.preset) {
            (Some(files), Some(_)) => files.clone(),
            _ => self.model.files(talk)?,
        };
        let tokenizer = tokenizer.unwrap_or_else(|| files.clone());
        let Some(preset) = self.preset else {
            let start = match groups {
                Some(groups) => Start::Groups(files, groups),
                None => Start::Model(files),
            };
            return Ok((start, tokenizer));
        };
        let pieces = Tokenizer::load(&tokenizer, &self.model.tokenizer())?.vocab_size();
        let mut config = Preset::from(preset).config(pieces);
        config.num_hidden_groups = groups.unwrap_or(config.num_hidden_groups);
        Ok((Start::Random(Box::new(config)), tokenizer))
    }
}

//! The options that several commands share. Options of one command are in the command's file.

pub(crate) mod compute;
#[cfg(feature = "train")]
pub(crate) mod distillation;
#[cfg(feature = "train")]
pub(crate) mod examples;
mod files;
pub(crate) mod input;
pub(crate) mod model;
pub(crate) mod output;
#[cfg(feature = "train")]
pub(crate) mod pretraining;
#[cfg(feature = "train")]
pub(crate) mod training;
pub(crate) mod values;
pub(crate) mod vectors;

use clap::Args;

pub(crate) use compute::{ComputeArgs, MAX_THREADS};
pub(crate) use files::FileArgs;
pub(crate) use input::{InputArgs, InputFormat, PairArgs};
#[cfg(feature = "server")]
pub(crate) use model::ReadingArgs;
pub(crate) use model::{ModelArgs, SpecialArgs};
pub(crate) use output::{ColumnArgs, OutputArgs, RowArgs};
pub(crate) use values::{folder, number};

/// The options of a command that runs texts through a model and writes a row for each.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
    #[command(flatten)]
    pub(crate) rows: RowArgs,
}

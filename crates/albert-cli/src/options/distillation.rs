//! The options of a distillation.

use albert_train::distill::DistillWeights;
use clap::Args;

use super::ModelArgs;
use super::pretraining::PretrainingArgs;
use super::training::{OptimizationArgs, RunArgs};

/// The options that `distill` and `compress` share.
#[derive(Debug, Args)]
pub(crate) struct DistillingArgs {
    #[command(flatten)]
    pub(crate) distillation: DistillationArgs,

    #[command(flatten)]
    pub(crate) model: ModelArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,

    #[command(flatten)]
    pub(crate) optimization: OptimizationArgs,
}

/// The objectives and the text of a distillation.
#[derive(Debug, Args)]
#[command(next_help_heading = "Distillation")]
pub(crate) struct DistillationArgs {
    /// Objectives with weights: embeddings, hidden-states, masked-lm, pretraining; such as
    /// embeddings=2,hidden-states=1 [default: those that the teacher allows, without pretraining]
    ///
    /// embeddings: the teacher's sentence embeddings and their similarities. hidden-states: its
    /// hidden states of every token, after each layer group. masked-lm: its probabilities of masked
    /// tokens. pretraining: the text's own masked tokens and sentence order.
    #[arg(long, value_name = "NAMES")]
    pub(crate) objective: Option<DistillWeights>,

    #[command(flatten)]
    pub(crate) text: PretrainingArgs,
}

impl DistillationArgs {
    /// Returns the weights of the objectives that were named, or none.
    pub(crate) fn weights(&self) -> DistillWeights {
        self.objective.unwrap_or_default()
    }
}

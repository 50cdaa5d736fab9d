//! The options of `finetune`, and the settings whose defaults depend on others.

use std::path::PathBuf;

use albert_train::finetune::ClassWeights;
use albert_train::optim::OptimizerKind;
use albert_train::optim::schedule::Warmup;
use albert_train::{FineTuneTask, Length};
use clap::Args;

use super::sweep::Sweep;
use super::trial::{Resolved, Trial};
use crate::commands::training::{Defaults, length, settings};
use crate::options::ModelArgs;
use crate::options::examples::ExampleArgs;
use crate::options::training::{BATCH_SIZE, OptimizationArgs, RunArgs, fraction};

/// The default number of epochs and the default learning rate.
///
/// Source: transformers 4.46.3, `TrainingArguments`.
const EPOCHS: f64 = 3.0;
const LEARNING_RATE: f64 = 5e-5;

/// The options of `finetune`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli finetune --preset sst2 --train train.tsv --output sentiment
  albert-cli finetune --task tagging --train ner.conll --output ner")]
pub(crate) struct FineTuneArgs {
    /// Task: classification, regression, multi-label, tagging, answering, choice or similarity
    #[arg(long, value_name = "TASK")]
    pub(super) task: Option<FineTuneTask>,

    /// Examples to train on: files, or the folders of RACE
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    pub(super) train: Vec<PathBuf>,

    #[command(flatten)]
    pub(super) model: ModelArgs,

    #[command(flatten)]
    pub(super) examples: ExampleArgs,

    /// Weights of the labels in the loss: balanced, or LABEL=F,…, with 1 for all others
    #[arg(long, value_name = "WEIGHTS", value_parser = class_weights, help_heading = "Data")]
    pub(super) class_weights: Option<ClassWeights>,

    /// Label smoothing: the part of each label that is spread over all labels
    #[arg(long, value_name = "F", value_parser = fraction, help_heading = "Data")]
    pub(super) label_smoothing: Option<f64>,

    #[command(flatten)]
    pub(super) run: RunArgs,

    /// Run once with each of these seeds, and report means and deviations
    #[arg(long, value_name = "N,…", value_delimiter = ',', help_heading = "Run")]
    pub(super) seeds: Vec<u64>,

    /// Run once with each value of an option, such as learning-rate=1e-5,2e-5
    ///
    /// The options are learning-rate, batch-size, epochs, weight-decay, label-smoothing and dropout.
    #[arg(long, value_name = "NAME=F,…", help_heading = "Run")]
    pub(super) sweep: Option<Sweep>,

    #[command(flatten)]
    pub(super) optimization: OptimizationArgs,

    /// Factor of the learning rate from each group of layers to the one below it; the embeddings
    /// have the lowest rate
    #[arg(long, value_name = "F", value_parser = decay, default_value = "1", help_heading = "Optimization")]
    pub(super) layer_decay: f64,
}

impl FineTuneArgs {
    /// Returns the settings of a run: given options, then the preset's, then the usual ones.
    pub(super) fn resolved(&self, trial: &Trial) -> anyhow::Result<Resolved> {
        let options = &self.optimization;
        let mut defaults = Defaults {
            optimizer: OptimizerKind::AdamW,
            learning_rate: LEARNING_RATE,
            batch_size: BATCH_SIZE,
            warmup: Warmup::Steps(0),
            length: Length::Epochs(EPOCHS),
        };
        if let Some(preset) = self.examples.preset {
            let known = preset.settings();
            defaults.learning_rate = known.learning_rate;
            defaults.batch_size = known.batch_size;
            defaults.length = known.length();
            // The preset's warm-up belongs to its own length.
            let length = length(&self.run).unwrap_or(defaults.length);
            if known.steps.map(Length::Steps) == Some(length) {
                defaults.warmup = Warmup::Steps(known.warmup_steps);
            }
        }
        let mut resolved = Resolved {
            task: self.examples.task(self.task)?,
            settings: settings(&self.run, options, &defaults),
            label_smoothing: self.label_smoothing.unwrap_or(0.0),
            dropout: options.dropout,
            seed: options.seed,
        };
        let metric = self.examples.preset.map(|preset| preset.metric().into());
        resolved.settings.metric = resolved.settings.metric.or(metric);
        trial.apply(&mut resolved);
        Ok(resolved)
    }
}

/// Parses a factor above 0 and up to 1.
fn decay(text: &str) -> Result<f64, String> {
    let value = text.trim().parse().ok();
    let value = value.filter(|value: &f64| *value > 0.0 && *value <= 1.0);
    value.ok_or_else(|| "expected a number above 0 and up to 1".into())
}

/// Parses weights of labels.
fn class_weights(text: &str) -> Result<ClassWeights, String> {
    if text == "balanced" {
        return Ok(ClassWeights::Balanced);
    }
    let pairs = text.split(',').map(|pair| {
        let (name, weight) = pair.rsplit_once('=')?;
        let weight: f32 = weight.trim().parse().ok()?;
        (weight.is_finite() && weight >= 0.0).then(|| (name.to_string(), weight))
    });
    let pairs: Option<Vec<_>> = pairs.collect();
    pairs
        .map(ClassWeights::Given)
        .ok_or_else(|| "expected balanced, or weights such as spam=2,ham=0.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_balanced_or_given_for_labels() {
        assert_eq!(class_weights("balanced"), Ok(ClassWeights::Balanced));
        let given = ClassWeights::Given(vec![("a=b".into(), 2.0), ("c".into(), 0.5)]);
        assert_eq!(class_weights("a=b=2,c=0.5"), Ok(given));
        for wrong in ["a", "a=-1", "a=x", ""] {
            assert!(class_weights(wrong).is_err(), "{wrong}");
        }
    }
}

//! The recipe of a run: every option with its value.

use std::path::Path;

use albert_train::TrainerSettings;
use albert_train::finetune::{ClassWeights, Length};
use albert_train::optim::schedule::Warmup;
use anyhow::Context;
use toml::{Table, Value};

use super::options::{FineTuneArgs, Resolved};
use crate::commands::pretrain::{paths, text, whole};
use crate::options::examples::quoted;

impl FineTuneArgs {
    /// Returns the recipe of one run, with the settings that it resolved to.
    pub(super) fn recipe(
        &self,
        resolved: &Resolved,
        settings: &TrainerSettings,
    ) -> anyhow::Result<String> {
        let mut table = Table::new();
        self.put_data(&mut table, resolved)?;
        self.put_run(&mut table, resolved, settings)?;
        self.put_optimization(&mut table, resolved, settings)?;
        Ok(toml::to_string(&table)?)
    }

    fn put_data(&self, table: &mut Table, resolved: &Resolved) -> anyhow::Result<()> {
        let mut put = |name: &str, value: Value| table.insert(name.into(), value);
        let examples = &self.examples;
        put("task", resolved.task.name().into());
        if let Some(preset) = examples.preset {
            put("preset", preset.name().into());
        }
        put("train", paths(&self.train)?);
        put("model", text(Path::new(&self.model.model))?);
        if let Some(folder) = &self.model.reading.tokenizer_dir {
            put("tokenizer", text(folder)?);
        }
        let tokenizer = self.model.tokenizer();
        for (name, value) in [
            ("lowercase", tokenizer.lowercase),
            ("keep-accents", tokenizer.keep_accents),
        ] {
            if let Some(value) = value {
                put(name, value.into());
            }
        }
        if let Some(format) = examples.input_format {
            put("input-format", format.name().into());
        }
        if let Some(delimiter) = examples.delimiter {
            put("delimiter", char::from(delimiter).to_string().into());
        }
        if let Some(columns) = &examples.columns {
            put("columns", columns.join(",").into());
        }
        if let Some(fields) = &examples.field {
            put("field", fields.to_string().into());
        }
        if let Some(label) = &examples.label {
            put("label", quoted(label.path()).into());
        }
        for (name, value) in [
            ("max-length", examples.max_length),
            ("stride", examples.stride),
        ] {
            if let Some(value) = value {
                put(name, whole(value));
            }
        }
        put("max-answer-tokens", whole(examples.max_answer_tokens));
        match &self.class_weights {
            Some(ClassWeights::Balanced) => {
                put("class-weights", "balanced".into());
            }
            Some(ClassWeights::Given(weights)) => {
                let pairs = weights
                    .iter()
                    .map(|(name, weight)| format!("{name}={weight}"));
                put("class-weights", pairs.collect::<Vec<_>>().join(",").into());
            }
            _ => {}
        }
        put("label-smoothing", resolved.label_smoothing.into());
        Ok(())
    }

    fn put_run(
        &self,
        table: &mut Table,
        resolved: &Resolved,
        settings: &TrainerSettings,
    ) -> anyhow::Result<()> {
        let mut put = |name: &str, value: Value| table.insert(name.into(), value);
        let run = &self.run;
        if !run.eval.is_empty() {
            put("eval", paths(&run.eval)?);
        }
        match resolved.length {
            Length::Steps(steps) => put("steps", whole(steps as usize)),
            Length::Epochs(epochs) => put("epochs", epochs.into()),
        };
        put("eval-every", run.eval_every.to_string().into());
        put("metric", settings.metric.as_str().into());
        if let Some(patience) = run.patience {
            put("patience", whole(patience));
        }
        put("keep-last", run.keep_last.into());
        put("save-every", run.save_every.to_string().into());
        Ok(())
    }

    fn put_optimization(
        &self,
        table: &mut Table,
        resolved: &Resolved,
        settings: &TrainerSettings,
    ) -> anyhow::Result<()> {
        let mut put = |name: &str, value: Value| table.insert(name.into(), value);
        let options = &self.optimization;
        put("batch-size", whole(settings.batch_size));
        put("accumulate", whole(settings.accumulate));
        put("optimizer", settings.optimizer.kind.name().into());
        put("learning-rate", settings.learning_rate.into());
        put("beta1", settings.optimizer.beta1.into());
        put("beta2", settings.optimizer.beta2.into());
        put("epsilon", settings.optimizer.epsilon.into());
        put("weight-decay", settings.optimizer.weight_decay.into());
        put("clip", settings.clip.into());
        put("schedule", settings.schedule.name().into());
        match settings.warmup {
            Warmup::Steps(steps) => put("warmup", whole(steps as usize)),
            Warmup::Share(share) => put("warmup", share.into()),
        };
        for (name, value) in [
            ("average", settings.average),
            ("dropout", resolved.dropout),
            ("attention-dropout", options.attention_dropout),
            ("classifier-dropout", options.classifier_dropout),
        ] {
            if let Some(value) = value {
                put(name, value.into());
            }
        }
        if let Some(freeze) = options.freeze {
            put("freeze", freeze.name().into());
        }
        if let Some(groups) = options.layer_groups {
            put("layer-groups", whole(groups));
        }
        put(
            "seed",
            i64::try_from(resolved.seed).context("the seed")?.into(),
        );
        put("layer-decay", self.layer_decay.into());
        put("shuffle", options.shuffle.into());
        put("slots", whole(resolved.slots));
        Ok(())
    }
}

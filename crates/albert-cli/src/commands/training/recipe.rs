//! The recipe of a run: every option with its value, by its long name.

use std::path::{Path, PathBuf};

use albert_train::optim::schedule::Warmup;
use albert_train::{Engine, Length, PassSettings, TrainerSettings};
use anyhow::Context;
use toml::{Table, Value};

use crate::options::ModelArgs;
use crate::options::pretraining::PretrainingArgs;
use crate::options::training::{OptimizationArgs, RunArgs};

/// A recipe in the making.
#[derive(Debug, Default)]
pub(crate) struct Recipe(Table);

impl Recipe {
    /// Sets an option.
    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.into(), value.into());
    }

    /// Sets an option if it was given.
    pub(crate) fn put_given(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Sets an option to a whole number.
    pub(crate) fn put_count(&mut self, name: &str, count: usize) {
        self.put(name, i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Sets an option to a path.
    pub(crate) fn put_path(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        self.put(name, text(path)?);
        Ok(())
    }

    /// Sets an option to paths, if there are any.
    pub(crate) fn put_paths(&mut self, name: &str, paths: &[PathBuf]) -> anyhow::Result<()> {
        let texts: anyhow::Result<Vec<_>> = paths.iter().map(|path| text(path)).collect();
        let texts = texts?;
        if !texts.is_empty() {
            self.put(name, texts);
        }
        Ok(())
    }

    /// Sets the options of the model and its tokenizer.
    pub(crate) fn put_model(&mut self, model: &ModelArgs) -> anyhow::Result<()> {
        self.put_path("model", Path::new(&model.model))?;
        if let Some(folder) = &model.reading.tokenizer_dir {
            self.put_path("tokenizer", folder)?;
        }
        let tokenizer = model.tokenizer();
        self.put_given("lowercase", tokenizer.lowercase);
        self.put_given("keep-accents", tokenizer.keep_accents);
        Ok(())
    }

    /// Sets the options that turn text into masked examples.
    pub(crate) fn put_pretraining(&mut self, text: &PretrainingArgs) {
        self.put_count("max-length", text.max_length());
        self.put("mask-probability", text.mask_probability);
        self.put_count("max-ngram", text.max_ngram);
        self.put("sentence-order", text.sentence_order);
    }

    /// Sets the options of length, evaluations and snapshots.
    pub(crate) fn put_run(
        &mut self,
        run: &RunArgs,
        settings: &TrainerSettings,
        metric: &str,
    ) -> anyhow::Result<()> {
        self.put_paths("eval", &run.eval)?;
        match settings.length {
            Length::Epochs(epochs) => self.put("epochs", epochs),
            Length::Steps(steps) => self.put_count("steps", steps as usize),
            Length::Time(time) => self.put("time", format!("{}s", time.as_secs())),
        }
        self.put("eval-every", run.eval_every.to_string());
        self.put("metric", settings.metric.as_deref().unwrap_or(metric));
        if let Some(patience) = run.patience {
            self.put_count("patience", patience);
        }
        self.put("keep-last", run.keep_last);
        self.put("save-every", run.save_every.to_string());
        Ok(())
    }

    /// Sets the options of the updates and the pass.
    pub(crate) fn put_optimization(
        &mut self,
        options: &OptimizationArgs,
        settings: &TrainerSettings,
        pass: &PassSettings,
    ) -> anyhow::Result<()> {
        self.put_count("batch-size", settings.batch_size);
        self.put_count("accumulate", settings.accumulate);
        self.put("optimizer", settings.optimizer.kind.name());
        self.put("learning-rate", settings.learning_rate);
        self.put("beta1", settings.optimizer.beta1);
        self.put("beta2", settings.optimizer.beta2);
        self.put("epsilon", settings.optimizer.epsilon);
        self.put("weight-decay", settings.optimizer.weight_decay);
        self.put("clip", settings.clip);
        self.put("schedule", settings.schedule.name());
        match settings.warmup {
            Warmup::Steps(steps) => self.put_count("warmup", steps as usize),
            Warmup::Share(share) => self.put("warmup", share),
        }
        self.put_given("average", settings.average);
        self.put_given("dropout", options.dropout);
        self.put_given("attention-dropout", options.attention_dropout);
        self.put_given("classifier-dropout", options.classifier_dropout);
        self.put_given("freeze", options.freeze.map(|part| part.name()));
        if let Some(groups) = options.layer_groups {
            self.put_count("layer-groups", groups);
        }
        self.put("seed", i64::try_from(options.seed).context("`--seed`")?);
        self.put("shuffle", options.shuffle);
        self.put("engine", pass.engine.to_string());
        if let Engine::Candle { dtype, .. } = &pass.engine {
            self.put("dtype", dtype.as_str());
        }
        if let Some(slots) = pass.slots {
            self.put_count("slots", slots);
        }
        Ok(())
    }

    /// Returns the recipe as TOML.
    pub(crate) fn to_text(&self) -> anyhow::Result<String> {
        Ok(toml::to_string(&self.0)?)
    }
}

fn text(path: &Path) -> anyhow::Result<Value> {
    let text = path.to_str().with_context(|| {
        format!(
            "`{}`: expected a path in UTF-8, because a recipe cannot hold others",
            path.display()
        )
    })?;
    Ok(text.into())
}

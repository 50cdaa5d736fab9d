//! The recipe of a run of fine-tuning.

use albert_train::PassSettings;
use albert_train::finetune::ClassWeights;
use anyhow::Context;

use super::options::FineTuneArgs;
use super::trial::Resolved;
use crate::commands::training::Recipe;
use crate::options::examples::{ExampleArgs, quoted};

impl FineTuneArgs {
    /// Returns the recipe of one run, with the settings that it resolved to.
    pub(super) fn recipe(
        &self,
        resolved: &Resolved,
        pass: &PassSettings,
        metric: &str,
    ) -> anyhow::Result<String> {
        let mut recipe = Recipe::default();
        recipe.put("task", resolved.task.name());
        recipe.put_paths("train", &self.train)?;
        recipe.put_model(&self.model)?;
        put_examples(&mut recipe, &self.examples);
        recipe.put_given(
            "class-weights",
            self.class_weights.as_ref().and_then(written),
        );
        recipe.put("label-smoothing", resolved.label_smoothing);
        recipe.put_run(&self.run, &resolved.settings, metric)?;
        recipe.put_optimization(&self.optimization, &resolved.settings, pass)?;
        // Options that differ between the runs of a sweep.
        recipe.put_given("dropout", resolved.dropout);
        recipe.put("seed", i64::try_from(resolved.seed).context("the seed")?);
        recipe.put("layer-decay", self.layer_decay);
        recipe.to_text()
    }
}

/// Sets the options of rows and fields.
fn put_examples(recipe: &mut Recipe, examples: &ExampleArgs) {
    recipe.put_given("preset", examples.preset.map(|preset| preset.name()));
    recipe.put_given(
        "input-format",
        examples.input_format.map(|format| format.name()),
    );
    let delimiter = examples.delimiter;
    recipe.put_given(
        "delimiter",
        delimiter.map(|byte| char::from(byte).to_string()),
    );
    let columns = examples.columns.as_ref();
    recipe.put_given("columns", columns.map(|columns| columns.join(",")));
    recipe.put_given("field", examples.field.as_ref().map(ToString::to_string));
    let label = examples.label.as_ref();
    recipe.put_given("label", label.map(|label| quoted(label.path())));
    let scores = examples.score_range.as_ref();
    recipe.put_given("score-range", scores.map(ToString::to_string));
    for (name, count) in [
        ("max-length", examples.max_length),
        ("stride", examples.stride),
        ("max-answer-tokens", Some(examples.max_answer_tokens)),
    ] {
        if let Some(count) = count {
            recipe.put_count(name, count);
        }
    }
}

/// Returns class weights as options take them, unless they are equal.
fn written(weights: &ClassWeights) -> Option<String> {
    match weights {
        ClassWeights::Balanced => Some("balanced".into()),
        ClassWeights::Given(weights) => {
            let pairs = weights
                .iter()
                .map(|(name, weight)| format!("{name}={weight}"));
            Some(pairs.collect::<Vec<_>>().join(","))
        }
        _ => None,
    }
}

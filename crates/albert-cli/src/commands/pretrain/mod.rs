//! `pretrain`: trains a model on text by masked language modeling and sentence order prediction.

mod guess;
mod options;

use albert_tasks::ModelFiles;
use albert_train::PassSettings;
use albert_train::Task;
use albert_train::examples::{Corpus, TextStatistics};
use albert_train::pretrain::{Pretrain, Pretraining, Start};
use albert_train::{Length, TextTraining, TrainerSettings};
use clap::ValueEnum;

pub(crate) use options::PretrainArgs;

use super::training::{Plan, Recipe, Run, pass, print, row};
use crate::progress::Talk;
use guess::Guess;

/// Runs the command.
pub(crate) fn run(args: PretrainArgs, talk: Talk) -> anyhow::Result<()> {
    args.optimization.start_threads()?;
    let (settings, pass) = (args.settings(), pass(&args.optimization, talk)?);
    let run = Run::open("pretrain", &args.run, &args.run.output, talk)?;
    let (start, tokenizer) = args.start(talk)?;
    let mut task = args.task(start, tokenizer, &pass)?;
    if let [first, others @ ..] = task.new_tensors() {
        talk.say(format_args!(
            "the model lacks `{first}` and {} others: they start at random",
            others.len()
        ));
    }
    let statistics = task.statistics()?;
    let warmup_steps = match settings.length {
        Length::Time(_) => 0,
        _ => settings.warmup.steps(settings.steps(&mut task)?),
    };
    let mut guess = Guess::new(statistics.unigram_entropy, warmup_steps);
    let plan = Plan {
        recipe: args.recipe(&settings, &pass, task.metric())?,
        settings,
        pass: &pass,
        size: size(&task, &statistics),
        notes: vec![args.expected_loss(&task, &statistics)],
    };
    let summary = run.train(&mut task, plan, &mut |event, progress| {
        guess.see(event, progress);
    })?;
    print(row(&summary))
}

/// Describes the size of the model and the text.
fn size(task: &Pretraining, statistics: &TextStatistics) -> String {
    let about = if statistics.is_whole { "" } else { "about " };
    format!(
        "{} parameters, {about}{} sequences an epoch",
        task.parameters().layout().len(),
        statistics.sequences_per_epoch
    )
}

impl PretrainArgs {
    /// Describes the losses of models that have learned nothing from context.
    fn expected_loss(&self, task: &Pretraining, statistics: &TextStatistics) -> String {
        let pieces = (task.parameters().layout().config().vocab_size as f64).ln();
        let order = if self.text.sentence_order.is_trained() {
            2f64.ln()
        } else {
            0.0
        };
        format!(
            "loss of uniform guessing: {:.2}; of guessing by the frequencies of the first {} \
             tokens: {:.2}; a model that learns falls below both",
            pieces + order,
            statistics.tokens,
            statistics.unigram_entropy + order
        )
    }

    fn task(
        &self,
        start: Start,
        tokenizer: ModelFiles,
        pass: &PassSettings,
    ) -> anyhow::Result<Pretraining> {
        let mut text = TextTraining::new(Corpus::open(&self.train)?)
            .with_tokenizer(self.model.tokenizer())
            .with_text(self.text.text(&self.optimization))
            .with_pass(|settings| *settings = pass.clone());
        if !self.run.eval.is_empty() {
            text = text.with_eval(Corpus::open(&self.run.eval)?);
        }
        Ok(Pretrain::new(start, tokenizer, text).prepare()?)
    }

    /// Returns the recipe of the run: every option with its value.
    fn recipe(
        &self,
        settings: &TrainerSettings,
        pass: &PassSettings,
        metric: &str,
    ) -> anyhow::Result<String> {
        let mut recipe = Recipe::default();
        recipe.put_paths("train", &self.train)?;
        if let Some(preset) = self.preset.and_then(|preset| preset.to_possible_value()) {
            recipe.put("preset", preset.get_name());
        }
        if let Some(config) = &self.config {
            recipe.put_path("config", config)?;
        }
        recipe.put_model(&self.model)?;
        recipe.put_pretraining(&self.text);
        recipe.put_run(&self.run, settings, metric)?;
        recipe.put_optimization(&self.optimization, settings, pass)?;
        recipe.to_text()
    }
}

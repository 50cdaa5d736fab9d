//! The run of a distillation, for `distill` and `compress`.

use std::path::PathBuf;

use albert_tasks::ModelFiles;
use albert_train::distill::{Distill, Student};
use albert_train::examples::Corpus;
use albert_train::optim::OptimizerKind;
use albert_train::optim::schedule::Warmup;
use albert_train::{Length, PassSettings, TextTraining, TrainerSettings};

use crate::commands::training::{Defaults, Plan, Recipe, Run, print, row, settings};
use crate::options::distillation::DistillingArgs;
use crate::options::training::{OptimizationArgs, RunArgs};
use crate::progress::Talk;

/// The defaults of both commands.
const BATCH_SIZE: usize = 64;
const WARMUP_SHARE: f64 = 0.03;

/// A model, or a file of sentence embeddings.
#[derive(Debug)]
pub(crate) enum TeacherFiles {
    Model(ModelFiles),
    Vectors(PathBuf),
}

/// The options of a distillation, and its student and teacher.
pub(crate) struct Distilling<'a> {
    pub(crate) student: Student,
    pub(crate) teacher: TeacherFiles,
    pub(crate) train: &'a [PathBuf],
    pub(crate) args: &'a DistillingArgs,
    pub(crate) settings: TrainerSettings,
    pub(crate) pass: PassSettings,
}

/// Returns the settings of the trainer: given options, then the defaults.
pub(crate) fn trainer_settings(
    run: &RunArgs,
    options: &OptimizationArgs,
    learning_rate: f64,
) -> TrainerSettings {
    let defaults = Defaults {
        optimizer: OptimizerKind::AdamW,
        learning_rate,
        batch_size: BATCH_SIZE,
        warmup: Warmup::Share(WARMUP_SHARE),
        length: Length::Epochs(1.0),
    };
    settings(run, options, &defaults)
}

/// Returns the settings of the pass, without dropout unless an option sets it, because the
/// teacher's answers are not data to overfit.
pub(crate) fn pass(options: &OptimizationArgs, talk: Talk) -> anyhow::Result<PassSettings> {
    let mut pass = crate::commands::training::pass(options, talk)?;
    pass.dropout.get_or_insert(0.0);
    pass.attention_dropout.get_or_insert(0.0);
    pass.classifier_dropout.get_or_insert(0.0);
    Ok(pass)
}

impl Distilling<'_> {
    /// Trains the student, and prints the row of the result. `recipe` holds the command's own
    /// options.
    pub(crate) fn train(self, run: Run<'_>, mut recipe: Recipe, talk: Talk) -> anyhow::Result<()> {
        say_new(&self.student, talk);
        let DistillingArgs {
            distillation,
            model,
            run: run_args,
            optimization,
        } = self.args;
        let mut text = TextTraining::new(Corpus::open(self.train)?)
            .with_text(distillation.text.text(optimization))
            .with_tokenizer(model.tokenizer())
            .with_pass(|settings| *settings = self.pass.clone());
        if !run_args.eval.is_empty() {
            text = text.with_eval(Corpus::open(&run_args.eval)?);
        }
        let mut distill = match self.teacher {
            TeacherFiles::Model(files) => Distill::new(self.student, files, text),
            TeacherFiles::Vectors(path) => Distill::from_vectors(self.student, path, text),
        };
        if let Some(weights) = distillation.objective {
            distill = distill.with_objectives(weights);
        }
        let mut task = distill.prepare()?;
        let statistics = task.statistics()?;
        recipe.put("objective", task.objectives().to_string());
        recipe.put_pretraining(&distillation.text);
        recipe.put_paths("train", self.train)?;
        recipe.put_run(run_args, &self.settings, "loss")?;
        recipe.put_optimization(optimization, &self.settings, &self.pass)?;
        let about = if statistics.is_whole { "" } else { "about " };
        let plan = Plan {
            size: format!(
                "{} parameters, {about}{} sentences an epoch",
                task.parameters().layout().len(),
                statistics.sequences_per_epoch
            ),
            notes: vec![format!("objectives: {}", task.objectives())],
            settings: self.settings,
            pass: &self.pass,
            recipe: recipe.to_text()?,
        };
        let summary = run.train(&mut task, plan, &mut |_, _| ())?;
        print(row(&summary))
    }
}

/// Reports the tensors that start at random.
pub(crate) fn say_new(student: &Student, talk: Talk) {
    if let [first, others @ ..] = student.new_tensors.as_slice() {
        talk.say(format_args!(
            "the model lacks `{first}` and {} others: they start at random",
            others.len()
        ));
    }
}

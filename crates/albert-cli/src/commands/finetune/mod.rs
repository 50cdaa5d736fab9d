//! `finetune`: a model for a task, from examples with labels.

mod options;
mod recipe;
mod sweep;
mod trial;

use std::path::Path;

use albert_train::finetune::FineTuning;
use albert_train::{FineTune, Output, PassSettings, Summary, Task};

pub(crate) use options::FineTuneArgs;

use super::training::{Plan, Run, pass, print, row};
use crate::failure::{Hint, usage};
use crate::progress::Talk;
use trial::{Resolved, Trial, summarized, trials};

/// Runs the command.
pub(crate) fn run(args: FineTuneArgs, talk: Talk) -> anyhow::Result<()> {
    args.optimization.start_threads()?;
    let trials = trials(&args.seeds, args.sweep.as_ref())?;
    if let [only] = trials.as_slice() {
        let summary = train(&args, only, &args.run.output, talk)?;
        return print(row(&summary));
    }
    if args.run.resume {
        return Err(usage("`--resume` continues one run, not several")
            .hint("name the folder of one of them with --output"));
    }
    Output::check_vacant(&args.run.output)
        .map_err(anyhow::Error::new)
        .hint("name another folder")?;
    let mut results = Vec::new();
    for (index, trial) in trials.iter().enumerate() {
        let (count, name) = (trials.len(), trial.name());
        talk.say(format_args!("run {} of {count}: {name}", index + 1));
        let folder = args.run.output.join(&name);
        let summary = train(&args, trial, &folder, talk)?;
        let mut fields = trial.row();
        fields.extend(row(&summary));
        print(fields)?;
        results.push((trial.clone(), summary));
    }
    summarized(&results).into_iter().try_for_each(print)
}

/// Trains once, and writes the model into `folder`.
fn train(args: &FineTuneArgs, trial: &Trial, folder: &Path, talk: Talk) -> anyhow::Result<Summary> {
    let resolved = args.resolved(trial)?;
    let mut pass = pass(&args.optimization, talk)?;
    pass.dropout = resolved.dropout.map(|dropout| dropout as f32);
    let run = Run::open("finetune", &args.run, folder, talk)?;
    let files = args.model.files(talk)?;
    let mut task = args.fine_tune(&resolved, &pass, files)?.prepare()?;
    let plan = Plan {
        recipe: args.recipe(&resolved, &pass, task.metric())?,
        settings: resolved.settings,
        pass: &pass,
        size: format!(
            "{} parameters, {} examples",
            task.parameters().layout().len(),
            task.examples()
        ),
        notes: new_head(&task).into_iter().chain(task.notes()).collect(),
    };
    run.train(&mut task, plan, &mut |_, _| ())
}

/// Describes the tensors that start at random, if any.
fn new_head(task: &FineTuning) -> Option<String> {
    let first = task.new_tensors().first()?;
    let (others, verb) = match task.new_tensors().len() - 1 {
        0 => (String::new(), "starts"),
        1 => (" and 1 other".into(), "start"),
        others => (format!(" and {others} others"), "start"),
    };
    let head = if first.starts_with("albert.pooler") {
        "pooler and head are new"
    } else {
        "the head is new"
    };
    Some(format!(
        "{head}: `{first}`{others} {verb} at random, by the seed"
    ))
}

impl FineTuneArgs {
    /// Returns the run that the options describe.
    fn fine_tune(
        &self,
        resolved: &Resolved,
        pass: &PassSettings,
        files: albert_tasks::ModelFiles,
    ) -> anyhow::Result<FineTune> {
        let mut run = FineTune::new(resolved.task, files);
        if !self.run.eval.is_empty() {
            run = run.with_eval(self.examples.files(&self.run.eval));
        }
        if let Some(groups) = self.optimization.layer_groups {
            run = run.with_layer_groups(groups);
        }
        Ok(run
            .with_train(self.examples.files(&self.train))
            .with_tokenizer(self.model.tokenizer())
            .with_examples(|examples| {
                self.examples.apply(examples);
                examples.class_weights = self.class_weights.clone().unwrap_or_default();
                examples.label_smoothing = resolved.label_smoothing as f32;
            })
            .with_settings(|settings| *settings = resolved.settings.clone())
            .with_seed(resolved.seed)
            .with_shuffle(self.optimization.shuffle)
            .with_layer_decay(self.layer_decay)
            .with_pass(|settings| *settings = pass.clone()))
    }
}

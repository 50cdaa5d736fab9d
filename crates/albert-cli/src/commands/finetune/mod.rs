//! `finetune`: a model for a task, from examples with labels.

mod options;
mod recipe;
mod trial;
mod watch;

use std::path::Path;

use albert_train::finetune::FineTuning;
use albert_train::{End, Engine, FineTune, Output, Summary, Task, Trainer};
use anyhow::Context;
use serde_json::{Map, Value, json};

pub(crate) use options::FineTuneArgs;

use super::pretrain::stop_at_signals;
use crate::failure::Hint;
use crate::output::print_to_stdout;
use crate::progress::{Steps, Talk};
use options::Resolved;
use trial::{Trial, summarized, trials};
use watch::Watch;

/// Runs the command.
pub(crate) fn run(args: FineTuneArgs, talk: Talk) -> anyhow::Result<()> {
    if !matches!(args.optimization.engine()?, Engine::Cpu) {
        return Err(
            anyhow::anyhow!("fine-tuning runs on the engine `cpu` alone")
                .hint("leave --engine out, and use --device cpu"),
        );
    }
    if args.run.time.is_some() {
        return Err(crate::failure::usage("`--time`: expected `pretrain`")
            .hint("set the length with --epochs or --steps"));
    }
    if let Some(threads) = args.optimization.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global()
            .with_context(|| format!("cannot start {threads} threads"))?;
    }
    let trials = trials(&args)?;
    if let [only] = trials.as_slice() {
        let summary = train(&args, only, &args.run.output, talk)?;
        return write(&row(&summary));
    }
    if args.run.resume {
        return Err(
            crate::failure::usage("`--resume` continues one run, not several")
                .hint("name the folder of one of them with --output"),
        );
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
        let mut row = trial.row();
        row.extend(self::row(&summary));
        write(&row)?;
        results.push((trial.clone(), summary));
    }
    for row in summarized(&results) {
        write(&row)?;
    }
    Ok(())
}

/// Trains once, and writes the model into `folder`.
fn train(args: &FineTuneArgs, trial: &Trial, folder: &Path, talk: Talk) -> anyhow::Result<Summary> {
    let resolved = args.resolved(trial)?;
    let resumed = if args.run.resume {
        Some(Output::resume(folder)?)
    } else {
        Output::check_vacant(folder)
            .map_err(anyhow::Error::new)
            .hint("name another folder, or continue the run in it with --resume")?;
        None
    };
    let files = args.model.files(talk)?;
    let fine_tune = args.fine_tune(&resolved, files)?;
    let mut run = fine_tune.prepare()?;
    let settings = fine_tune.settings(&run);
    say_start(&run, settings.steps, settings.batch_size, talk);
    let (output, snapshot) = match resumed {
        Some(resumed) => resumed,
        // From here on the folder exists: all errors of options and data were reported before.
        None => {
            let recipe = args.recipe(&resolved, &settings)?;
            (Output::create(folder, &recipe)?, None)
        }
    };
    let (steps, metric) = (settings.steps, settings.metric.clone());
    let training = output.training();
    let mut trainer = match &snapshot {
        None => Trainer::start(&mut run, training, settings)?,
        Some(snapshot) => {
            if snapshot.state().fingerprint != run.fingerprint() {
                return Err(anyhow::anyhow!(
                    "the training or evaluation files are not those that the run started with"
                )
                .hint("put the files back as they were, or start a new run"));
            }
            talk.say(format_args!(
                "continuing from `{}`, step {} of {steps}",
                snapshot.path().display(),
                snapshot.state().step
            ));
            Trainer::resume(&mut run, training, settings, snapshot)?
        }
    };
    if let Some(board) = &args.run.tensorboard {
        trainer = trainer.with_tensor_board(board)?;
    }
    let stop = stop_at_signals();
    let progress = Steps::new(talk, steps, trainer.step());
    let mut watch = Watch::new(talk, args.run.log_every as u64, metric);
    let summary = trainer
        .run(&mut run, &stop, &mut |event| watch.see(&event, &progress))
        .map_err(|error| explained(error, &resolved, folder))?;
    progress.finish();
    if summary.end == End::Stopped {
        return Err(
            anyhow::anyhow!("stopped after step {} of {steps}", summary.step).hint(format!(
                "continue with: albert-cli finetune --output '{}' --resume",
                folder.display()
            )),
        );
    }
    fine_tune.write(&run, &output)?;
    watch.end(&summary, folder);
    Ok(summary)
}

/// Reports the size of the run, what is new in the model and what is left out of the data.
fn say_start(run: &FineTuning, steps: u64, batch_size: usize, talk: Talk) {
    if let Some(first) = run.new_tensors().first() {
        let count = run.new_tensors().len();
        let others = match count - 1 {
            0 => String::new(),
            1 => " and 1 other".into(),
            others => format!(" and {others} others"),
        };
        let head = if first.starts_with("albert.pooler") {
            "pooler and head are new"
        } else {
            "the head is new"
        };
        let verb = if count == 1 { "starts" } else { "start" };
        talk.say(format_args!(
            "{head}: `{first}`{others} {verb} at random, by the seed"
        ));
    }
    for note in run.notes() {
        talk.say(note);
    }
    talk.say(format_args!(
        "{} parameters, {} examples, {steps} steps of {batch_size}, {} slots",
        run.parameters().layout().len(),
        run.examples(),
        run.slots()
    ));
}

/// Adds a remedy to an error, if one is known.
fn explained(error: albert_train::Error, resolved: &Resolved, folder: &Path) -> anyhow::Error {
    let is_not_finite = matches!(error, albert_train::Error::NotFinite { .. });
    let error = anyhow::Error::new(error);
    if is_not_finite {
        let rate = resolved.learning_rate / 2.0;
        return error.hint(format!(
            "start again with a lower rate, such as --learning-rate {rate:e}, or more --warmup; the \
             snapshots in `{}` are kept",
            folder.join("training").display()
        ));
    }
    error
}

/// The row of a finished run.
fn row(summary: &Summary) -> Map<String, Value> {
    let mut row = Map::new();
    row.insert("step".into(), json!(summary.result_step));
    row.insert("loss".into(), json!(summary.loss));
    for (name, value) in summary.evaluation.iter().flatten() {
        row.insert(name.clone(), json!(value));
    }
    row
}

fn write(row: &Map<String, Value>) -> anyhow::Result<()> {
    let row = json!(row);
    print_to_stdout(|| {
        use std::io::Write;
        writeln!(std::io::stdout(), "{row}")
    })
}

impl FineTuneArgs {
    /// Returns the run that the options describe.
    fn fine_tune(
        &self,
        resolved: &Resolved,
        files: albert_tasks::ModelFiles,
    ) -> anyhow::Result<FineTune> {
        let options = &self.optimization;
        let mut run = match self.examples.preset {
            Some(preset) => FineTune::from_preset(preset, files),
            None => FineTune::new(resolved.task, files),
        };
        run = match resolved.length {
            albert_train::finetune::Length::Epochs(epochs) => run.with_epochs(epochs),
            albert_train::finetune::Length::Steps(steps) => run.with_steps(steps),
        };
        if let Some(metric) = &self.run.metric {
            run = run.with_metric(metric);
        }
        if !self.run.eval.is_empty() {
            run = run.with_eval(self.examples.files(&self.run.eval));
        }
        if let Some(groups) = options.layer_groups {
            run = run.with_layer_groups(groups);
        }
        let part = |value: Option<f64>| value.map(|value| value as f32);
        Ok(run
            .with_train(self.examples.files(&self.train))
            .with_tokenizer(self.model.tokenizer())
            .with_examples(|examples| {
                self.examples.apply(examples);
                examples.class_weights = self.class_weights.clone().unwrap_or_default();
                examples.label_smoothing = resolved.label_smoothing as f32;
            })
            .with_settings(|settings| resolved.apply(settings, self))
            .with_seed(resolved.seed)
            .with_shuffle(options.shuffle)
            .with_layer_decay(self.layer_decay)
            .with_frozen(self.frozen())
            .with_dropout(
                part(resolved.dropout),
                part(options.attention_dropout),
                part(options.classifier_dropout),
            )
            .with_slots(resolved.slots))
    }
}

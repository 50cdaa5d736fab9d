//! `pretrain`: trains a model on text by masked language modeling and sentence order prediction.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use albert_model::AlbertConfig;
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use albert_train::examples::{Corpus, PretrainingText, TextStatistics};
use albert_train::optim::schedule::Warmup;
use albert_train::optim::{OptimizerKind, OptimizerSettings};
use albert_train::pretrain::{Preset, Pretraining, Start, WARMUP_SHARE, lamb_learning_rate};
use albert_train::{End, Engine, Event, Output, Summary, Task, Trainer, TrainerSettings};
use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use toml::Table;

use crate::failure::Hint;
use crate::options::training::{Freeze, MOST_SLOTS, OptimizationArgs, RunArgs, fraction};
use crate::options::{ModelArgs, number};
use crate::output::print_to_stdout;
use crate::progress::{Steps, Talk};

/// The default number of epochs.
const EPOCHS: f64 = 3.0;

/// The default sequence length: longer sequences take too much time on a CPU.
const MAX_LENGTH: usize = 128;

/// Learning rates of AdamW and Muon for random weights, and for those of a trained model.
const NEW_RATE: f64 = 5e-4;
const TRAINED_RATE: f64 = 5e-5;

/// Steps over which the loss is averaged to check that the model learns, and the steps before the
/// first check.
const WATCHED_STEPS: usize = 100;
const UNWATCHED_STEPS: u64 = 1000;

/// The options of `pretrain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli pretrain --train corpus.txt --preset tiny --output my-albert
  albert-cli pretrain --output my-albert --resume")]
pub(crate) struct PretrainArgs {
    /// Text with one sentence per line and a blank line between documents: files (.txt, .gz, .zst)
    /// or folders
    #[arg(long, value_name = "FILE|DIR", num_args = 1.., required = true)]
    train: Vec<PathBuf>,

    #[command(flatten)]
    model: ModelArgs,

    /// Start from random weights with this configuration, instead of from --model
    #[arg(
        long,
        value_name = "FILE",
        requires = "tokenizer_dir",
        help_heading = "Model"
    )]
    config: Option<PathBuf>,

    /// Start from random weights of a standard size, with suitable training settings
    #[arg(
        long,
        value_name = "SIZE",
        value_enum,
        conflicts_with = "config",
        help_heading = "Model"
    )]
    preset: Option<PresetName>,

    #[arg(
        long,
        help = format!("Tokens in a sequence, special tokens included [default: {MAX_LENGTH}]"),
        value_name = "N",
        value_parser = number(5..=usize::MAX)
    )]
    max_length: Option<usize>,

    /// Fraction of the tokens that is masked
    #[arg(long, value_name = "F", value_parser = fraction, default_value = "0.15")]
    mask_probability: f64,

    /// Maximum number of consecutive words masked together
    #[arg(long, value_name = "N", value_parser = number(1..=64), default_value = "3")]
    max_ngram: usize,

    /// Also train to recognize swapped segments
    #[arg(long, value_name = "true|false", hide_possible_values = true, default_value_t = true, action = clap::ArgAction::Set)]
    sentence_order: bool,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    optimization: OptimizationArgs,
}

/// A standard size of a new model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PresetName {
    /// 4 layers of width 256, lamb
    Tiny,
    /// albert-base-v2, lamb
    Base,
    /// albert-large-v2, lamb
    Large,
}

impl From<PresetName> for Preset {
    fn from(name: PresetName) -> Self {
        match name {
            PresetName::Tiny => Self::Tiny,
            PresetName::Base => Self::Base,
            PresetName::Large => Self::Large,
        }
    }
}

/// The settings whose defaults depend on other settings.
struct Resolved {
    optimizer: OptimizerSettings,
    learning_rate: f64,
    warmup: Warmup,
    slots: usize,
    epochs: Option<f64>,
    engine: Engine,
}

impl PretrainArgs {
    fn resolved(&self) -> anyhow::Result<Resolved> {
        let options = &self.optimization;
        let kind = options.optimizer.unwrap_or(match self.preset {
            Some(_) => OptimizerKind::Lamb,
            None => OptimizerKind::AdamW,
        });
        let mut optimizer = OptimizerSettings::new(kind);
        optimizer.beta1 = options.beta1;
        optimizer.beta2 = options.beta2;
        optimizer.epsilon = options.epsilon.unwrap_or(optimizer.epsilon);
        optimizer.weight_decay = options.weight_decay;
        let is_new = self.preset.is_some() || self.config.is_some();
        let learning_rate = options.learning_rate.unwrap_or(match kind {
            OptimizerKind::Lamb => lamb_learning_rate(options.batch_size()),
            _ if is_new => NEW_RATE,
            _ => TRAINED_RATE,
        });
        let warmup = options.warmup.unwrap_or(match self.preset {
            Some(_) => Warmup::Share(WARMUP_SHARE),
            None => Warmup::Steps(0),
        });
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Resolved {
            optimizer,
            learning_rate,
            warmup,
            slots: options.slots.unwrap_or(cores.min(MOST_SLOTS)),
            epochs: match (self.run.steps, self.run.time) {
                (None, None) => Some(self.run.epochs.unwrap_or(EPOCHS)),
                _ => None,
            },
            engine: options.engine()?,
        })
    }

    fn max_length(&self) -> usize {
        self.max_length.unwrap_or(MAX_LENGTH)
    }

    /// Returns the recipe of the run: every option with its value.
    fn recipe(&self, resolved: &Resolved) -> anyhow::Result<String> {
        let (run, options) = (&self.run, &self.optimization);
        let mut table = Table::new();
        let mut put = |name: &str, value: toml::Value| table.insert(name.into(), value);
        put("train", paths(&self.train)?);
        if !run.eval.is_empty() {
            put("eval", paths(&run.eval)?);
        }
        if let Some(preset) = self.preset.and_then(|preset| preset.to_possible_value()) {
            put("preset", preset.get_name().into());
        }
        let folders = [
            ("config", &self.config),
            ("tokenizer", &self.model.reading.tokenizer_dir),
        ];
        for (name, path) in folders {
            if let Some(path) = path {
                put(name, text(path)?);
            }
        }
        put("model", text(Path::new(&self.model.model))?);
        let tokenizer = self.model.tokenizer();
        for (name, value) in [
            ("lowercase", tokenizer.lowercase),
            ("keep-accents", tokenizer.keep_accents),
        ] {
            if let Some(value) = value {
                put(name, value.into());
            }
        }
        put("max-length", whole(self.max_length()));
        put("mask-probability", self.mask_probability.into());
        put("max-ngram", whole(self.max_ngram));
        put("sentence-order", self.sentence_order.into());
        match (run.steps, run.time) {
            (Some(steps), _) => put("steps", whole(steps)),
            (None, Some(time)) => put("time", format!("{}s", time.as_secs()).into()),
            (None, None) => put("epochs", resolved.epochs.unwrap_or(EPOCHS).into()),
        };
        put("eval-every", run.eval_every.to_string().into());
        put("metric", self.metric().into());
        if let Some(patience) = run.patience {
            put("patience", whole(patience));
        }
        put("keep-last", run.keep_last.into());
        put("save-every", run.save_every.to_string().into());
        put("batch-size", whole(options.batch_size()));
        put("accumulate", whole(options.accumulate));
        put("optimizer", resolved.optimizer.kind.name().into());
        put("learning-rate", resolved.learning_rate.into());
        put("beta1", options.beta1.into());
        put("beta2", options.beta2.into());
        put("epsilon", resolved.optimizer.epsilon.into());
        put("weight-decay", options.weight_decay.into());
        put("clip", options.clip.into());
        put("schedule", options.schedule.name().into());
        match resolved.warmup {
            Warmup::Steps(steps) => put("warmup", whole(steps as usize)),
            Warmup::Share(share) => put("warmup", share.into()),
        };
        for (name, value) in [
            ("average", options.average),
            ("dropout", options.dropout),
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
            i64::try_from(options.seed).context("`--seed`")?.into(),
        );
        put("shuffle", options.shuffle.into());
        put("engine", resolved.engine.to_string().into());
        if let Engine::Candle { dtype, .. } = &resolved.engine {
            put("dtype", dtype.as_str().into());
        }
        put("slots", whole(resolved.slots));
        Ok(toml::to_string(&table)?)
    }

    fn metric(&self) -> &str {
        self.run.metric.as_deref().unwrap_or("loss")
    }

    /// Returns the initial weights and the files of the tokenizer.
    fn start(&self, talk: Talk) -> anyhow::Result<(Start, ModelFiles)> {
        let groups = self.optimization.layer_groups;
        let tokenizer = self
            .model
            .reading
            .tokenizer_dir
            .as_ref()
            .map(ModelFiles::from_dir)
            .transpose()?;
        if let (Some(path), Some(tokenizer)) = (&self.config, &tokenizer) {
            let mut config = AlbertConfig::from_file(path)?;
            config.num_hidden_groups = groups.unwrap_or(config.num_hidden_groups);
            config.validate()?;
            return Ok((Start::Random(Box::new(config)), tokenizer.clone()));
        }
        let files = match (&tokenizer, self.preset) {
            (Some(files), Some(_)) => files.clone(),
            _ => self.model.files(talk)?,
        };
        let tokenizer = tokenizer.unwrap_or_else(|| files.clone());
        let Some(preset) = self.preset else {
            let start = match groups {
                Some(groups) => Start::Groups(files, groups),
                None => Start::Model(files),
            };
            return Ok((start, tokenizer));
        };
        let pieces = Tokenizer::load(&tokenizer, &self.model.tokenizer())?.vocab_size();
        let mut config = Preset::from(preset).config(pieces);
        config.num_hidden_groups = groups.unwrap_or(config.num_hidden_groups);
        Ok((Start::Random(Box::new(config)), tokenizer))
    }

    fn trainer(&self, resolved: &Resolved, steps: u64) -> TrainerSettings {
        let (run, options) = (&self.run, &self.optimization);
        let mut settings = TrainerSettings::new(steps, resolved.optimizer, resolved.learning_rate);
        settings.time = run.time;
        settings.batch_size = options.batch_size();
        settings.accumulate = options.accumulate;
        settings.schedule = options.schedule;
        settings.warmup = resolved.warmup;
        settings.clip = options.clip;
        settings.eval_every = run.eval_every;
        settings.save_every = run.save_every;
        settings.metric = self.metric().into();
        settings.patience = run.patience.map(|patience| patience as u64);
        settings.keep_last = run.keep_last;
        settings.average = options.average;
        settings
    }

    fn task(
        &self,
        resolved: &Resolved,
        start: Start,
        files: &ModelFiles,
        talk: Talk,
    ) -> anyhow::Result<Pretraining> {
        let options = &self.optimization;
        let tokenizer = TokenizerOptions {
            // In a corpus, `[MASK]` is literal text.
            special_tokens_as_text: true,
            ..self.model.tokenizer()
        };
        let tokenizer = Arc::new(Tokenizer::load(files, &tokenizer)?);
        let mut text = PretrainingText::new(self.max_length(), options.seed);
        text.mask_probability = self.mask_probability;
        text.max_ngram = self.max_ngram;
        text.sentence_order = self.sentence_order;
        text.shuffle = options.shuffle;
        let train = Corpus::open(&self.train)?;
        let eval = match self.run.eval.as_slice() {
            [] => None,
            files => Some(Corpus::open(files)?),
        };
        let task = Pretraining::new(start, tokenizer, text, train, eval, |pass| {
            pass.slots = resolved.slots;
            let dropout = &mut pass.dropout;
            for (value, given) in [
                (&mut dropout.hidden, options.dropout),
                (&mut dropout.attention, options.attention_dropout),
                (&mut dropout.classifier, options.classifier_dropout),
            ] {
                *value = given.map_or(*value, |given| given as f32);
            }
            pass.frozen.embeddings = options.freeze == Some(Freeze::Embeddings);
            pass.frozen.encoder = options.freeze == Some(Freeze::Encoder);
        })?;
        match &resolved.engine {
            Engine::Cpu => Ok(task),
            engine => Ok(task.with_engine(engine, move |tokens| {
                talk.say(format_args!(
                    "the GPU has no memory for as many tokens at once: continuing with {tokens}"
                ));
            })?),
        }
    }
}

pub(super) fn whole(number: usize) -> toml::Value {
    toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
}

pub(super) fn text(path: &Path) -> anyhow::Result<toml::Value> {
    let text = path.to_str().with_context(|| {
        format!(
            "`{}`: expected a path in UTF-8, because a recipe cannot hold others",
            path.display()
        )
    })?;
    Ok(text.into())
}

pub(super) fn paths(paths: &[PathBuf]) -> anyhow::Result<toml::Value> {
    let texts: anyhow::Result<Vec<_>> = paths.iter().map(|path| text(path)).collect();
    Ok(toml::Value::Array(texts?))
}

/// Runs the command.
pub(crate) fn run(args: PretrainArgs, talk: Talk) -> anyhow::Result<()> {
    if let Some(threads) = args.optimization.threads {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build_global()
            .with_context(|| format!("cannot start {threads} threads"))?;
    }
    let resolved = args.resolved()?;
    let folder = &args.run.output;
    let resumed = if args.run.resume {
        Some(Output::resume(folder)?)
    } else {
        Output::check_vacant(folder)
            .map_err(anyhow::Error::new)
            .hint("choose another folder, or resume the run in it with `--resume`")?;
        None
    };
    let (start, tokenizer) = args.start(talk)?;
    let mut task = args.task(&resolved, start, &tokenizer, talk)?;
    say_new(&task, talk);
    let statistics = task.statistics()?;
    let (output, snapshot) = match resumed {
        Some(run) => run,
        // The folder is created last, after every mistake in the options has been reported.
        None => (Output::create(folder, &args.recipe(&resolved)?)?, None),
    };
    let batch = args.optimization.batch_size();
    let steps = match (&snapshot, resolved.epochs) {
        (Some(snapshot), _) => snapshot.state().steps,
        (None, Some(epochs)) => (epochs * statistics.sequences_per_epoch as f64 / batch as f64)
            .ceil()
            .max(1.0) as u64,
        (None, None) => args.run.steps.map_or(u64::MAX, |steps| steps as u64),
    };
    let length = match args.run.time {
        Some(_) => String::new(),
        None => format!(" of {steps}"),
    };
    let mut watch = Watch::new(&task, statistics, steps, &args, &resolved, talk);
    let settings = args.trainer(&resolved, steps);
    let training = output.training();
    let mut trainer = match &snapshot {
        None => Trainer::start(&mut task, training, settings)?,
        Some(snapshot) => {
            if snapshot.state().fingerprint != task.fingerprint() {
                return Err(anyhow::anyhow!(
                    "the training or evaluation files differ from those that the run started with"
                )
                .hint("restore the files, or start a new run"));
            }
            talk.say(format_args!(
                "continuing from `{}`, step {}{length}",
                snapshot.path().display(),
                snapshot.state().step
            ));
            Trainer::resume(&mut task, training, settings, snapshot)?
        }
    };
    if let Some(folder) = &args.run.tensorboard {
        trainer = trainer.with_tensor_board(folder)?;
    }
    let stop = stop_at_signals();
    let progress = match args.run.time {
        Some(time) => Steps::with_time(talk, time, trainer.elapsed()),
        None => Steps::new(talk, steps, trainer.step()),
    };
    let summary = trainer
        .run(&mut task, &stop, &mut |event| watch.see(&event, &progress))
        .map_err(|error| explained(error, &resolved, folder))?;
    progress.finish();
    if summary.end == End::Stopped {
        return Err(
            anyhow::anyhow!("stopped after step {}{length}", summary.step).hint(format!(
                "continue with: albert-cli pretrain --output '{}' --resume",
                folder.display()
            )),
        );
    }
    output.write_model(task.parameters(), &tokenizer)?;
    watch.end(&summary, &args);
    let row = row(&summary);
    print_to_stdout(|| {
        use std::io::Write;
        writeln!(std::io::stdout(), "{row}")
    })
}

/// Reports the tensors that start at random.
fn say_new(task: &Pretraining, talk: Talk) {
    if let [first, others @ ..] = task.new_tensors() {
        talk.say(format_args!(
            "the model lacks `{first}` and {} others: they start at random",
            others.len()
        ));
    }
}

/// Adds a hint to an error.
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

/// Returns a flag that SIGINT and SIGTERM set; the second of them ends the process.
pub(super) fn stop_at_signals() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        use signal_hook::flag;
        // Without the handlers a signal ends the process, and the last snapshot remains.
        let _ = flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop));
        let _ = flag::register(signal, Arc::clone(&stop));
    }
    stop
}

fn row(summary: &Summary) -> Value {
    let mut row = Map::new();
    row.insert("step".into(), json!(summary.result_step));
    row.insert("loss".into(), json!(summary.loss));
    for (name, value) in summary.evaluation.iter().flatten() {
        row.insert(name.clone(), json!(value));
    }
    Value::Object(row)
}

/// The messages of a run in progress.
struct Watch {
    talk: Talk,
    started: Instant,
    log_every: u64,
    warmup_steps: u64,
    entropy: f64,
    tokens: usize,
    losses: Vec<f64>,
    is_warned: bool,
}

impl Watch {
    fn new(
        task: &Pretraining,
        statistics: TextStatistics,
        steps: u64,
        args: &PretrainArgs,
        resolved: &Resolved,
        talk: Talk,
    ) -> Self {
        let TextStatistics {
            unigram_entropy: entropy,
            tokens,
            sequences_per_epoch: sequences,
            is_whole,
        } = statistics;
        let length = match args.run.time {
            Some(time) => format!("{} s of steps", time.as_secs()),
            None => format!("{steps} steps"),
        };
        let engine = match &resolved.engine {
            Engine::Cpu => format!("{} slots", task.slots()),
            engine => format!("engine {engine}"),
        };
        let about = if is_whole { "" } else { "about " };
        talk.say(format_args!(
            "{} parameters, {about}{sequences} sequences an epoch, {length} of {}, {engine}",
            task.parameters().layout().len(),
            args.optimization.batch_size(),
        ));
        let pieces = (task.parameters().layout().config().vocab_size as f64).ln();
        let order = if args.sentence_order { 2f64.ln() } else { 0.0 };
        talk.say(format_args!(
            "loss of uniform guessing: {:.2}; of guessing by the frequencies of the first {tokens} \
             tokens: {:.2}; a model that learns falls below both",
            pieces + order,
            entropy + order
        ));
        Self {
            talk,
            started: Instant::now(),
            log_every: args.run.log_every as u64,
            warmup_steps: match args.run.time {
                Some(_) => 0,
                None => resolved.warmup.steps(steps),
            },
            entropy,
            tokens: 0,
            losses: Vec::new(),
            is_warned: false,
        }
    }

    fn see(&mut self, event: &Event<'_>, progress: &Steps) {
        match event {
            Event::Step { row, terms } => {
                self.tokens += row.tokens;
                let speed = self.tokens as f64 / self.started.elapsed().as_secs_f64().max(1e-9);
                progress.update(row.step, row.loss, speed);
                if row.step.is_multiple_of(self.log_every) && !progress.is_visible() {
                    progress.say(format_args!(
                        "step {}, epoch {:.3}: loss {:.4}, learning rate {:.2e}, {speed:.0} tokens/s",
                        row.step, row.epoch, row.loss, row.learning_rate
                    ));
                }
                self.compare(row.step, terms, progress);
            }
            Event::Evaluated {
                step,
                evaluation,
                is_best,
            } => {
                let metrics = evaluation
                    .iter()
                    .map(|(name, value)| format!("{name} {value:.4}"));
                let metrics = metrics.collect::<Vec<_>>().join(", ");
                let best = if *is_best { " (best so far)" } else { "" };
                progress.say(format_args!("step {step}, evaluation: {metrics}{best}"));
            }
            _ => {}
        }
    }

    /// Warns once if the loss of masked tokens stays above their entropy.
    fn compare(&mut self, step: u64, terms: &[(&'static str, f64)], progress: &Steps) {
        let Some((_, loss)) = terms.iter().find(|(name, _)| *name == "masked_lm") else {
            return;
        };
        if self.losses.len() == WATCHED_STEPS {
            self.losses.remove(0);
        }
        self.losses.push(*loss);
        let is_due = step >= UNWATCHED_STEPS.max(2 * self.warmup_steps);
        if self.is_warned || !is_due || self.losses.len() < WATCHED_STEPS {
            return;
        }
        let mean = self.losses.iter().sum::<f64>() / self.losses.len() as f64;
        if mean > self.entropy {
            self.is_warned = true;
            progress.say(format_args!(
                "the loss of masked tokens is {mean:.2} over the last {WATCHED_STEPS} steps, above the \
                 {:.2} of guessing by token frequencies",
                self.entropy
            ));
            progress.say(
                "hint: try another --learning-rate, a longer --warmup or a larger --batch-size",
            );
        }
    }

    fn end(&self, summary: &Summary, args: &PretrainArgs) {
        let seconds = self.started.elapsed().as_secs_f64();
        let end = if summary.end == End::EarlyStop {
            "stopped early"
        } else {
            "done"
        };
        self.talk.say(format_args!(
            "{end} after {} steps, {} tokens, {seconds:.1} s; loss {:.4}",
            summary.step, self.tokens, summary.loss
        ));
        self.talk.say(format_args!(
            "the weights of step {} are in `{}`, the curve in `{}`",
            summary.result_step,
            args.run.output.display(),
            args.run.output.join("training").join("loss.svg").display()
        ));
    }
}

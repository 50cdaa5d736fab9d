//! Options and a command's defaults as settings of the trainer and the pass.

use std::sync::Arc;

use albert_model::train::Frozen;
use albert_train::optim::schedule::Warmup;
use albert_train::optim::{OptimizerKind, OptimizerSettings};
use albert_train::{Length, PassSettings, TrainerSettings};

use crate::options::training::{Freeze, MOST_SLOTS, OptimizationArgs, RunArgs};
use crate::progress::Talk;

/// The settings of a command whose options leave them out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Defaults {
    pub(crate) optimizer: OptimizerKind,
    pub(crate) learning_rate: f64,
    pub(crate) batch_size: usize,
    pub(crate) warmup: Warmup,
    pub(crate) length: Length,
}

/// Returns the length that the options give a run.
pub(crate) fn length(run: &RunArgs) -> Option<Length> {
    match (run.steps, run.time, run.epochs) {
        (Some(steps), ..) => Some(Length::Steps(steps as u64)),
        (None, Some(time), _) => Some(Length::Time(time)),
        (None, None, epochs) => epochs.map(Length::Epochs),
    }
}

/// Returns the settings of the trainer.
pub(crate) fn settings(
    run: &RunArgs,
    options: &OptimizationArgs,
    defaults: &Defaults,
) -> TrainerSettings {
    let kind = options.optimizer.unwrap_or(defaults.optimizer);
    let mut optimizer = OptimizerSettings::new(kind);
    optimizer.beta1 = options.beta1;
    optimizer.beta2 = options.beta2;
    optimizer.epsilon = options.epsilon.unwrap_or(optimizer.epsilon);
    optimizer.weight_decay = options.weight_decay;
    let length = length(run).unwrap_or(defaults.length);
    let learning_rate = options.learning_rate.unwrap_or(defaults.learning_rate);
    let mut settings = TrainerSettings::new(length, optimizer, learning_rate);
    settings.batch_size = options.batch_size.unwrap_or(defaults.batch_size);
    settings.accumulate = options.accumulate;
    settings.schedule = options.schedule;
    settings.warmup = options.warmup.unwrap_or(defaults.warmup);
    settings.clip = options.clip;
    settings.average = options.average;
    settings.eval_every = run.eval_every;
    settings.save_every = run.save_every;
    settings.metric.clone_from(&run.metric);
    settings.patience = run.patience.map(|patience| patience as u64);
    settings.keep_last = run.keep_last;
    settings
}

/// Opens the device and returns the settings of the pass.
pub(crate) fn pass(options: &OptimizationArgs, talk: Talk) -> anyhow::Result<PassSettings> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = |value: Option<f64>| value.map(|value| value as f32);
    let mut pass = PassSettings::default();
    pass.engine = options.engine()?;
    pass.slots = Some(options.slots.unwrap_or(cores.min(MOST_SLOTS)));
    pass.frozen = Frozen {
        embeddings: options.freeze == Some(Freeze::Embeddings),
        encoder: options.freeze == Some(Freeze::Encoder),
    };
    pass.dropout = part(options.dropout);
    pass.attention_dropout = part(options.attention_dropout);
    pass.classifier_dropout = part(options.classifier_dropout);
    pass.notice = Some(Arc::new(move |tokens| {
        talk.say(format_args!(
            "the GPU has no memory for this many tokens at once: continuing with {tokens}"
        ));
    }));
    Ok(pass)
}

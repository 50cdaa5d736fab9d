//! The loop of a run: step, log, evaluate, save, stop.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::log::{Metrics, Row, TensorBoard, write_curve};
use crate::optim::schedule::{Schedule, Warmup};
use crate::optim::{Average, Groups, Optimizer, OptimizerSettings, clip_to_norm, global_norm};
use crate::snapshot::{self, Best, Snapshot, State};

/// A training task: parameters, their gradients, and the data that they come from.
pub trait Task {
    /// Returns the tensors of the flat buffers.
    fn groups(&self) -> Groups;

    /// Returns the parameters and their gradients.
    fn buffers(&mut self) -> (&mut [f32], &mut [f32]);

    /// Takes the next examples, and replaces the gradients by those of their mean loss, computed in
    /// the given number of passes. `step` counts from 1.
    ///
    /// # Errors
    /// If the data cannot be read or the network cannot be computed.
    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss>;

    /// Returns the metrics of the evaluation data; `None` without such data.
    ///
    /// # Errors
    /// See [`accumulate`](Self::accumulate).
    fn evaluate(&mut self) -> Result<Option<Evaluation>>;

    /// Returns the epochs passed, with fractions.
    fn epochs(&self) -> f64;

    /// Returns the place in the data, for a snapshot.
    fn place(&self) -> Value;

    /// Goes to a place that [`place`](Self::place) returned.
    ///
    /// # Errors
    /// If the data cannot be read, or the value is no place.
    fn go_to(&mut self, place: &Value) -> Result<()>;

    /// Returns all that the losses depend on: files with their sizes, settings, slots.
    fn fingerprint(&self) -> Value;
}

/// The loss of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLoss {
    /// The mean over the step's examples.
    pub loss: f64,
    /// Its terms by name.
    pub terms: Vec<(&'static str, f64)>,
    /// The tokens of the step.
    pub tokens: usize,
    /// The epoch of the first example, from 0.
    pub epoch: u64,
    /// The first and the last example within their epoch.
    pub examples: (u64, u64),
}

/// Metrics by name, in the order in which they are written.
pub type Evaluation = Vec<(String, f64)>;

/// The frequency of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Every {
    /// After each this many steps.
    Steps(u64),
    /// After each epoch.
    Epoch,
}

impl Every {
    fn is_due(self, step: u64, (before, after): (f64, f64)) -> bool {
        match self {
            Self::Steps(steps) => step.is_multiple_of(steps),
            Self::Epoch => before.floor() < after.floor(),
        }
    }
}

impl std::str::FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.parse() {
            _ if text == "epoch" => Ok(Self::Epoch),
            Ok(steps) if steps > 0 => Ok(Self::Steps(steps)),
            _ => Err("expected a number of steps from 1, or epoch".into()),
        }
    }
}

impl std::fmt::Display for Every {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Steps(steps) => steps.fmt(f),
            Self::Epoch => f.write_str("epoch"),
        }
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TrainerSettings {
    /// The steps of the whole run, unless it has a `time`.
    pub steps: u64,
    /// The duration of the whole run, in which the schedule advances in place of steps. Such a run
    /// depends on the speed of the machine: it cannot be repeated bit for bit.
    pub time: Option<Duration>,
    /// Examples in a step.
    pub batch_size: usize,
    /// Passes over parts of a step's examples.
    pub accumulate: usize,
    /// The optimizer.
    pub optimizer: OptimizerSettings,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The shape of the learning rate over the run.
    pub schedule: Schedule,
    /// The warm-up.
    pub warmup: Warmup,
    /// The largest global norm of the gradient; 0 for any.
    pub clip: f64,
    /// The frequency of evaluations.
    pub eval_every: Every,
    /// The frequency of snapshots.
    pub save_every: Every,
    /// The metric that decides which evaluation is the best.
    pub metric: String,
    /// Evaluations without a better one after which the run ends.
    pub patience: Option<u64>,
    /// True if the last weights are the result, and not those of the best evaluation.
    pub keep_last: bool,
    /// The decay of an average of the weights, which is then what is evaluated and kept.
    pub average: Option<f64>,
}

impl TrainerSettings {
    /// Returns the defaults for a run of `steps` steps.
    pub fn new(steps: u64, optimizer: OptimizerSettings, learning_rate: f64) -> Self {
        Self {
            steps,
            time: None,
            batch_size: 32,
            accumulate: 1,
            optimizer,
            learning_rate,
            schedule: Schedule::Linear,
            warmup: Warmup::Steps(0),
            clip: 1.0,
            eval_every: Every::Epoch,
            save_every: Every::Steps(500),
            metric: "loss".into(),
            patience: None,
            keep_last: false,
            average: None,
        }
    }
}

impl TrainerSettings {
    /// Checks settings that exclude each other.
    fn check(&self) -> Result<()> {
        match (self.time, self.warmup) {
            (Some(_), Warmup::Steps(1..)) => Err(Error::Setting {
                name: "warmup",
                expected: "a fraction of a run whose length is a time".into(),
                found: "a number of steps".into(),
            }),
            _ => Ok(()),
        }
    }
}

/// A report of a run in progress.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step was taken.
    Step {
        /// The row of `metrics.jsonl`.
        row: &'a Row,
        /// The terms of the loss.
        terms: &'a [(&'static str, f64)],
    },
    /// The evaluation data was evaluated.
    Evaluated {
        /// The step.
        step: u64,
        /// The metrics.
        evaluation: &'a Evaluation,
        /// True if it is the best so far.
        is_best: bool,
    },
    /// A snapshot was written.
    Saved(&'a Path),
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// All steps were taken.
    Finished,
    /// The evaluations got no better.
    EarlyStop,
    /// It received a request to stop and has written a snapshot to continue from.
    Stopped,
}

/// The summary of a run.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The reason of its end.
    pub end: End,
    /// The last step.
    pub step: u64,
    /// The loss of the last step.
    pub loss: f64,
    /// The step whose weights are the result.
    pub result_step: u64,
    /// The evaluation of the result.
    pub evaluation: Option<Evaluation>,
}

/// A run in the folder `training` of its output.
#[derive(Debug)]
pub struct Trainer {
    settings: TrainerSettings,
    folder: PathBuf,
    optimizer: Optimizer,
    average: Option<Average>,
    metrics: Metrics,
    tensor_board: Option<TensorBoard>,
    state: Progress,
}

/// The counters that change from step to step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Progress {
    step: u64,
    /// The time that the run has taken, evaluations included.
    #[serde(default)]
    seconds: f64,
    epochs: f64,
    loss: f64,
    best: Option<Best>,
    evaluations_without_gain: u64,
    last_evaluation: Option<(u64, Evaluation)>,
}

impl Trainer {
    /// Starts a run: an empty log in `folder`, which must exist.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn start(task: &mut dyn Task, folder: &Path, settings: TrainerSettings) -> Result<Self> {
        settings.check()?;
        let metrics = Metrics::create(folder)?;
        Ok(Self::with_metrics(task, folder, settings, metrics))
    }

    /// Resumes from a snapshot; rows of later steps are removed from the log.
    ///
    /// # Errors
    /// If the snapshot does not fit the task, or a file cannot be read or written.
    pub fn resume(
        task: &mut dyn Task,
        folder: &Path,
        settings: TrainerSettings,
        snapshot: &Snapshot,
    ) -> Result<Self> {
        settings.check()?;
        let state = snapshot.state();
        let progress: Progress = serde_json::from_value(state.progress.clone())
            .map_err(|error| snapshot.error(error.to_string()))?;
        let metrics = Metrics::resume(folder, progress.step)?;
        let mut trainer = Self::with_metrics(task, folder, settings, metrics);
        let groups = task.groups();
        let (parameters, _) = task.buffers();
        snapshot.read_weights(&groups, parameters)?;
        trainer
            .optimizer
            .restore(progress.step, snapshot.read_moments(&groups)?);
        if let Some(decay) = trainer.settings.average {
            trainer.average = Some(Average::new(decay, snapshot.read_average(&groups)?));
        }
        trainer.state = progress;
        task.go_to(&state.place)?;
        Ok(trainer)
    }

    fn with_metrics(
        task: &mut dyn Task,
        folder: &Path,
        settings: TrainerSettings,
        metrics: Metrics,
    ) -> Self {
        let average = settings
            .average
            .map(|decay| Average::new(decay, task.buffers().0.to_vec()));
        Self {
            optimizer: Optimizer::new(settings.optimizer, task.groups()),
            settings,
            folder: folder.into(),
            average,
            metrics,
            tensor_board: None,
            state: Progress::default(),
        }
    }

    /// Also writes event files for TensorBoard into a folder.
    ///
    /// # Errors
    /// If the folder or the file cannot be written.
    pub fn with_tensor_board(mut self, folder: &Path) -> Result<Self> {
        self.tensor_board = Some(TensorBoard::create(folder, self.state.step)?);
        Ok(self)
    }

    /// Returns the time that the run has taken so far, evaluations included.
    pub fn elapsed(&self) -> Duration {
        Duration::from_secs_f64(self.state.seconds)
    }

    /// Returns the steps taken so far.
    pub fn step(&self) -> u64 {
        self.state.step
    }

    /// Runs to the end, or until `stop` is set: then the step is finished and a snapshot written.
    /// At the end the parameters of `task` are the result.
    ///
    /// # Errors
    /// If data cannot be read, a file cannot be written, or a loss or a gradient is not finite.
    pub fn run(
        &mut self,
        task: &mut dyn Task,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Summary> {
        let mut end = End::Finished;
        let (started, seconds_before) = (Instant::now(), self.state.seconds);
        while !self.is_over() {
            if stop.load(Ordering::Relaxed) {
                end = End::Stopped;
                break;
            }
            let before = self.state.epochs;
            self.take_step(task, observe)?;
            let epochs = (before, self.state.epochs);
            self.state.seconds = seconds_before + started.elapsed().as_secs_f64();
            let is_last = self.is_over();
            if (self.settings.eval_every.is_due(self.state.step, epochs) || is_last)
                && self.evaluate(task, observe)?
            {
                end = End::EarlyStop;
                break;
            }
            if self.settings.save_every.is_due(self.state.step, epochs) && !is_last {
                self.save(task, observe)?;
            }
        }
        if end == End::Stopped {
            self.save(task, observe)?;
        } else {
            self.take_result(task)?;
        }
        write_curve(&self.folder)?;
        Ok(self.summary(end))
    }

    fn is_over(&self) -> bool {
        match self.settings.time {
            Some(time) => self.state.seconds >= time.as_secs_f64(),
            None => self.state.step >= self.settings.steps,
        }
    }

    /// Returns the learning rate of the next step.
    fn learning_rate(&self) -> f64 {
        let settings = &self.settings;
        let (now, warmup, total) = match settings.time {
            Some(time) => {
                let total = time.as_secs_f64();
                (self.state.seconds, settings.warmup.seconds(total), total)
            }
            None => (
                self.state.step as f64,
                settings.warmup.steps(settings.steps) as f64,
                settings.steps as f64,
            ),
        };
        let peak = settings.learning_rate;
        settings.schedule.learning_rate(peak, now, warmup, total)
    }

    fn take_step(&mut self, task: &mut dyn Task, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        let start = Instant::now();
        let settings = &self.settings;
        let step = self.state.step + 1;
        let learning_rate = self.learning_rate();
        let loss = task.accumulate(step, settings.batch_size, settings.accumulate)?;
        let (parameters, gradients) = task.buffers();
        let norm = global_norm(gradients);
        for (what, value) in [("loss", loss.loss), ("gradient norm", norm)] {
            if !value.is_finite() {
                return Err(Error::NotFinite {
                    what,
                    step,
                    value,
                    learning_rate,
                    epoch: loss.epoch,
                    first: loss.examples.0,
                    last: loss.examples.1,
                });
            }
        }
        if settings.clip > 0.0 {
            clip_to_norm(gradients, norm, settings.clip);
        }
        self.optimizer.step(parameters, gradients, learning_rate);
        if let Some(average) = &mut self.average {
            average.add(parameters);
        }
        self.state.step = step;
        self.state.epochs = task.epochs();
        self.state.loss = loss.loss;
        let seconds = start.elapsed().as_secs_f64().max(1e-9);
        let row = Row {
            step,
            epoch: (self.state.epochs * 1e6).round() / 1e6,
            loss: loss.loss,
            learning_rate,
            grad_norm: norm,
            tokens: loss.tokens,
            tokens_per_second: (loss.tokens as f64 / seconds * 10.0).round() / 10.0,
        };
        self.metrics.add(&row)?;
        if let Some(board) = &mut self.tensor_board {
            board.add_step(&row, &loss.terms)?;
        }
        observe(Event::Step {
            row: &row,
            terms: &loss.terms,
        });
        Ok(())
    }

    /// Evaluates; returns whether the run ends because evaluations get no better.
    fn evaluate(
        &mut self,
        task: &mut dyn Task,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<bool> {
        let trained = self.swap_in_average(task);
        let evaluation = task.evaluate();
        if let Some(trained) = trained {
            task.buffers().0.copy_from_slice(&trained);
        }
        let Some(evaluation) = evaluation? else {
            return Ok(false);
        };
        let step = self.state.step;
        let found = evaluation
            .iter()
            .find(|(name, _)| *name == self.settings.metric);
        let Some(&(_, value)) = found else {
            let names: Vec<_> = evaluation.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::Setting {
                name: "metric",
                expected: format!("one of {}", names.join(", ")),
                found: self.settings.metric.clone(),
            });
        };
        let is_best = self.state.best.as_ref().is_none_or(|best| {
            if is_loss(&self.settings.metric) {
                value < best.value
            } else {
                value > best.value
            }
        });
        self.metrics.add_evaluation(step, &evaluation)?;
        if let Some(board) = &mut self.tensor_board {
            board.add_evaluation(step, &evaluation)?;
        }
        if is_best {
            self.state.best = Some(Best {
                step,
                value,
                evaluation: evaluation.clone(),
            });
            self.state.evaluations_without_gain = 0;
            if !self.settings.keep_last {
                let groups = task.groups();
                let weights: &[f32] = match &self.average {
                    Some(average) => average.weights(),
                    None => task.buffers().0,
                };
                snapshot::write_best(&self.folder, step, &groups, weights)?;
            }
        } else {
            self.state.evaluations_without_gain += 1;
        }
        observe(Event::Evaluated {
            step,
            evaluation: &evaluation,
            is_best,
        });
        self.state.last_evaluation = Some((step, evaluation));
        write_curve(&self.folder)?;
        let patience = self.settings.patience;
        Ok(patience.is_some_and(|most| self.state.evaluations_without_gain >= most))
    }

    /// Puts the averaged weights into the task, and returns those that were there.
    fn swap_in_average(&self, task: &mut dyn Task) -> Option<Vec<f32>> {
        let average = self.average.as_ref()?;
        let (parameters, _) = task.buffers();
        let trained = parameters.to_vec();
        parameters.copy_from_slice(average.weights());
        Some(trained)
    }

    fn save(&mut self, task: &mut dyn Task, observe: &mut dyn FnMut(Event<'_>)) -> Result<()> {
        self.metrics.sync()?;
        let state = State {
            step: self.state.step,
            steps: self.settings.steps,
            fingerprint: task.fingerprint(),
            place: task.place(),
            progress: serde_json::to_value(&self.state).expect("numbers and names"),
            best_step: self.state.best.as_ref().map(|best| best.step),
        };
        let groups = task.groups();
        let average = self.average.as_ref().map(Average::weights);
        let path = snapshot::write(
            &self.folder,
            &state,
            &groups,
            task.buffers().0,
            self.optimizer.moments(),
            average,
        )?;
        write_curve(&self.folder)?;
        observe(Event::Saved(&path));
        Ok(())
    }

    /// Makes the result of the run the parameters of the task.
    fn take_result(&mut self, task: &mut dyn Task) -> Result<()> {
        match &self.state.best {
            Some(best) if !self.settings.keep_last => {
                let groups = task.groups();
                snapshot::read_best(&self.folder, best.step, &groups, task.buffers().0)
            }
            _ => {
                self.swap_in_average(task);
                Ok(())
            }
        }
    }

    fn summary(&self, end: End) -> Summary {
        let state = &self.state;
        let (result_step, evaluation) = match (&state.best, &state.last_evaluation) {
            (Some(best), _) if !self.settings.keep_last => {
                (best.step, Some(best.evaluation.clone()))
            }
            (_, Some((step, evaluation))) if *step == state.step => {
                (state.step, Some(evaluation.clone()))
            }
            _ => (state.step, None),
        };
        Summary {
            end,
            step: state.step,
            loss: state.loss,
            result_step,
            evaluation,
        }
    }
}

/// Returns whether a metric is better the smaller it is.
fn is_loss(metric: &str) -> bool {
    metric.ends_with("loss") || matches!(metric, "cross_entropy" | "perplexity")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::{Draws, Purpose};
    use crate::optim::{OptimizerKind, Tensor};
    use serde_json::json;

    /// A quadratic bowl around 1 whose gradients are disturbed by the place in the data.
    struct Bowl {
        parameters: Vec<f32>,
        gradients: Vec<f32>,
        place: u64,
        evaluations: Vec<f64>,
        evaluated: usize,
        bad_step: Option<u64>,
    }

    impl Bowl {
        fn new() -> Self {
            Self {
                parameters: vec![0.0; 24],
                gradients: vec![0.0; 24],
                place: 0,
                evaluations: Vec::new(),
                evaluated: 0,
                bad_step: None,
            }
        }
    }

    impl Task for Bowl {
        fn groups(&self) -> Groups {
            let tensor = |name: &str, range, shape: &[usize]| Tensor {
                name: name.into(),
                range,
                shape: shape.to_vec(),
                decays: shape.len() == 2,
                is_hidden_matrix: shape.len() == 2,
                is_frozen: false,
            };
            Groups::new(
                24,
                vec![
                    tensor("a.weight", 0..20, &[4, 5]),
                    tensor("a.bias", 20..24, &[4]),
                ],
            )
        }

        fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
            (&mut self.parameters, &mut self.gradients)
        }

        fn accumulate(&mut self, step: u64, examples: usize, _: usize) -> Result<StepLoss> {
            let mut loss = 0.0;
            for (index, (w, g)) in self.parameters.iter().zip(&mut self.gradients).enumerate() {
                let mut draws = Draws::new(1, Purpose::Masks, &[self.place, index as u64]);
                *g = w - 1.0 + draws.normal() as f32;
                loss += f64::from(w - 1.0).powi(2);
            }
            let first = self.place;
            self.place += examples as u64;
            Ok(StepLoss {
                loss: if self.bad_step == Some(step) {
                    f64::NAN
                } else {
                    loss
                },
                terms: vec![("bowl", loss)],
                tokens: examples,
                epoch: 0,
                examples: (first, self.place - 1),
            })
        }

        fn evaluate(&mut self) -> Result<Option<Evaluation>> {
            let value = self.evaluations.get(self.evaluated).copied();
            self.evaluated += 1;
            Ok(value.map(|value| vec![("loss".into(), value)]))
        }

        fn epochs(&self) -> f64 {
            self.place as f64 / 40.0
        }

        fn place(&self) -> Value {
            json!(self.place)
        }

        fn go_to(&mut self, place: &Value) -> Result<()> {
            self.place = place.as_u64().unwrap();
            Ok(())
        }

        fn fingerprint(&self) -> Value {
            json!("bowl")
        }
    }

    fn settings(kind: OptimizerKind, steps: u64) -> TrainerSettings {
        TrainerSettings {
            batch_size: 4,
            save_every: Every::Steps(3),
            ..TrainerSettings::new(steps, OptimizerSettings::new(kind), 0.1)
        }
    }

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    /// The log without the speeds, which alone differ from run to run.
    fn log(folder: &Path) -> String {
        let text = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
        let rows = text.lines().map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row.as_object_mut()
                .unwrap()
                .shift_remove("tokens_per_second");
            format!("{row}\n")
        });
        rows.collect()
    }

    #[test]
    fn a_stopped_run_goes_on_with_the_same_bits() {
        for kind in OptimizerKind::ALL {
            let mut settings = settings(kind, 20);
            settings.average = Some(0.9);
            let whole = tempfile::tempdir().unwrap();
            let mut task = Bowl::new();
            let mut trainer = Trainer::start(&mut task, whole.path(), settings.clone()).unwrap();
            trainer.run(&mut task, &never(), &mut |_| ()).unwrap();
            for stop_at in [1, 7, 19] {
                let parts = tempfile::tempdir().unwrap();
                let mut first = Bowl::new();
                let stop = never();
                let mut trainer =
                    Trainer::start(&mut first, parts.path(), settings.clone()).unwrap();
                let mut stopper = |event: Event<'_>| {
                    if let Event::Step { row, .. } = event {
                        stop.store(row.step == stop_at, Ordering::Relaxed);
                    }
                };
                let summary = trainer.run(&mut first, &stop, &mut stopper).unwrap();
                assert_eq!((summary.end, summary.step), (End::Stopped, stop_at));
                let snapshot = Snapshot::last(parts.path()).unwrap().unwrap();
                let mut second = Bowl::new();
                let mut trainer =
                    Trainer::resume(&mut second, parts.path(), settings.clone(), &snapshot)
                        .unwrap();
                let summary = trainer.run(&mut second, &never(), &mut |_| ()).unwrap();
                assert_eq!((summary.end, summary.step), (End::Finished, 20));
                assert_eq!(second.parameters, task.parameters, "{kind} at {stop_at}");
                assert_eq!(log(parts.path()), log(whole.path()), "{kind} at {stop_at}");
            }
        }
    }

    #[test]
    fn a_run_by_time_ends_in_time_at_a_rate_near_0() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(OptimizerKind::AdamW, 0);
        settings.save_every = Every::Steps(100_000);
        settings.time = Some(Duration::from_millis(300));
        settings.warmup = Warmup::Share(0.1);
        let mut rates = Vec::new();
        let mut task = Bowl::new();
        let mut trainer = Trainer::start(&mut task, dir.path(), settings.clone()).unwrap();
        let mut observer = |event: Event<'_>| {
            if let Event::Step { row, .. } = event {
                rates.push(row.learning_rate);
            }
        };
        let summary = trainer.run(&mut task, &never(), &mut observer).unwrap();
        assert_eq!(summary.end, End::Finished);
        assert!(trainer.state.seconds >= 0.3);
        let peak = rates.iter().copied().fold(0.0, f64::max);
        let at_peak = rates.iter().position(|rate| *rate == peak).unwrap();
        assert!(peak <= settings.learning_rate);
        assert!(rates[..=at_peak].is_sorted());
        assert!(rates[at_peak..].is_sorted_by(|one, next| one >= next));
        assert!(rates[rates.len() - 1] < peak / 2.0);

        settings.warmup = Warmup::Steps(10);
        let refused = Trainer::start(&mut task, dir.path(), settings).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "`warmup`: expected a fraction of a run whose length is a time, found a number of steps"
        );
    }

    #[test]
    fn the_last_two_snapshots_are_kept_and_removed_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut task = Bowl::new();
        let settings = settings(OptimizerKind::AdamW, 20);
        let mut trainer = Trainer::start(&mut task, dir.path(), settings).unwrap();
        trainer.run(&mut task, &never(), &mut |_| ()).unwrap();
        let snapshots = |dir: &Path| -> Vec<String> {
            let names = std::fs::read_dir(dir).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.filter(|name| name.starts_with("snap")).collect();
            names.sort();
            names
        };
        assert_eq!(snapshots(dir.path()), ["snapshot-15", "snapshot-18"]);
        snapshot::remove_all(dir.path()).unwrap();
        assert!(snapshots(dir.path()).is_empty());
        assert!(dir.path().join("loss.svg").exists());
    }

    #[test]
    fn the_weights_of_the_best_evaluation_are_the_result() {
        let dir = tempfile::tempdir().unwrap();
        let mut task = Bowl::new();
        task.evaluations = vec![3.0, 1.0, 2.0, 2.0, 0.0];
        let mut settings = settings(OptimizerKind::AdamW, 20);
        settings.eval_every = Every::Steps(4);
        settings.patience = Some(2);
        let mut at_step_8 = Vec::new();
        let mut trainer = Trainer::start(&mut task, dir.path(), settings.clone()).unwrap();
        let summary = trainer.run(&mut task, &never(), &mut |_| ()).unwrap();
        assert_eq!(
            (summary.end, summary.step, summary.result_step),
            (End::EarlyStop, 16, 8)
        );
        assert_eq!(summary.evaluation, Some(vec![("loss".into(), 1.0)]));
        settings.steps = 20;
        let mut other = Bowl::new();
        let stop = never();
        let other_dir = tempfile::tempdir().unwrap();
        let mut trainer = Trainer::start(&mut other, other_dir.path(), settings).unwrap();
        let mut stopper = |event: Event<'_>| {
            if let Event::Step { row, .. } = event {
                stop.store(row.step == 8, Ordering::Relaxed);
            }
        };
        trainer.run(&mut other, &stop, &mut stopper).unwrap();
        at_step_8.extend_from_slice(&other.parameters);
        assert_eq!(task.parameters, at_step_8);
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_run_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut task = Bowl::new();
        task.bad_step = Some(5);
        let settings = settings(OptimizerKind::AdamW, 20);
        let mut trainer = Trainer::start(&mut task, dir.path(), settings).unwrap();
        let error = trainer.run(&mut task, &never(), &mut |_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the loss of step 5 is NaN at a learning rate of 8.000e-2 (sequences 16 to 19 of epoch 0)"
        );
        assert_eq!(Snapshot::last(dir.path()).unwrap().unwrap().state().step, 3);
    }
}

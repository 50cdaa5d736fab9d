//! The loop of a run: step, log, evaluate, save, stop.
//!
//! | Module | Content |
//! |---|---|
//! | `task` | the model and the data that are trained on |
//! | `settings` | length, batch, optimizer, evaluations |
//! | `report` | events of a run in progress, and its summary |

mod report;
mod settings;
mod task;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use report::{End, Event, Summary};
pub use settings::{Every, Length, TrainerSettings};
pub use task::{Evaluation, StepLoss, Task};

use crate::error::{Error, Result};
use crate::log::{Metrics, Row, TensorBoard, write_curve};
use crate::optim::{Average, Optimizer, clip_to_norm, global_norm};
use crate::snapshot::{self, Best, Snapshot, State};

/// A run in the folder `training` of its output.
#[derive(Debug)]
pub struct Trainer {
    settings: TrainerSettings,
    /// The steps of the whole run.
    steps: u64,
    /// The metric that selects the best evaluation.
    metric: String,
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
    /// If settings exclude each other, the data cannot be read, or a file cannot be written.
    pub fn start(task: &mut dyn Task, folder: &Path, settings: TrainerSettings) -> Result<Self> {
        let steps = settings.steps(task)?;
        let metrics = Metrics::create(folder)?;
        Self::with_metrics(task, folder, settings, steps, metrics)
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
        let state = snapshot.state();
        let progress: Progress = serde_json::from_value(state.progress.clone())
            .map_err(|error| snapshot.error(error.to_string()))?;
        let metrics = Metrics::resume(folder, progress.step)?;
        let mut trainer = Self::with_metrics(task, folder, settings, state.steps, metrics)?;
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
        steps: u64,
        metrics: Metrics,
    ) -> Result<Self> {
        let average = settings
            .average
            .map(|decay| Average::new(decay, task.buffers().0.to_vec()));
        Ok(Self {
            optimizer: Optimizer::new(settings.optimizer, task.groups())?,
            steps,
            metric: match &settings.metric {
                Some(metric) => metric.clone(),
                None => task.metric().into(),
            },
            settings,
            folder: folder.into(),
            average,
            metrics,
            tensor_board: None,
            state: Progress::default(),
        })
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

    /// Returns the steps of the whole run; `None` if its length is a time.
    pub fn steps(&self) -> Option<u64> {
        match self.settings.length {
            Length::Time(_) => None,
            Length::Epochs(_) | Length::Steps(_) => Some(self.steps),
        }
    }

    /// Returns the metric that selects the best evaluation.
    pub fn metric(&self) -> &str {
        &self.metric
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
        match self.settings.length.time() {
            Some(time) => self.state.seconds >= time.as_secs_f64(),
            None => self.state.step >= self.steps,
        }
    }

    /// Returns the learning rate of the next step.
    fn learning_rate(&self) -> f64 {
        let settings = &self.settings;
        let (now, warmup, total) = match settings.length.time() {
            Some(time) => {
                let total = time.as_secs_f64();
                (self.state.seconds, settings.warmup.seconds(total), total)
            }
            None => (
                self.state.step as f64,
                settings.warmup.steps(self.steps) as f64,
                self.steps as f64,
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

    /// Evaluates; returns true if the run ends because evaluations no longer improve.
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
        let found = evaluation.iter().find(|(name, _)| *name == self.metric);
        let Some(&(_, value)) = found else {
            let names: Vec<_> = evaluation.iter().map(|(name, _)| name.as_str()).collect();
            return Err(Error::Setting {
                name: "metric",
                expected: format!("one of {}", names.join(", ")),
                found: self.metric.clone(),
            });
        };
        let is_best = self.state.best.as_ref().is_none_or(|best| {
            if is_loss(&self.metric) {
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
            steps: self.steps,
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

/// Returns true if a smaller value of a metric is better.
fn is_loss(metric: &str) -> bool {
    metric.ends_with("loss") || matches!(metric, "cross_entropy" | "perplexity")
}

//! Runs over a quadratic bowl.

use super::*;
use crate::draws::{Draws, Purpose};
use crate::optim::schedule::Warmup;
use crate::optim::{Groups, OptimizerKind, OptimizerSettings, Tensor};
use crate::output::Output;
use serde_json::{Value, json};

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

    fn steps(&mut self, epochs: f64, batch_size: usize) -> Result<u64> {
        Ok((epochs * 40.0 / batch_size as f64).ceil() as u64)
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

    fn write(&self, _: &Output) -> Result<()> {
        Ok(())
    }
}

fn settings(kind: OptimizerKind, steps: u64) -> TrainerSettings {
    TrainerSettings {
        batch_size: 4,
        save_every: Every::Steps(3),
        ..TrainerSettings::new(Length::Steps(steps), OptimizerSettings::new(kind), 0.1)
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
            let mut trainer = Trainer::start(&mut first, parts.path(), settings.clone()).unwrap();
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
                Trainer::resume(&mut second, parts.path(), settings.clone(), &snapshot).unwrap();
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
    settings.length = Length::Time(Duration::from_millis(300));
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
        "`warmup`: expected a fraction, because the length of the run is a time, found a number of \
         steps"
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

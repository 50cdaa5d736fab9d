//! A whole run against transformers' own step under torch's AdamW, on both engines
//! (`scripts/make_training_run_fixture.py`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use albert_model::candle_core::{DType, Device};
use albert_model::train::{
    Draw, FlatLayout, FlatParameters, Frozen, MaskedLm, PassOptions, SentenceOrder, TrainingBatch,
    TrainingPass,
};
use albert_model::{AlbertConfig, Head};
use albert_train::optim::schedule::Warmup;
use albert_train::optim::{Groups, OptimizerKind, OptimizerSettings};
use albert_train::{Evaluation, Length, Output, Result, StepLoss, Task, Trainer, TrainerSettings};
use safetensors::SafeTensors;
use serde_json::Value;

const FIXTURE: &[u8] = include_bytes!("fixtures/run.safetensors");
const STEPS: usize = 50;

/// Losses, rates and norms of every step, relative: both sides compute in f32 and 50 updates carry
/// the rounding on.
const TOLERANCE: f64 = 1e-4;

/// Weights after the last step: up to 0.5 away from the start.
const WEIGHT_TOLERANCE: f32 = 2e-4;

struct Fixture(SafeTensors<'static>);

impl Fixture {
    fn open() -> Self {
        Self(SafeTensors::deserialize(FIXTURE).unwrap())
    }

    fn bytes<const N: usize>(&self, name: &str) -> Vec<[u8; N]> {
        let tensor = self.0.tensor(name).unwrap();
        let chunks = tensor.data().chunks_exact(N);
        chunks.map(|bytes| bytes.try_into().unwrap()).collect()
    }

    fn integers(&self, name: &str) -> Vec<u32> {
        self.bytes(name)
            .into_iter()
            .map(u32::from_le_bytes)
            .collect()
    }

    fn curve(&self, name: &str) -> Vec<f64> {
        self.bytes(name)
            .into_iter()
            .map(f64::from_le_bytes)
            .collect()
    }

    fn weights(&self, name: &str) -> Vec<f32> {
        self.bytes(name)
            .into_iter()
            .map(f32::from_le_bytes)
            .collect()
    }
}

/// A step of the fixture: its sequences and what is asked about them.
struct Step {
    batch: TrainingBatch,
    targets: Vec<(usize, u32)>,
    order: Vec<Option<u32>>,
}

/// The steps of the fixture as a task.
struct Recorded {
    parameters: FlatParameters,
    pass: TrainingPass,
    steps: std::vec::IntoIter<Step>,
}

impl Recorded {
    fn new(make: impl FnOnce(Arc<FlatLayout>, PassOptions) -> TrainingPass) -> Self {
        let fixture = Fixture::open();
        let (_, metadata) = SafeTensors::read_metadata(FIXTURE).unwrap();
        let metadata = metadata.metadata().clone().unwrap();
        let config = AlbertConfig::from_json(&metadata["config"]).unwrap();
        let layout = Arc::new(FlatLayout::new(&config, Head::PreTraining).unwrap());
        let mut parameters = FlatParameters::random(Arc::clone(&layout), 0);
        for tensor in layout.tensors() {
            let start = fixture.weights(&format!("start.{}", tensor.name));
            parameters.values_mut()[tensor.range.clone()].copy_from_slice(&start);
        }
        let lengths = fixture.integers("lengths");
        let sequences = lengths.len() / STEPS;
        let (mut ids, mut types) = (
            fixture.integers("ids").into_iter(),
            fixture.integers("types").into_iter(),
        );
        let mut targets = fixture
            .integers("rows")
            .into_iter()
            .zip(fixture.integers("tokens"));
        let (masks, order) = (fixture.integers("masks"), fixture.integers("order"));
        let counts = lengths.chunks(sequences).zip(masks.chunks(sequences));
        let steps = counts
            .zip(order.chunks(sequences))
            .map(|((lengths, masks), order)| {
                let mut batch = TrainingBatch::new();
                for &length in lengths {
                    let ids: Vec<u32> = ids.by_ref().take(length as usize).collect();
                    let types: Vec<u32> = types.by_ref().take(length as usize).collect();
                    batch.push(&ids, &types);
                }
                let count = masks.iter().sum::<u32>() as usize;
                let targets = targets.by_ref().take(count);
                Step {
                    batch,
                    targets: targets.map(|(row, token)| (row as usize, token)).collect(),
                    order: order.iter().copied().map(Some).collect(),
                }
            });
        let steps: Vec<_> = steps.collect();
        assert_eq!(steps.len(), STEPS);
        let mut options = PassOptions::new(&config);
        options.slots = 2;
        Self {
            pass: make(layout, options),
            steps: steps.into_iter(),
            parameters,
        }
    }
}

impl Task for Recorded {
    fn groups(&self) -> Groups {
        Groups::from_layout(self.parameters.layout(), Frozen::default())
    }

    fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.parameters.values_mut(), self.pass.gradients())
    }

    fn accumulate(&mut self, step: u64, _: usize, _: usize) -> Result<StepLoss> {
        let Step {
            batch,
            targets,
            order,
        } = self.steps.next().expect("a run of as many steps");
        let layout = Arc::clone(self.parameters.layout());
        let masked_lm = MaskedLm::new(&layout, targets)?;
        let order = SentenceOrder::new(&layout, order)?;
        let draw = Draw { seed: 0, step };
        let objectives: [&dyn albert_model::train::Objective; 2] = [&masked_lm, &order];
        let (report, _) = self
            .pass
            .step(&self.parameters, &batch, &objectives, draw)?;
        Ok(StepLoss {
            loss: report.loss(),
            terms: Vec::new(),
            tokens: report.tokens,
            epoch: 0,
            examples: (0, 0),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        Ok(None)
    }

    fn steps(&mut self, _: f64, _: usize) -> Result<u64> {
        Ok(STEPS as u64)
    }

    fn epochs(&self) -> f64 {
        0.0
    }

    fn place(&self) -> Value {
        Value::Null
    }

    fn go_to(&mut self, _: &Value) -> Result<()> {
        Ok(())
    }

    fn fingerprint(&self) -> Value {
        Value::Null
    }

    fn write(&self, _: &Output) -> Result<()> {
        Ok(())
    }
}

/// Runs the recorded steps and returns the rows of the log.
fn run(task: &mut Recorded, folder: &Path) -> Vec<Value> {
    let optimizer = OptimizerSettings::new(OptimizerKind::AdamW);
    let mut settings = TrainerSettings::new(Length::Steps(STEPS as u64), optimizer, 1e-2);
    settings.warmup = Warmup::Steps(5);
    let mut trainer = Trainer::start(task, folder, settings).unwrap();
    let never = AtomicBool::new(false);
    trainer.run(task, &never, &mut |_| ()).unwrap();
    let log = std::fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn compare(name: &str, mut task: Recorded) {
    let dir = tempfile::tempdir().unwrap();
    let rows = run(&mut task, dir.path());
    let fixture = Fixture::open();
    for key in ["loss", "learning_rate", "grad_norm"] {
        let expected = fixture.curve(key);
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            let found = row[key].as_f64().unwrap();
            let error = (found - expected).abs() / expected.abs().max(1e-6);
            assert!(
                error <= TOLERANCE,
                "{name}, step {}: {key} {found}, expected {expected}: {error:.1e}",
                row["step"]
            );
        }
    }
    let layout = Arc::clone(task.parameters.layout());
    for tensor in layout.tensors() {
        let expected = fixture.weights(&format!("end.{}", tensor.name));
        let found = &task.parameters.values()[tensor.range.clone()];
        let differences = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
        let worst = differences.fold(0.0, f32::max);
        // A key's bias has no gradient but rounding, which AdamW brings to the size of a step.
        if !tensor.name.ends_with("key.bias") {
            assert!(
                worst <= WEIGHT_TOLERANCE,
                "{name}: `{}` is off by {worst:e}",
                tensor.name
            );
        }
    }
}

#[test]
fn fifty_steps_are_those_of_transformers_and_torch() {
    let make = |layout, options| TrainingPass::new(layout, options).unwrap();
    compare("the CPU's pass", Recorded::new(make));
}

#[test]
fn fifty_steps_of_autograd_are_those_of_transformers_and_torch() {
    let make = |layout, options| {
        let (device, dtype) = (Device::Cpu, DType::F32);
        TrainingPass::with_autograd(layout, options, &device, dtype, |_| ()).unwrap()
    };
    compare("autograd", Recorded::new(make));
}

//! A file of `scripts/make_training_fixtures.py`: a model, a batch, its targets, and PyTorch's loss and
//! gradients.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use albert_model::candle_core::safetensors::BufferedSafetensors;
use albert_model::candle_core::{DType, Device, Tensor};
use albert_model::train::{
    Choice, Classification, Draw, Dropout, FlatLayout, FlatParameters, HiddenStates, MaskedLm,
    MaskedLogits, MultiLabel, Objective, PassOptions, Pooling, Regression, SentenceOrder,
    SentenceVectors, Spans, StepReport, TokenLabels, TrainingBatch, TrainingPass, VectorLoss,
};
use albert_model::{AlbertConfig, Head};

/// Relative to the tensor's largest gradient; PyTorch's are computed in f64.
pub(crate) const TOLERANCE: f64 = 5e-6;

/// A gradient below this part of the model's largest is held to that: its own rounding.
const ROUNDING: f64 = 1e-3;

pub(crate) const CASES: [&str; 23] = [
    "pretraining-one-group",
    "pretraining-two-groups",
    "pretraining-unshared",
    "pretraining-inner",
    "pretraining-wide",
    "masked-lm-long",
    "masked-lm-untied",
    "classification",
    "classification-weighted",
    "multi-label",
    "regression",
    "token-labels",
    "spans",
    "choice",
    "cosine",
    "in-batch-negatives",
    "triplets",
    "cosent",
    "vectors",
    "vectors-cosine",
    "similarities",
    "hidden-states",
    "masked-logits",
];

/// A file of `scripts/make_training_fixtures.py`.
pub(crate) struct Fixture {
    objective: String,
    options: serde_json::Value,
    pub(crate) layout: Arc<FlatLayout>,
    pub(crate) parameters: FlatParameters,
    pub(crate) batch: TrainingBatch,
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        let package =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
        let path =
            PathBuf::from(package).join(format!("tests/fixtures/training/{name}.safetensors"));
        let bytes = std::fs::read(path)?;
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes)?;
        let metadata = metadata.metadata().clone().unwrap_or_default();
        let config = AlbertConfig::from_json(&metadata["config"])?;
        let file = BufferedSafetensors::new(bytes)?;
        let mut tensors = HashMap::new();
        for (name, _) in file.tensors() {
            tensors.insert(name.clone(), file.load(&name, &Device::Cpu)?);
        }
        let architecture = &config.architectures[0];
        let head = Head::ALL
            .into_iter()
            .find(|head| head.is_architecture(architecture));
        let head = head.expect("a class that has a head");
        let layout = Arc::new(FlatLayout::new(&config, head)?);
        let mut parameters = FlatParameters::random(Arc::clone(&layout), 0);
        for tensor in layout.tensors() {
            let weight = tensors[&format!("weight.{}", tensor.name)].flatten_all()?;
            let values = &mut parameters.values_mut()[tensor.range.clone()];
            values.copy_from_slice(&weight.to_vec1::<f32>()?);
        }
        let mut fixture = Self {
            objective: metadata["objective"].clone(),
            options: serde_json::from_str(&metadata["options"])?,
            layout,
            parameters,
            batch: TrainingBatch::new(),
            tensors,
        };
        fixture.fill_batch()?;
        Ok(fixture)
    }

    fn fill_batch(&mut self) -> anyhow::Result<()> {
        let (ids, types) = (self.integers("ids")?, self.integers("types")?);
        let mut start = 0;
        let mut sequences = Vec::new();
        for length in self.integers("lengths")? {
            let rows = start..start + length as usize;
            start = rows.end;
            sequences.push((&ids[rows.clone()], &types[rows]));
        }
        let together = if self.objective == "choice" { 3 } else { 1 };
        for unit in sequences.chunks(together) {
            self.batch.push_together(unit.iter().copied());
        }
        Ok(())
    }

    pub(crate) fn integers(&self, name: &str) -> anyhow::Result<Vec<u32>> {
        Ok(self.tensors[name].flatten_all()?.to_vec1::<u32>()?)
    }

    fn target(&self, name: &str) -> anyhow::Result<Vec<u32>> {
        self.integers(&format!("target.{name}"))
    }

    fn values(&self, name: &str) -> anyhow::Result<Vec<f32>> {
        Ok(self.tensors[&format!("target.{name}")]
            .flatten_all()?
            .to_vec1::<f32>()?)
    }

    pub(crate) fn rows_with(&self, name: &str) -> anyhow::Result<Vec<(usize, u32)>> {
        let rows = self.target("rows")?;
        Ok(rows
            .iter()
            .map(|row| *row as usize)
            .zip(self.target(name)?)
            .collect())
    }

    pub(crate) fn objectives(&self) -> anyhow::Result<Vec<Box<dyn Objective>>> {
        let layout = &self.layout;
        let vectors = |loss| SentenceVectors::new(layout, Pooling::Mean, loss);
        let scale = self.options["scale"].as_f64().unwrap_or(0.0) as f32;
        let counted = |labels: Vec<u32>| labels.into_iter().map(Some).collect::<Vec<_>>();
        let masked_lm = || anyhow::Ok(Box::new(MaskedLm::new(layout, self.rows_with("tokens")?)?));
        Ok(match self.objective.as_str() {
            "pretraining" => {
                let order = SentenceOrder::new(layout, counted(self.target("order")?))?;
                vec![masked_lm()?, Box::new(order)]
            }
            "masked-lm" => vec![masked_lm()?],
            "masked-logits" => {
                let rows = self.target("rows")?;
                let rows = rows.into_iter().map(|row| row as usize).collect();
                let objective = MaskedLogits::new(layout, rows, self.values("logits")?)?;
                vec![Box::new(objective)]
            }
            "classification" => {
                let labels = counted(self.target("labels")?);
                let weights = self.options["class_weights"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default();
                let weights = weights.iter().filter_map(|weight| weight.as_f64());
                let smoothing = self.options["label_smoothing"].as_f64().unwrap_or(0.0);
                let objective = Classification::new(layout, labels)?
                    .with_class_weights(weights.map(|weight| weight as f32).collect())
                    .with_label_smoothing(smoothing as f32);
                vec![Box::new(objective)]
            }
            "multi-label" => vec![Box::new(MultiLabel::new(layout, self.values("values")?)?)],
            "regression" => vec![Box::new(Regression::new(layout, self.values("values")?)?)],
            "token-labels" => vec![Box::new(TokenLabels::new(
                layout,
                self.rows_with("labels")?,
            )?)],
            "spans" => {
                let ends = self.target("ends")?;
                let ends = ends
                    .chunks(2)
                    .map(|ends| Some((ends[0] as usize, ends[1] as usize)));
                vec![Box::new(Spans::new(layout, ends.collect())?)]
            }
            "choice" => vec![Box::new(Choice::new(layout, self.target("labels")?)?)],
            "cosine" => {
                let scores = self.values("scores")?;
                vec![Box::new(vectors(VectorLoss::Cosine { scores })?)]
            }
            "in-batch-negatives" => {
                vec![Box::new(vectors(VectorLoss::InBatchNegatives { scale })?)]
            }
            "triplets" => vec![Box::new(vectors(VectorLoss::Triplets { scale })?)],
            "cosent" => {
                let scores = self.values("scores")?;
                vec![Box::new(vectors(VectorLoss::CoSent { scores, scale })?)]
            }
            "vectors" => {
                let targets = self.values("vectors")?;
                vec![Box::new(vectors(VectorLoss::Targets { vectors: targets })?)]
            }
            "vectors-cosine" => {
                let targets = self.values("vectors")?;
                vec![Box::new(vectors(VectorLoss::CosineTargets {
                    vectors: targets,
                })?)]
            }
            "similarities" => {
                let teacher = self.values("teacher")?;
                vec![Box::new(vectors(VectorLoss::Similarities { teacher })?)]
            }
            "hidden-states" => {
                let mut objectives: Vec<Box<dyn Objective>> = Vec::new();
                for repetition in [1, 3, 4] {
                    let targets = self.values(&format!("states.{repetition}"))?;
                    objectives.push(Box::new(HiddenStates::new(layout, repetition, targets)?));
                }
                objectives
            }
            other => anyhow::bail!("no objective `{other}`"),
        })
    }

    /// Returns the loss and the gradients of one step of the CPU's pass.
    pub(crate) fn step(
        &self,
        change: impl FnOnce(&mut PassOptions),
    ) -> anyhow::Result<(f64, Vec<f32>)> {
        let mut options = PassOptions::new(self.layout.config());
        change(&mut options);
        self.step_of(TrainingPass::new(Arc::clone(&self.layout), options)?)
    }

    /// Returns the values of the head for every sequence, by either engine.
    pub(crate) fn predictions(&self, is_autograd: bool) -> anyhow::Result<Vec<Vec<f32>>> {
        let layout = Arc::clone(&self.layout);
        let options = PassOptions::new(layout.config());
        let mut pass = if is_autograd {
            TrainingPass::with_autograd(layout, options, &Device::Cpu, DType::F32, |_| ())?
        } else {
            TrainingPass::new(layout, options)?
        };
        let objectives = self.objectives()?;
        Ok(pass
            .predict(&self.parameters, &self.batch, &*objectives[0])?
            .1)
    }

    /// Returns the loss and the gradients of one step of Candle's autograd.
    pub(crate) fn autograd_step(
        &self,
        dtype: DType,
        change: impl FnOnce(&mut PassOptions),
    ) -> anyhow::Result<(f64, Vec<f32>)> {
        let mut options = PassOptions::new(self.layout.config());
        change(&mut options);
        let (layout, device) = (Arc::clone(&self.layout), Device::Cpu);
        let pass = TrainingPass::with_autograd(layout, options, &device, dtype, |_| ())?;
        self.step_of(pass)
    }

    fn step_of(&self, mut pass: TrainingPass) -> anyhow::Result<(f64, Vec<f32>)> {
        let objectives = self.objectives()?;
        let objectives: Vec<_> = objectives.iter().map(|objective| &**objective).collect();
        let draw = Draw { seed: 1, step: 2 };
        let (report, gradients) = pass.step(&self.parameters, &self.batch, &objectives, draw)?;
        let (loss, gradients) = (report.loss(), gradients.to_vec());
        if pass.options().dropout == Dropout::NONE {
            let evaluated = pass.evaluate(&self.parameters, &self.batch, &objectives)?;
            assert!((evaluated.loss() - loss).abs() <= 1e-6 * loss.abs().max(1.0));
            let counts = |report: &StepReport| -> Vec<_> {
                let losses = report.losses.iter();
                losses
                    .map(|loss| (loss.items, loss.correct, loss.correct_in_five))
                    .collect()
            };
            assert_eq!(counts(&evaluated), counts(&report));
        }
        Ok((loss, gradients))
    }

    pub(crate) fn expected(&self) -> anyhow::Result<Vec<f32>> {
        let mut gradients = vec![0.0; self.layout.len()];
        for tensor in self.layout.tensors() {
            let gradient = self.tensors[&format!("grad.{}", tensor.name)].flatten_all()?;
            gradients[tensor.range.clone()].copy_from_slice(&gradient.to_vec1::<f32>()?);
        }
        Ok(gradients)
    }

    /// The largest difference of a tensor, relative to its largest value, and its name.
    pub(crate) fn difference(&self, expected: &[f32], found: &[f32]) -> (f64, String) {
        let largest = |values: &[f32]| {
            values
                .iter()
                .fold(0.0f64, |most, x| most.max(f64::from(x.abs())))
        };
        let floor = ROUNDING * largest(expected);
        let differences = self.layout.tensors().iter().map(|tensor| {
            // Softmax does not see a value that is added to all its scores: the gradient of a bias
            // that adds one is rounding, of the sums that give its neighbor a gradient.
            let scale = scale_of(&tensor.name, self.layout.head());
            let scale = &self
                .layout
                .tensor(&scale)
                .expect("every key has a query")
                .range;
            let scale = largest(&expected[scale.clone()]).max(floor);
            let pairs = expected[tensor.range.clone()]
                .iter()
                .zip(&found[tensor.range.clone()]);
            let differences = pairs.map(|(x, y)| (f64::from(*x) - f64::from(*y)).abs());
            let worst = differences.fold(0.0, |most: f64, difference| {
                if difference.is_nan() {
                    f64::INFINITY
                } else {
                    most.max(difference)
                }
            });
            (worst / scale, tensor.name.clone())
        });
        let worst = differences.max_by(|a, b| a.0.total_cmp(&b.0));
        worst.expect("there are tensors")
    }
}

/// The tensor whose gradient is the scale of another one's.
fn scale_of(name: &str, head: Head) -> String {
    let is_choice = head == Head::MultipleChoice && name == "classifier.bias";
    if is_choice || name == "qa_outputs.bias" {
        return name.replace("bias", "weight");
    }
    name.replace("attention.key.bias", "attention.query.bias")
}

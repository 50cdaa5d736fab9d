//! The training pass: losses and gradients of every objective are PyTorch's, in any division of the
//! batch.
//!
//! The fixtures come from `scripts/make_training_fixtures.py`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use albert_model::candle_core::safetensors::BufferedSafetensors;
use albert_model::candle_core::{DType, Device, Tensor};
use albert_model::train::{
    Choice, Classification, Draw, Dropout, FlatLayout, FlatParameters, Frozen, HiddenStates,
    MaskedLm, ModelPart, MultiLabel, Objective, PassOptions, Pooling, Regression, SentenceOrder,
    SentenceVectors, Spans, TokenLabels, TrainingBatch, TrainingPass, VectorLoss,
};
use albert_model::{AlbertConfig, Head};

/// Relative to the tensor's largest gradient; PyTorch's are computed in f64.
const TOLERANCE: f64 = 5e-6;

/// A gradient below this part of the model's largest is held to that: its own rounding.
const ROUNDING: f64 = 1e-3;

const CASES: [&str; 22] = [
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
];

/// A file of `scripts/make_training_fixtures.py`.
struct Fixture {
    objective: String,
    options: serde_json::Value,
    layout: Arc<FlatLayout>,
    parameters: FlatParameters,
    batch: TrainingBatch,
    tensors: HashMap<String, Tensor>,
}

impl Fixture {
    fn open(name: &str) -> anyhow::Result<Self> {
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
            .find(|head| head.architecture() == architecture);
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

    fn integers(&self, name: &str) -> anyhow::Result<Vec<u32>> {
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

    fn rows_with(&self, name: &str) -> anyhow::Result<Vec<(usize, u32)>> {
        let rows = self.target("rows")?;
        Ok(rows
            .iter()
            .map(|row| *row as usize)
            .zip(self.target(name)?)
            .collect())
    }

    fn objectives(&self) -> anyhow::Result<Vec<Box<dyn Objective>>> {
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

    /// The loss and the gradients of one step.
    fn step(&self, change: impl FnOnce(&mut PassOptions)) -> anyhow::Result<(f64, Vec<f32>)> {
        let objectives = self.objectives()?;
        let objectives: Vec<_> = objectives.iter().map(|objective| &**objective).collect();
        let mut options = PassOptions::new(self.layout.config());
        change(&mut options);
        let mut pass = TrainingPass::new(Arc::clone(&self.layout), options)?;
        let draw = Draw { seed: 1, step: 2 };
        let (report, gradients) = pass.step(&self.parameters, &self.batch, &objectives, draw)?;
        let (loss, gradients) = (report.loss(), gradients.to_vec());
        if options.dropout == Dropout::NONE {
            let evaluated = pass.evaluate(&self.parameters, &self.batch, &objectives)?;
            assert!((evaluated.loss() - loss).abs() <= 1e-6 * loss.abs().max(1.0));
        }
        Ok((loss, gradients))
    }

    fn expected(&self) -> anyhow::Result<Vec<f32>> {
        let mut gradients = vec![0.0; self.layout.len()];
        for tensor in self.layout.tensors() {
            let gradient = self.tensors[&format!("grad.{}", tensor.name)].flatten_all()?;
            gradients[tensor.range.clone()].copy_from_slice(&gradient.to_vec1::<f32>()?);
        }
        Ok(gradients)
    }

    /// The largest difference of a tensor, relative to its largest value, and its name.
    fn difference(&self, expected: &[f32], found: &[f32]) -> (f64, String) {
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

#[test]
fn losses_and_gradients_of_every_objective_are_those_of_pytorch() -> anyhow::Result<()> {
    for name in CASES {
        let fixture = Fixture::open(name)?;
        let expected_loss = fixture.tensors["loss"]
            .to_dtype(DType::F64)?
            .to_scalar::<f64>()?;
        let expected = fixture.expected()?;
        for (slots, bundle_tokens, skip_unread_rows) in
            [(1, 256, true), (2, 256, false), (3, 16, true), (8, 1, true)]
        {
            let (loss, gradients) = fixture.step(|options| {
                options.slots = slots;
                options.bundle_tokens = bundle_tokens;
                options.skip_unread_rows = skip_unread_rows;
            })?;
            let error = (loss - expected_loss).abs() / expected_loss.abs().max(1.0);
            assert!(
                error <= 2e-6,
                "{name}: loss {loss}, expected {expected_loss}"
            );
            let (error, tensor) = fixture.difference(&expected, &gradients);
            assert!(
                error <= TOLERANCE,
                "{name}, {slots} slots of {bundle_tokens} tokens, skipping {skip_unread_rows}: the \
                 gradient of `{tensor}` is off by {error:.1e}"
            );
        }
    }
    Ok(())
}

#[test]
fn gradients_have_the_same_bits_on_any_number_of_threads() -> anyhow::Result<()> {
    for name in ["pretraining-inner", "in-batch-negatives"] {
        let fixture = Fixture::open(name)?;
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()?;
            pool.install(|| {
                fixture.step(|options| {
                    options.slots = 4;
                    options.bundle_tokens = 8;
                    options.dropout = Dropout {
                        hidden: 0.1,
                        attention: 0.1,
                        classifier: 0.1,
                    };
                })
            })
        };
        let expected = run(1)?;
        for threads in [2, 3, 5] {
            assert!(run(threads)? == expected, "{name} on {threads} threads");
        }
    }
    Ok(())
}

/// With a fixed draw the loss is a smooth function of the parameters: its derivative along the
/// gradient is the gradient's square.
#[test]
fn gradients_with_dropout_are_the_slope_of_the_loss_with_the_same_masks() -> anyhow::Result<()> {
    for name in [
        "pretraining-inner",
        "token-labels",
        "classification",
        "choice",
        "similarities",
    ] {
        let mut fixture = Fixture::open(name)?;
        let all = Dropout {
            hidden: 0.2,
            attention: 0.3,
            classifier: 0.25,
        };
        let (_, gradients) = fixture.step(|options| options.dropout = all)?;
        let (_, skipped) = fixture.step(|options| {
            options.dropout = all;
            options.skip_unread_rows = false;
        })?;
        let (error, tensor) = fixture.difference(&gradients, &skipped);
        assert!(
            error <= TOLERANCE,
            "{name}: skipping changes `{tensor}` by {error:.1e}"
        );

        let square: f64 = gradients.iter().map(|g| f64::from(*g).powi(2)).sum();
        let step = 1e-3 / square.sqrt();
        let start = fixture.parameters.clone();
        let mut shifted = |by: f64| -> anyhow::Result<f64> {
            let values = start.values().iter().zip(&gradients);
            let shifted = values.map(|(p, g)| (f64::from(*p) + by * f64::from(*g)) as f32);
            let shifted: Vec<f32> = shifted.collect();
            fixture.parameters.values_mut().copy_from_slice(&shifted);
            Ok(fixture.step(|options| options.dropout = all)?.0)
        };
        let slope = (shifted(step)? - shifted(-step)?) / (2.0 * step);
        let error = (slope / square - 1.0).abs();
        assert!(
            error <= 2e-3,
            "{name}: slope {slope:.6e}, expected {square:.6e}"
        );
    }
    Ok(())
}

#[test]
fn another_draw_drops_other_values() -> anyhow::Result<()> {
    let fixture = Fixture::open("pretraining-one-group")?;
    let objectives = fixture.objectives()?;
    let objectives: Vec<_> = objectives.iter().map(|objective| &**objective).collect();
    let mut options = PassOptions::new(fixture.layout.config());
    options.dropout = Dropout {
        hidden: 0.1,
        attention: 0.0,
        classifier: 0.0,
    };
    let mut pass = TrainingPass::new(Arc::clone(&fixture.layout), options)?;
    let mut loss = |seed, step| {
        let draw = Draw { seed, step };
        let report = pass.step(&fixture.parameters, &fixture.batch, &objectives, draw);
        anyhow::Ok(report?.0.loss())
    };
    assert_eq!(loss(1, 1)?, loss(1, 1)?);
    assert_ne!(loss(1, 1)?, loss(1, 2)?);
    assert_ne!(loss(1, 1)?, loss(2, 1)?);
    Ok(())
}

#[test]
fn frozen_parts_have_no_gradient_and_the_others_keep_theirs() -> anyhow::Result<()> {
    for name in ["pretraining-one-group", "classification"] {
        let fixture = Fixture::open(name)?;
        let (_, all) = fixture.step(|_| ())?;
        for frozen in [
            Frozen {
                embeddings: true,
                encoder: false,
            },
            Frozen {
                embeddings: false,
                encoder: true,
            },
        ] {
            let (_, found) = fixture.step(|options| options.frozen = frozen)?;
            for tensor in fixture.layout.tensors() {
                let range = tensor.range.clone();
                let is_frozen = match tensor.part {
                    ModelPart::Embeddings => true,
                    ModelPart::Encoder => frozen.encoder,
                    _ => false,
                };
                if is_frozen {
                    assert!(
                        found[range].iter().all(|g| *g == 0.0),
                        "{name}: {}",
                        tensor.name
                    );
                } else {
                    assert!(
                        found[range.clone()] == all[range],
                        "{name}: {}",
                        tensor.name
                    );
                }
            }
        }
    }
    Ok(())
}

/// A step of several batches: each is divided by the items of all.
#[test]
fn accumulated_batches_have_the_gradient_of_one() -> anyhow::Result<()> {
    let fixture = Fixture::open("masked-lm-untied")?;
    let (loss, expected) = fixture.step(|_| ())?;
    let targets = fixture.rows_with("tokens")?;
    let mut pass = TrainingPass::new(
        Arc::clone(&fixture.layout),
        PassOptions::new(fixture.layout.config()),
    )?;
    let (ids, types) = (fixture.integers("ids")?, fixture.integers("types")?);
    let mut sum = 0.0;
    for sequences in [0..2, 2..fixture.batch.len()] {
        let mut batch = TrainingBatch::new();
        for sequence in sequences.clone() {
            let rows = fixture.batch.rows(sequence);
            batch.push(&ids[rows.clone()], &types[rows]);
        }
        let start = fixture.batch.rows(sequences.start).start;
        let rows = start..start + batch.tokens();
        let mine = targets.iter().filter(|(row, _)| rows.contains(row));
        let mine = mine.map(|(row, id)| (row - start, *id)).collect();
        let objective = MaskedLm::new(&fixture.layout, mine)?.with_divisor(targets.len() as f64);
        sum += pass
            .accumulate(&fixture.parameters, &batch, &[&objective], Draw::default())?
            .loss();
    }
    assert!((sum - loss).abs() <= 1e-6);
    let (error, tensor) = fixture.difference(&expected, pass.gradients());
    assert!(error <= TOLERANCE, "`{tensor}` is off by {error:.1e}");
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused_by_name() -> anyhow::Result<()> {
    let fixture = Fixture::open("masked-lm-untied")?;
    let message = |objective: albert_model::train::Result<MaskedLm>| -> anyhow::Result<String> {
        let mut pass = TrainingPass::new(
            Arc::clone(&fixture.layout),
            PassOptions::new(fixture.layout.config()),
        )?;
        Ok(match objective {
            Err(error) => error.to_string(),
            Ok(objective) => pass
                .evaluate(&fixture.parameters, &fixture.batch, &[&objective])
                .map_or_else(|error| error.to_string(), |_| String::new()),
        })
    };
    let targets = |targets: &[(usize, u32)]| MaskedLm::new(&fixture.layout, targets.to_vec());
    assert_eq!(
        message(targets(&[(0, 37)]))?,
        "targets of masked_lm: expected tokens below 37, found 37"
    );
    assert_eq!(
        message(targets(&[(51, 0)]))?,
        "targets of masked_lm: expected rows below 51, found 51"
    );
    assert_eq!(
        message(targets(&[(3, 0), (3, 1)]))?,
        "targets of masked_lm: expected a row once, found row 3 twice"
    );
    let classifier = Classification::new(&fixture.layout, vec![None]).unwrap_err();
    assert_eq!(
        classifier.to_string(),
        "classification: expected a model with a pooler and a classifier, found one with \
         AlbertForMaskedLM"
    );
    Ok(())
}

/// f32 logits against the f64 loss that was computed from them.
const LOGIT_TOLERANCE: f64 = 1e-6;

#[test]
fn predictions_are_the_logits_that_the_loss_was_computed_from() -> anyhow::Result<()> {
    let fixture = Fixture::open("classification")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = Classification::new(layout, vec![Some(0); batch.len()])?;
    let (report, logits) = pass.predict(&fixture.parameters, batch, &objective)?;
    let losses = logits.iter().map(|logits| {
        let sum: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        sum.ln() - f64::from(logits[0])
    });
    let mean = losses.sum::<f64>() / batch.len() as f64;
    assert!((mean - report.loss()).abs() < LOGIT_TOLERANCE, "{mean}");
    Ok(())
}

#[test]
fn predictions_have_the_shape_of_the_head_and_none_for_sequences_without_a_target()
-> anyhow::Result<()> {
    let fixture = Fixture::open("spans")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut ends = vec![Some((0, 0)); batch.len()];
    ends[0] = None;
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = Spans::new(layout, ends)?;
    let (_, logits) = pass.predict(&fixture.parameters, batch, &objective)?;
    assert!(logits[0].is_empty());
    assert_eq!(logits[1].len(), 2 * batch.rows(1).len());

    let loss = VectorLoss::InBatchNegatives { scale: 20.0 };
    let fixture = Fixture::open("in-batch-negatives")?;
    let (layout, batch) = (&fixture.layout, &fixture.batch);
    let mut pass = TrainingPass::new(Arc::clone(layout), PassOptions::new(layout.config()))?;
    let objective = SentenceVectors::new(layout, Pooling::Mean, loss)?;
    let (_, vectors) = pass.predict(&fixture.parameters, batch, &objective)?;
    let width = layout.config().hidden_size;
    assert!(vectors.iter().all(|vector| vector.len() == width));
    Ok(())
}

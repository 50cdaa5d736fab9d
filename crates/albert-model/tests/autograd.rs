//! The training pass against Candle's autograd, in f64, through the losses of `albert_model::loss`:
//! every activation, every kind of sharing, and lengths from 1 to 512.

use std::collections::HashMap;
use std::sync::Arc;

use albert_model::candle_core::{DType, Device, Result, Tensor, Var};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::train::{
    Classification, Draw, FlatLayout, FlatParameters, MaskedLm, MultiLabel, Objective, PassOptions,
    Pooling, Regression, SentenceOrder, SentenceVectors, Spans, TokenLabels, TrainingBatch,
    TrainingPass, VectorLoss,
};
use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining, AlbertForQuestionAnswering,
    AlbertForSequenceClassification, AlbertForTokenClassification, AlbertModel, Head, HiddenAct,
    ModelInput, loss,
};

/// Relative to the tensor's largest gradient; the reference is computed in f64.
const TOLERANCE: f64 = 5e-6;

/// [`TOLERANCE`] for 8 or more layers with weights of random signs, which amplify rounding. Seen:
/// 1.0e-5, of biases of values.
const DEEP_TOLERANCE: f64 = 2e-5;

/// A gradient below this part of the model's largest is held to that: its own rounding.
const ROUNDING: f64 = 1e-3;

/// Numbers of a fixed sequence in [0, 1).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, count: usize) -> usize {
        (self.next() * count as f64) as usize
    }
}

fn config(change: impl FnOnce(&mut AlbertConfig)) -> AlbertConfig {
    let mut config = AlbertConfig {
        vocab_size: 31,
        embedding_size: 10,
        hidden_size: 12,
        num_attention_heads: 2,
        intermediate_size: 17,
        num_hidden_layers: 4,
        classifier_dropout_prob: Some(0.0),
        layer_norm_eps: 1e-7,
        ..AlbertConfig::default()
    };
    change(&mut config);
    config
}

/// A model with weights of unit effect, and a batch.
struct Case {
    layout: Arc<FlatLayout>,
    parameters: FlatParameters,
    lengths: Vec<usize>,
    ids: Vec<u32>,
    types: Vec<u32>,
    batch: TrainingBatch,
    variables: VarMap,
    numbers: Numbers,
}

impl Case {
    fn new(config: &AlbertConfig, head: Head, lengths: &[usize]) -> anyhow::Result<Self> {
        let layout = Arc::new(FlatLayout::new(config, head)?);
        let mut parameters = FlatParameters::random(Arc::clone(&layout), 3);
        let mut numbers = Numbers(17);
        let variables = VarMap::new();
        for tensor in layout.tensors() {
            let values = &mut parameters.values_mut()[tensor.range.clone()];
            let size = match tensor.shape.len() {
                2 if tensor.name.contains("embeddings") => 0.8,
                2 => 1.7 / (tensor.shape[1] as f64).sqrt(),
                _ => 0.3,
            };
            for value in values.iter_mut() {
                *value += (size * (2.0 * numbers.next() - 1.0)) as f32;
            }
            let stored = Tensor::from_slice(values, &tensor.shape[..], &Device::Cpu)?;
            let variable = Var::from_tensor(&stored.to_dtype(DType::F64)?)?;
            let mut map = variables.data().lock().expect("no other thread");
            map.insert(tensor.name.clone(), variable);
        }
        let mut case = Self {
            lengths: lengths.to_vec(),
            ids: Vec::new(),
            types: Vec::new(),
            batch: TrainingBatch::new(),
            layout,
            parameters,
            variables,
            numbers,
        };
        for length in lengths {
            let ids: Vec<u32> = case.draw(*length, config.vocab_size);
            let types: Vec<u32> = case.draw(*length, config.type_vocab_size);
            case.batch.push(&ids, &types);
            case.ids.extend(ids);
            case.types.extend(types);
        }
        Ok(case)
    }

    fn draw(&mut self, count: usize, below: usize) -> Vec<u32> {
        (0..count)
            .map(|_| self.numbers.below(below) as u32)
            .collect()
    }

    fn reals(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.numbers.next() as f32).collect()
    }

    fn vb(&self) -> VarBuilder<'static> {
        VarBuilder::from_varmap(&self.variables, DType::F64, &Device::Cpu)
    }

    fn config(&self) -> &AlbertConfig {
        self.layout.config()
    }

    fn width(&self) -> usize {
        self.lengths.iter().copied().max().unwrap_or(0)
    }

    /// The batch with padding.
    fn input(&self) -> Result<ModelInput> {
        let width = self.width();
        let pad = |values: &[u32]| {
            let rows = self.lengths.iter().enumerate().map(|(sequence, length)| {
                let start = self.batch.rows(sequence).start;
                let mut row = values[start..start + length].to_vec();
                row.resize(width, 0);
                row
            });
            Tensor::new(rows.collect::<Vec<_>>(), &Device::Cpu)
        };
        let mask: Vec<u32> = vec![1; self.ids.len()];
        Ok(ModelInput::new(pad(&self.ids)?)
            .with_token_type_ids(pad(&self.types)?)
            .with_attention_mask(pad(&mask)?))
    }

    /// 1 at tokens, 0 at padding, `(B, T)`
    fn mask(&self) -> Result<Tensor> {
        let width = self.width();
        let places = self
            .lengths
            .iter()
            .flat_map(|length| (0..width).map(move |place| f64::from(u8::from(place < *length))));
        let shape = (self.lengths.len(), width);
        Tensor::from_vec(places.collect::<Vec<_>>(), shape, &Device::Cpu)
    }

    /// Rows of the batch among those of a padded one.
    fn padded(&self, row: usize) -> u32 {
        let sequence = (0..self.lengths.len()).find(|s| self.batch.rows(*s).contains(&row));
        let sequence = sequence.expect("a row of the batch");
        (sequence * self.width() + row - self.batch.rows(sequence).start) as u32
    }

    fn rows(&mut self, below: usize) -> Vec<(usize, u32)> {
        let total = self.ids.len();
        let targets = (0..total)
            .step_by(3)
            .map(|row| (row, self.numbers.below(below) as u32));
        targets.collect()
    }

    /// `(…, W)` at some rows.
    fn select(&self, padded: &Tensor, rows: &[(usize, u32)]) -> Result<(Tensor, Tensor)> {
        let indices: Vec<u32> = rows.iter().map(|(row, _)| self.padded(*row)).collect();
        let targets: Vec<u32> = rows.iter().map(|(_, target)| *target).collect();
        let device = &Device::Cpu;
        let selected = padded
            .flatten_to(1)?
            .index_select(&Tensor::new(indices, device)?, 0)?;
        Ok((selected, Tensor::new(targets, device)?))
    }

    /// The mean of each sequence's states, `(B, H)`.
    fn pooled(&self, model: &AlbertModel) -> Result<Tensor> {
        let input = self.input()?;
        let states = model.forward_t(&input, true)?.last_hidden_state;
        let mask = self.mask()?;
        let sums = states.broadcast_mul(&mask.unsqueeze(2)?)?.sum(1)?;
        sums.broadcast_div(&mask.sum_keepdim(1)?)
    }

    fn every(&self, vectors: &Tensor, stride: usize, first: usize) -> Result<Tensor> {
        let indices: Vec<u32> = (first..self.lengths.len())
            .step_by(stride)
            .map(|i| i as u32)
            .collect();
        vectors.index_select(&Tensor::new(indices, &Device::Cpu)?, 0)
    }

    fn check(
        &self,
        what: &str,
        loss: &Tensor,
        objectives: &[&dyn Objective],
    ) -> anyhow::Result<()> {
        let store = loss.backward()?;
        let layers = self.config().num_hidden_layers * self.config().inner_group_num;
        let tolerance = if layers >= 8 {
            DEEP_TOLERANCE
        } else {
            TOLERANCE
        };
        let variables = self.variables.data().lock().expect("no other thread");
        for (slots, skip_unread_rows) in [(2, true), (1, false)] {
            let mut options = PassOptions::new(self.config());
            (options.slots, options.skip_unread_rows) = (slots, skip_unread_rows);
            let mut pass = TrainingPass::new(Arc::clone(&self.layout), options)?;
            let step = pass.step(&self.parameters, &self.batch, objectives, Draw::default());
            let (report, found) = step?;
            let expected = loss.to_scalar::<f64>()?;
            let error = (report.loss() - expected).abs() / expected.abs().max(1.0);
            assert!(
                error <= 2e-6,
                "{what}: loss {}, expected {expected}",
                report.loss()
            );
            let mut tensors = Vec::new();
            for tensor in self.layout.tensors() {
                let expected = match store.get(&variables[&tensor.name]) {
                    Some(gradient) => gradient.flatten_all()?.to_vec1::<f64>()?,
                    None => vec![0.0; tensor.range.len()],
                };
                let largest = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
                tensors.push((tensor, expected, largest));
            }
            let floor = tensors
                .iter()
                .fold(0.0f64, |most, tensor| most.max(tensor.2))
                * ROUNDING;
            let scales: HashMap<_, _> = tensors
                .iter()
                .map(|(tensor, _, largest)| (tensor.name.clone(), *largest))
                .collect();
            let (mut worst, mut worst_tensor) = (0.0, String::new());
            for (tensor, expected, _) in tensors {
                // Softmax does not see these biases: their gradients are rounding.
                let of = tensor.name.replace("attention.key.b", "attention.query.b");
                let largest = scales[&of.replace("qa_outputs.bias", "qa_outputs.weight")];
                let pairs = expected.iter().zip(&found[tensor.range.clone()]);
                let differences = pairs.map(|(x, y)| (x - f64::from(*y)).abs());
                let error = differences.fold(0.0, f64::max) / largest.max(floor);
                if error > worst || error.is_nan() {
                    (worst, worst_tensor) = (error, tensor.name.clone());
                }
            }
            assert!(
                worst <= tolerance,
                "{what}, skipping {skip_unread_rows}: `{worst_tensor}` is off by {worst:.1e}"
            );
        }
        Ok(())
    }
}

fn check_pretraining(what: &str, config: &AlbertConfig, lengths: &[usize]) -> anyhow::Result<()> {
    let mut case = Case::new(config, Head::PreTraining, lengths)?;
    let (targets, orders) = (case.rows(config.vocab_size), case.draw(lengths.len(), 2));
    let output = AlbertForPreTraining::new(config, case.vb())?.forward_t(&case.input()?, true)?;
    let (logits, tokens) = case.select(&output.prediction_logits, &targets)?;
    let order_tensor = Tensor::new(orders.clone(), &Device::Cpu)?;
    let order_loss = loss::classification(&output.sop_logits, &order_tensor, None, 0.0)?;
    let total = (loss::masked_lm(&logits, &tokens)? + order_loss)?;
    let masked_lm = MaskedLm::new(&case.layout, targets)?;
    let order = SentenceOrder::new(&case.layout, orders.into_iter().map(Some).collect())?;
    case.check(what, &total, &[&masked_lm, &order])
}

#[test]
fn every_kind_of_sharing_has_the_gradients_of_autograd() -> anyhow::Result<()> {
    // In later layers the states of all tokens are similar, and gradients of queries and keys small.
    for (layers, groups, inner) in [
        (4, 1, 1),
        (4, 2, 1),
        (4, 4, 1),
        (4, 1, 2),
        (4, 2, 3),
        (4, 3, 2),
        (12, 1, 1),
    ] {
        let config = config(|config| {
            config.num_hidden_layers = layers;
            (config.num_hidden_groups, config.inner_group_num) = (groups, inner);
        });
        check_pretraining(
            &format!("{layers} layers in {groups} groups of {inner}"),
            &config,
            &[7, 1, 20, 3],
        )?;
    }
    Ok(())
}

#[test]
fn every_activation_has_the_gradients_of_autograd() -> anyhow::Result<()> {
    for name in [
        "gelu",
        "gelu_10",
        "gelu_new",
        "quick_gelu",
        "hardswish",
        "laplace",
        "leaky_relu",
        "linear",
        "mish",
        "relu",
        "relu2",
        "relu6",
        "sigmoid",
        "silu",
        "sqrtsoftplus",
        "tanh",
    ] {
        let hidden_act: HiddenAct = name.parse()?;
        let config = config(|config| {
            config.hidden_act = hidden_act;
            config.num_hidden_layers = 2;
        });
        check_pretraining(name, &config, &[5, 9])?;
    }
    Ok(())
}

#[test]
fn sequences_of_1_to_512_tokens_have_the_gradients_of_autograd() -> anyhow::Result<()> {
    let config = config(|config| config.num_hidden_layers = 2);
    check_pretraining(
        "lengths to 512",
        &config,
        &[512, 1, 2, 16, 17, 127, 129, 300],
    )
}

#[test]
fn heads_of_a_sequence_have_the_gradients_of_autograd() -> anyhow::Result<()> {
    let labels: std::collections::BTreeMap<_, _> = (0..3).map(|i| (i, format!("L{i}"))).collect();
    let config = config(|config| config.id2label = labels);
    let lengths = [6, 1, 11, 4];
    let mut case = Case::new(&config, Head::SequenceClassification, &lengths)?;
    let logits = AlbertForSequenceClassification::new(&config, case.vb())?
        .forward_t(&case.input()?, true)?
        .logits;
    let device = &Device::Cpu;

    let classes = case.draw(4, 3);
    let weights = vec![0.5f32, 2.0, 1.0];
    let expected = loss::classification(
        &logits,
        &Tensor::new(classes.clone(), device)?,
        Some(&Tensor::new(weights.clone(), device)?),
        0.1,
    )?;
    let objective = Classification::new(&case.layout, classes.into_iter().map(Some).collect())?
        .with_class_weights(weights.clone())
        .with_label_smoothing(0.1);
    // 1/2, 2 and 1 are exact in both types.
    case.check("classification", &expected, &[&objective.with_weight(1.0)])?;

    let targets = case.reals(12);
    let tensor = Tensor::from_slice(&targets, (4, 3), device)?.to_dtype(DType::F64)?;
    let objective = MultiLabel::new(&case.layout, targets.clone())?;
    case.check(
        "multi-label",
        &loss::multi_label(&logits, &tensor)?,
        &[&objective],
    )?;
    let objective = Regression::new(&case.layout, targets)?;
    case.check(
        "regression",
        &loss::mean_squared_error(&logits, &tensor)?,
        &[&objective],
    )
}

#[test]
fn heads_of_tokens_have_the_gradients_of_autograd() -> anyhow::Result<()> {
    let labels: std::collections::BTreeMap<_, _> = (0..3).map(|i| (i, format!("L{i}"))).collect();
    let config = config(|config| config.id2label = labels);
    let lengths = [6, 1, 11, 4];
    let mut case = Case::new(&config, Head::TokenClassification, &lengths)?;
    let logits = AlbertForTokenClassification::new(&config, case.vb())?
        .forward_t(&case.input()?, true)?
        .logits;
    let targets = case.rows(3);
    let (selected, classes) = case.select(&logits, &targets)?;
    let expected = loss::classification(&selected, &classes, None, 0.0)?;
    let objective = TokenLabels::new(&case.layout, targets)?;
    case.check("token labels", &expected, &[&objective])?;

    let mut case = Case::new(&config, Head::QuestionAnswering, &lengths)?;
    let output =
        AlbertForQuestionAnswering::new(&config, case.vb())?.forward_t(&case.input()?, true)?;
    let (starts, ends): (Vec<u32>, Vec<u32>) = lengths
        .iter()
        .map(|length| {
            (
                case.numbers.below(*length) as u32,
                case.numbers.below(*length) as u32,
            )
        })
        .unzip();
    let padding = ((case.mask()? - 1.0)? * 1e30)?;
    let device = &Device::Cpu;
    let expected = loss::spans(
        &(output.start_logits + &padding)?,
        &(output.end_logits + &padding)?,
        &Tensor::new(starts.clone(), device)?,
        &Tensor::new(ends.clone(), device)?,
    )?;
    let ends = starts
        .iter()
        .zip(&ends)
        .map(|(s, e)| Some((*s as usize, *e as usize)))
        .collect();
    case.check("spans", &expected, &[&Spans::new(&case.layout, ends)?])
}

#[test]
fn losses_of_vectors_have_the_gradients_of_autograd() -> anyhow::Result<()> {
    let config = config(|config| config.num_hidden_groups = 2);
    let mut case = Case::new(&config, Head::Encoder, &[6, 1, 11, 4, 9, 3])?;
    let albert = case.vb().pp("albert");
    let vectors = case.pooled(&AlbertModel::new(&config, albert)?)?;
    let (device, h) = (&Device::Cpu, config.hidden_size);
    let (a, b) = (case.every(&vectors, 2, 0)?, case.every(&vectors, 2, 1)?);
    let scores = case.reals(3);
    let score_tensor = Tensor::new(scores.clone(), device)?.to_dtype(DType::F64)?;
    let (teacher, targets) = (case.reals(36), case.reals(6 * h));
    let teacher_tensor = Tensor::from_slice(&teacher, (6, 6), device)?.to_dtype(DType::F64)?;
    let target_tensor = Tensor::from_slice(&targets, (6, h), device)?.to_dtype(DType::F64)?;
    let negatives = [case.every(&vectors, 3, 1)?, case.every(&vectors, 3, 2)?];
    let candidates = Tensor::cat(&negatives, 0)?;
    let cosine = loss::mean_squared_error(&loss::pairwise_cosines(&a, &b)?, &score_tensor)?;
    for (expected, vector_loss) in [
        (
            cosine,
            VectorLoss::Cosine {
                scores: scores.clone(),
            },
        ),
        (
            loss::in_batch_negatives(&a, &b, 20.0)?,
            VectorLoss::InBatchNegatives { scale: 20.0 },
        ),
        (
            loss::in_batch_negatives(&case.every(&vectors, 3, 0)?, &candidates, 20.0)?,
            VectorLoss::Triplets { scale: 20.0 },
        ),
        (
            loss::cosent(&a, &b, &score_tensor, 20.0)?,
            VectorLoss::CoSent {
                scores,
                scale: 20.0,
            },
        ),
        (
            loss::similarities(&vectors, &teacher_tensor)?,
            VectorLoss::Similarities { teacher },
        ),
        (
            loss::mean_squared_error(&vectors, &target_tensor)?,
            VectorLoss::Targets { vectors: targets },
        ),
    ] {
        let what = format!("{vector_loss:?}");
        let objective = SentenceVectors::new(&case.layout, Pooling::Mean, vector_loss)?;
        case.check(&what, &expected, &[&objective])?;
    }
    Ok(())
}

#[test]
fn an_untied_decoder_has_the_gradients_of_autograd() -> anyhow::Result<()> {
    let config = config(|config| config.tie_word_embeddings = false);
    let mut case = Case::new(&config, Head::MaskedLm, &[6, 1, 11, 4])?;
    let targets = case.rows(config.vocab_size);
    let logits = AlbertForMaskedLM::new(&config, case.vb())?
        .forward_t(&case.input()?, true)?
        .logits;
    let (logits, tokens) = case.select(&logits, &targets)?;
    let objective = MaskedLm::new(&case.layout, targets)?;
    case.check("untied", &loss::masked_lm(&logits, &tokens)?, &[&objective])
}

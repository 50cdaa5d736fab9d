//! Pretraining: masked language modeling and sentence order on a stream of text.

use std::sync::Arc;

use albert_tasks::albert_model::train::{
    Draw, FlatLayout, FlatParameters, MaskedLm, ModelPart, Objective, ObjectiveLoss, ParameterKind,
    PassOptions, SentenceOrder, StepReport, TrainingBatch, TrainingPass,
};
use albert_tasks::albert_model::{AlbertConfig, Head};
use albert_tasks::{ModelFiles, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::examples::{
    Bookmark, Corpus, Position, PretrainingExample, PretrainingExamples, PretrainingText,
    TextStatistics,
};
use crate::optim::{Groups, Tensor};
use crate::trainer::{Evaluation, StepLoss, Task};

/// Sequences that are evaluated at a time.
const EVALUATION_BATCH: usize = 64;

/// Batch and learning rate of the published models, from which the rate of any batch follows.
///
/// Source: google-research/albert b772393, README; the square root is You et al. 2020.
const PUBLISHED_BATCH: f64 = 4096.0;
const PUBLISHED_RATE: f64 = 0.00176;

/// Returns the learning rate of LAMB for a batch: 0.00176 √(batch / 4096).
pub fn lamb_learning_rate(batch_size: usize) -> f64 {
    PUBLISHED_RATE * (batch_size as f64 / PUBLISHED_BATCH).sqrt()
}

/// The share of a run that the published models warmed up for: 3,125 of 125,000 steps.
pub const WARMUP_SHARE: f64 = 0.025;

/// A size of model with the settings that train it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 4 repetitions of a layer 256 wide: hours on a few cores.
    Tiny,
    /// albert-base-v2.
    Base,
    /// albert-large-v2.
    Large,
}

impl Preset {
    /// Returns the configuration for a vocabulary.
    pub fn config(self, vocab_size: usize) -> AlbertConfig {
        let config = match self {
            Self::Tiny => AlbertConfig {
                hidden_size: 256,
                num_hidden_layers: 4,
                num_attention_heads: 4,
                intermediate_size: 1024,
                ..AlbertConfig::base_v2()
            },
            Self::Base => AlbertConfig::base_v2(),
            Self::Large => AlbertConfig::large_v2(),
        };
        AlbertConfig {
            vocab_size,
            ..config
        }
    }
}

/// The start of a run's weights.
#[derive(Debug, Clone)]
pub enum Start {
    /// The weights of a model. A head that it lacks is drawn.
    Model(ModelFiles),
    /// The weights of a model with a single layer group, copied to this many groups.
    Groups(ModelFiles, usize),
    /// Random weights with the deviation `initializer_range`.
    Random(Box<AlbertConfig>),
}

/// The pretraining of a model.
#[derive(Debug)]
pub struct Pretraining {
    parameters: FlatParameters,
    pass: TrainingPass,
    examples: PretrainingExamples,
    evaluation: Option<PretrainingExamples>,
    data: Value,
    seed: u64,
    new_tensors: Vec<String>,
}

/// The place in the data as a snapshot keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct SavedPlace {
    position: Position,
    bookmark: Bookmark,
}

impl Pretraining {
    /// Returns the pretraining of a model on a corpus.
    ///
    /// `options` changes what the configuration says about dropout, freezing and slots.
    ///
    /// # Errors
    /// If the corpus, the model and the tokenizer do not fit each other, or a file cannot be read.
    pub fn new(
        start: Start,
        tokenizer: Arc<Tokenizer>,
        text: PretrainingText,
        train: Corpus,
        evaluation: Option<Corpus>,
        options: impl FnOnce(&mut PassOptions),
    ) -> Result<Self> {
        let head = if text.sentence_order {
            Head::PreTraining
        } else {
            Head::MaskedLm
        };
        let layout = |config: &AlbertConfig| -> Result<Arc<FlatLayout>> {
            let mut config = config.clone();
            config.architectures = vec![head.architecture().into()];
            check(&config, &tokenizer, &text)?;
            Ok(Arc::new(FlatLayout::new(&config, head)?))
        };
        let (parameters, new_tensors) = match start {
            Start::Random(config) => (
                FlatParameters::random(layout(&config)?, text.seed),
                Vec::new(),
            ),
            Start::Model(files) => {
                let checkpoint = files.checkpoint()?;
                let layout = layout(checkpoint.config())?;
                FlatParameters::from_checkpoint(&checkpoint, layout, text.seed)?
            }
            Start::Groups(files, groups) => {
                let checkpoint = files.checkpoint()?;
                let layout = layout(checkpoint.config())?;
                let (one, new) = FlatParameters::from_checkpoint(&checkpoint, layout, text.seed)?;
                (with_groups(&one, groups)?, new)
            }
        };
        let config = parameters.layout().config();
        let mut pass_options = PassOptions::new(config);
        options(&mut pass_options);
        let data = json!({
            "files": train.files(),
            "evaluation": evaluation.as_ref().map(Corpus::files),
            "slots": pass_options.slots,
            "bundle_tokens": pass_options.bundle_tokens,
        });
        let evaluation = match evaluation {
            None => None,
            Some(corpus) => {
                let text = PretrainingText {
                    shuffle: false,
                    ..text
                };
                Some(PretrainingExamples::new(
                    corpus,
                    Arc::clone(&tokenizer),
                    text,
                )?)
            }
        };
        Ok(Self {
            pass: TrainingPass::new(Arc::clone(parameters.layout()), pass_options)?,
            examples: PretrainingExamples::new(train, tokenizer, text)?,
            parameters,
            evaluation,
            data,
            seed: text.seed,
            new_tensors,
        })
    }

    /// Computes on another engine than the CPU's own kernels. `notice` is called with the number of
    /// tokens that go forward together after the device ran out of memory.
    ///
    /// # Errors
    /// If the engine cannot compute on this machine.
    pub fn with_engine(
        mut self,
        engine: &Engine,
        notice: impl Fn(usize) + Send + Sync + 'static,
    ) -> Result<Self> {
        let layout = Arc::clone(self.parameters.layout());
        self.pass = engine.pass(layout, *self.pass.options(), notice)?;
        self.data["engine"] = engine.to_string().into();
        Ok(self)
    }

    /// Returns estimates about the text from its first block.
    ///
    /// # Errors
    /// If the text cannot be read, or there is none.
    pub fn statistics(&mut self) -> Result<TextStatistics> {
        self.examples.statistics()
    }

    /// Returns the parameters.
    pub fn parameters(&self) -> &FlatParameters {
        &self.parameters
    }

    /// Returns the tensors that the start lacked and that were drawn.
    pub fn new_tensors(&self) -> &[String] {
        &self.new_tensors
    }

    /// Returns the sums over the evaluation data; `None` without such data.
    pub(crate) fn sums(&mut self) -> Result<Option<Sums>> {
        let Some(examples) = &mut self.evaluation else {
            return Ok(None);
        };
        examples.go_to(Position::default(), &Bookmark::default())?;
        let mut sums = Sums::default();
        loop {
            let mut batch = Vec::new();
            while batch.len() < EVALUATION_BATCH
                && let Some(example) = examples.next_of_epoch()?
            {
                batch.push(example);
            }
            if batch.is_empty() {
                break;
            }
            sums.sequences += batch.len();
            let batch = Batch::new(self.parameters.layout(), &batch)?;
            let objectives = batch.objectives(1.0, 1.0);
            let objectives = references(&objectives);
            let report = self
                .pass
                .evaluate(&self.parameters, &batch.sequences, &objectives)?;
            sums.add(&report);
        }
        Ok(Some(sums))
    }

    /// Returns the number of gradient buffers, on which the bits of a run depend.
    pub fn slots(&self) -> usize {
        self.pass.options().slots
    }
}

impl Task for Pretraining {
    fn groups(&self) -> Groups {
        let frozen = self.pass.options().frozen;
        let layout = self.parameters.layout();
        let tensors = layout.tensors().iter().map(|tensor| Tensor {
            name: tensor.name.clone(),
            range: tensor.range.clone(),
            shape: tensor.shape.clone(),
            decays: tensor.kind.decays(),
            is_hidden_matrix: tensor.kind == ParameterKind::Matrix
                && tensor.part == ModelPart::Encoder,
            is_frozen: match tensor.part {
                ModelPart::Embeddings => frozen.embeddings || frozen.encoder,
                ModelPart::Encoder => frozen.encoder,
                _ => false,
            },
        });
        Groups::new(layout.len(), tensors.collect())
    }

    fn buffers(&mut self) -> (&mut [f32], &mut [f32]) {
        (self.parameters.values_mut(), self.pass.gradients())
    }

    fn accumulate(&mut self, step: u64, examples: usize, passes: usize) -> Result<StepLoss> {
        let mut taken = Vec::with_capacity(examples);
        let mut first = None;
        for _ in 0..examples {
            let example = self.examples.next_example()?;
            // After the first example, as before it the position may be the end of an epoch.
            let position = self.examples.position();
            first.get_or_insert((position.epoch, position.sequence - 1));
            taken.push(example);
        }
        let (epoch, first) = first.unwrap_or_default();
        let masks: usize = taken.iter().map(|example| example.masks.len()).sum();
        self.pass.clear();
        let mut sums = Sums::default();
        for (part, examples) in taken.chunks(examples.div_ceil(passes)).enumerate() {
            let batch = Batch::new(self.parameters.layout(), examples)?;
            let objectives = batch.objectives(masks as f64, taken.len() as f64);
            let draw = Draw {
                seed: self.seed,
                step: step.wrapping_mul(passes as u64).wrapping_add(part as u64),
            };
            let report = self.pass.accumulate(
                &self.parameters,
                &batch.sequences,
                &references(&objectives),
                draw,
            )?;
            sums.add(&report);
        }
        Ok(StepLoss {
            loss: sums.masked_lm.loss + sums.order.loss,
            terms: sums.terms(),
            tokens: sums.tokens,
            epoch,
            examples: (first, first + taken.len() as u64 - 1),
        })
    }

    fn evaluate(&mut self) -> Result<Option<Evaluation>> {
        Ok(self.sums()?.map(|sums| sums.evaluation()))
    }

    fn epochs(&self) -> f64 {
        self.examples.epochs()
    }

    fn place(&self) -> Value {
        json!(SavedPlace {
            position: self.examples.position(),
            bookmark: self.examples.bookmark().clone(),
        })
    }

    fn go_to(&mut self, place: &Value) -> Result<()> {
        let place: SavedPlace =
            serde_json::from_value(place.clone()).map_err(|error| Error::Setting {
                name: "place",
                expected: "a position and a bookmark".into(),
                found: error.to_string(),
            })?;
        self.examples.go_to(place.position, &place.bookmark)
    }

    fn fingerprint(&self) -> Value {
        self.data.clone()
    }
}

/// Examples laid out for the pass.
struct Batch {
    sequences: TrainingBatch,
    masked: MaskedLm,
    order: Option<SentenceOrder>,
}

impl Batch {
    fn new(layout: &FlatLayout, examples: &[PretrainingExample]) -> Result<Self> {
        let (mut sequences, mut targets) = (TrainingBatch::new(), Vec::new());
        for example in examples {
            let sequence = sequences.push(&example.ids, &example.type_ids);
            let start = sequences.rows(sequence).start;
            let rows = example
                .masks
                .iter()
                .map(|mask| (start + mask.position as usize, mask.label));
            targets.extend(rows);
        }
        let labels: Vec<Option<u32>> = examples.iter().map(|example| example.order).collect();
        let has_order = labels.iter().any(Option::is_some);
        let order = has_order
            .then(|| SentenceOrder::new(layout, labels))
            .transpose()?;
        Ok(Self {
            sequences,
            masked: MaskedLm::new(layout, targets)?,
            order,
        })
    }

    /// The objectives with the masks and the sequences that their sums are divided by.
    fn objectives(&self, masks: f64, sequences: f64) -> Vec<Box<dyn Objective>> {
        let mut objectives: Vec<Box<dyn Objective>> =
            vec![Box::new(self.masked.clone().with_divisor(masks))];
        if let Some(order) = &self.order {
            objectives.push(Box::new(order.clone().with_divisor(sequences)));
        }
        objectives
    }
}

fn references(objectives: &[Box<dyn Objective>]) -> Vec<&dyn Objective> {
    objectives.iter().map(|objective| &**objective).collect()
}

/// Sums over batches.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) masked_lm: Sum,
    pub(crate) order: Sum,
    pub(crate) sequences: usize,
    tokens: usize,
}

/// The sum of one objective.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sum {
    loss: f64,
    items: usize,
    correct: usize,
    correct_in_five: usize,
}

impl Sum {
    fn add(&mut self, loss: &ObjectiveLoss) {
        self.loss += loss.loss;
        self.items += loss.items;
        self.correct += loss.correct;
        self.correct_in_five += loss.correct_in_five;
    }

    /// The mean loss of sums that no divisor has touched.
    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.items.max(1) as f64
    }

    /// The share of items whose target is the first choice.
    pub(crate) fn top_1(&self) -> f64 {
        self.correct as f64 / self.items.max(1) as f64
    }

    /// The share of items whose target is among the first five choices.
    pub(crate) fn top_5(&self) -> f64 {
        self.correct_in_five as f64 / self.items.max(1) as f64
    }
}

impl Sums {
    fn add(&mut self, report: &StepReport) {
        self.tokens += report.tokens;
        for (sum, loss) in [&mut self.masked_lm, &mut self.order]
            .into_iter()
            .zip(&report.losses)
        {
            sum.add(loss);
        }
    }

    fn terms(&self) -> Vec<(&'static str, f64)> {
        let mut terms = vec![("masked_lm", self.masked_lm.loss)];
        if self.order.items > 0 {
            terms.push(("sentence_order", self.order.loss));
        }
        terms
    }

    fn evaluation(&self) -> Evaluation {
        let (masked, order) = (&self.masked_lm, &self.order);
        let mut metrics = vec![
            ("loss", masked.mean_loss() + order.mean_loss()),
            ("masked_lm_loss", masked.mean_loss()),
            ("top_1", masked.top_1()),
            ("top_5", masked.top_5()),
        ];
        if order.items > 0 {
            metrics.push(("sentence_order_loss", order.mean_loss()));
            metrics.push(("sentence_order_accuracy", order.top_1()));
        }
        metrics
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect()
    }
}

/// Copies the single layer group to `groups` groups with separate weights.
pub(crate) fn with_groups(one: &FlatParameters, groups: usize) -> Result<FlatParameters> {
    let mut config = one.layout().config().clone();
    let found = config.num_hidden_groups;
    if found != 1 || groups > config.num_hidden_layers {
        return Err(Error::Setting {
            name: "layer groups",
            expected: format!(
                "a model of one group, and at most its {} layers",
                config.num_hidden_layers
            ),
            found: format!("{groups} for a model with {found}"),
        });
    }
    config.num_hidden_groups = groups;
    let layout = Arc::new(FlatLayout::new(&config, one.layout().head())?);
    let mut parameters = FlatParameters::random(Arc::clone(&layout), 0);
    for tensor in layout.tensors() {
        let name = in_first_group(&tensor.name);
        let values = one
            .tensor(&name)
            .expect("both models have the same tensors");
        parameters.values_mut()[tensor.range.clone()].copy_from_slice(values);
    }
    Ok(parameters)
}

/// The name of a tensor's counterpart in group 0.
fn in_first_group(name: &str) -> String {
    const GROUPS: &str = ".albert_layer_groups.";
    match name
        .split_once(GROUPS)
        .and_then(|(start, rest)| Some((start, rest.split_once('.')?.1)))
    {
        Some((start, rest)) => format!("{start}{GROUPS}0.{rest}"),
        None => name.into(),
    }
}

/// Checks that the model has room for the tokens and the sequences.
fn check(config: &AlbertConfig, tokenizer: &Tokenizer, text: &PretrainingText) -> Result<()> {
    let setting = |name, expected: String, found: usize| {
        Err(Error::Setting {
            name,
            expected,
            found: found.to_string(),
        })
    };
    if config.vocab_size < tokenizer.vocab_size() {
        let expected = format!("at least the tokenizer's {} pieces", tokenizer.vocab_size());
        return setting("vocab_size", expected, config.vocab_size);
    }
    if text.max_length > config.max_position_embeddings {
        let expected = format!(
            "at most the model's {} positions",
            config.max_position_embeddings
        );
        return setting("max_length", expected, text.max_length);
    }
    if text.sentence_order && config.type_vocab_size < 2 {
        return setting(
            "type_vocab_size",
            "2 token types".into(),
            config.type_vocab_size,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_group_is_copied_to_others() {
        let config = AlbertConfig {
            num_hidden_layers: 4,
            ..Preset::Tiny.config(20)
        };
        let layout = Arc::new(FlatLayout::new(&config, Head::MaskedLm).unwrap());
        let one = FlatParameters::random(layout, 3);
        let two = with_groups(&one, 2).unwrap();
        let name = |group| {
            format!("albert.encoder.albert_layer_groups.{group}.albert_layers.0.ffn.weight")
        };
        assert_eq!(two.tensor(&name(0)), one.tensor(&name(0)));
        assert_eq!(two.tensor(&name(1)), one.tensor(&name(0)));
        assert!(with_groups(&two, 4).is_err());
        assert!(with_groups(&one, 5).is_err());
    }

    #[test]
    fn the_rate_of_lamb_follows_the_square_root_of_the_batch() {
        assert_eq!(lamb_learning_rate(4096), 0.00176);
        assert!((lamb_learning_rate(1024) - 0.00088).abs() < 1e-12);
    }
}

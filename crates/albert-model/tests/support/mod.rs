//! The small random models that `scripts/make_fixtures.py` writes, and transformers' numbers for
//! them.

#![allow(dead_code, reason = "each file of tests uses a part of it")]

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::OnceLock;

use albert_model::candle_core::{self, DType, Device, Tensor};
use albert_model::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForNextSentencePrediction,
    AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
    AlbertForTokenClassification, AlbertModel, Checkpoint, HeadOutput, LoadOptions, ModelInput,
    Pretrained, WeightFormat,
};

/// Tensors by the names that `scripts/make_fixtures.py` gives them.
pub(crate) type Named = BTreeMap<String, Tensor>;

/// Returns the path of a fixture. On another machine, set the variable that cargo sets.
pub(crate) fn path(name: &str) -> PathBuf {
    let package =
        std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    PathBuf::from(package).join("tests/fixtures").join(name)
}

/// The device that `ALBERT_TEST_DEVICE` names: `cpu`, which it is without it, `cuda`, `cuda:N` or
/// `metal`.
pub(crate) fn device() -> candle_core::Result<Device> {
    // One for all tests: tensors of two handles on the same GPU do not mix.
    static DEVICE: OnceLock<Device> = OnceLock::new();
    if let Some(device) = DEVICE.get() {
        return Ok(device.clone());
    }
    let name = std::env::var("ALBERT_TEST_DEVICE").unwrap_or("cpu".to_owned());
    let device = match (name.as_str(), name.strip_prefix("cuda:").map(str::parse)) {
        ("cpu", _) => Device::Cpu,
        ("cuda", _) => Device::new_cuda(0)?,
        ("metal", _) => Device::new_metal(0)?,
        (_, Some(Ok(number))) => Device::new_cuda(number)?,
        _ => candle_core::bail!(
            "ALBERT_TEST_DEVICE: expected cpu, cuda, cuda:N or metal, found `{name}`"
        ),
    };
    Ok(DEVICE.get_or_init(|| device).clone())
}

/// Loads a model of some head.
pub(crate) type Loader = fn(&Checkpoint, &LoadOptions) -> anyhow::Result<Box<dyn Model>>;

pub(crate) fn load<M: Pretrained + Model + 'static>(
    checkpoint: &Checkpoint,
    options: &LoadOptions,
) -> anyhow::Result<Box<dyn Model>> {
    let model = M::load(checkpoint, options)?;
    Ok(Box::new(model))
}

/// Models with what transformers makes of them.
pub(crate) const FIXTURES: [(&str, Loader); 12] = [
    ("grouped-model", load::<AlbertModel>),
    ("grouped-pretraining", load::<AlbertForPreTraining>),
    ("grouped-masked-lm", load::<AlbertForMaskedLM>),
    ("grouped-sequence", load::<AlbertForSequenceClassification>),
    ("grouped-token", load::<AlbertForTokenClassification>),
    ("grouped-qa", load::<AlbertForQuestionAnswering>),
    ("grouped-choice", load::<AlbertForMultipleChoice>),
    ("square", load::<AlbertForPreTraining>),
    ("relu", load::<AlbertForPreTraining>),
    ("deep", load::<AlbertForPreTraining>),
    ("uneven", load::<AlbertModel>),
    ("positions", load::<AlbertModel>),
];

/// Loads a fixture.
pub(crate) fn open(
    folder: &str,
    load: Loader,
    dtype: WeightFormat,
) -> anyhow::Result<Box<dyn Model>> {
    load(
        &Checkpoint::from_dir(path(folder))?,
        &LoadOptions::default().with_weights(dtype),
    )
}

/// The inputs of transformers (`input.*`) and its outputs (`output.*`).
pub(crate) struct Expected {
    pub(crate) tensors: HashMap<String, Tensor>,
}

impl Expected {
    pub(crate) fn of(folder: &str) -> anyhow::Result<Self> {
        let file = path(folder).join("expected.safetensors");
        Ok(Self {
            tensors: candle_core::safetensors::load(file, &Device::Cpu)?,
        })
    }

    /// `ids`, `attention_mask`, `token_type_ids` or `position_ids`.
    pub(crate) fn given(&self, name: &str) -> candle_core::Result<Option<Tensor>> {
        let tensor = self.tensors.get(&format!("input.{name}"));
        tensor.map(|tensor| tensor.to_dtype(DType::U32)).transpose()
    }

    /// All that transformers was given.
    pub(crate) fn input(&self) -> anyhow::Result<ModelInput> {
        self.input_with(|tensor| Ok(tensor.clone()))
    }

    /// Returns the input on [`device`].
    pub(crate) fn input_on_device(&self) -> anyhow::Result<ModelInput> {
        let device = device()?;
        self.input_with(|tensor| tensor.to_device(&device))
    }

    /// Returns the input on [`device`] with its mask on the CPU.
    pub(crate) fn input_with_mask_on_cpu(&self) -> anyhow::Result<ModelInput> {
        let mask = self
            .given("attention_mask")?
            .expect("every fixture has a mask");
        Ok(self.input_on_device()?.with_attention_mask(mask))
    }

    /// Returns the input with each tensor changed, for example to a part of the batch.
    pub(crate) fn input_with(
        &self,
        change: impl Fn(&Tensor) -> candle_core::Result<Tensor>,
    ) -> anyhow::Result<ModelInput> {
        let given = |name| self.given(name)?.map(|tensor| change(&tensor)).transpose();
        let ids = given("ids")?.ok_or_else(|| anyhow::anyhow!("no ids in the fixture"))?;
        let mut input = ModelInput::new(ids);
        if let Some(mask) = given("attention_mask")? {
            input = input.with_attention_mask(mask);
        }
        if let Some(types) = given("token_type_ids")? {
            input = input.with_token_type_ids(types);
        }
        if let Some(positions) = given("position_ids")? {
            input = input.with_position_ids(positions);
        }
        Ok(input)
    }
}

/// A tensor's numbers, from whatever device and type.
pub(crate) fn numbers(tensor: &Tensor) -> candle_core::Result<Vec<f64>> {
    tensor
        .to_device(&Device::Cpu)?
        .to_dtype(DType::F64)?
        .flatten_all()?
        .to_vec1()
}

/// Largest difference between two tensors, relative to the largest magnitude in the first. NaN
/// counts as infinite.
pub(crate) fn relative_difference(expected: &Tensor, found: &Tensor) -> candle_core::Result<f64> {
    if expected.dims() != found.dims() {
        candle_core::bail!(
            "expected shape {:?}, found {:?}",
            expected.dims(),
            found.dims()
        );
    }
    let (expected, found) = (numbers(expected)?, numbers(found)?);
    let scale = expected
        .iter()
        .fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let differences = expected.iter().zip(&found).map(|(x, y)| (x - y).abs());
    let largest = differences.fold(0.0, |largest, d| {
        if d.is_nan() {
            f64::INFINITY
        } else {
            d.max(largest)
        }
    });
    Ok(largest / scale)
}

/// A model with any head, its outputs by name.
pub(crate) trait Model {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named>;
}

fn named<const COUNT: usize>(
    results: [(&str, Tensor); COUNT],
    hidden_states: Option<Vec<Tensor>>,
    attentions: Option<Vec<Tensor>>,
) -> Named {
    let numbered = |list: &'static str, tensors: Option<Vec<Tensor>>| {
        let tensors = tensors.unwrap_or_default().into_iter().enumerate();
        tensors.map(move |(i, tensor)| (format!("{list}.{i}"), tensor))
    };
    let results = results
        .into_iter()
        .map(|(name, tensor)| (name.to_owned(), tensor));
    results
        .chain(numbered("hidden_states", hidden_states))
        .chain(numbered("attentions", attentions))
        .collect()
}

impl Model for AlbertModel {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        let output = self.forward_t(input, train)?;
        let mut named = named(
            [("last_hidden_state", output.last_hidden_state)],
            output.hidden_states,
            output.attentions,
        );
        named.extend(
            output
                .pooler_output
                .map(|pooled| ("pooler_output".to_owned(), pooled)),
        );
        Ok(named)
    }
}

impl Model for AlbertForPreTraining {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        let output = self.forward_t(input, train)?;
        let results = [
            ("logits", output.prediction_logits),
            ("sop_logits", output.sop_logits),
        ];
        Ok(named(results, output.hidden_states, output.attentions))
    }
}

impl Model for AlbertForQuestionAnswering {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        let output = self.forward_t(input, train)?;
        let results = [
            ("start_logits", output.start_logits),
            ("end_logits", output.end_logits),
        ];
        Ok(named(results, output.hidden_states, output.attentions))
    }
}

fn logits(output: HeadOutput) -> Named {
    named(
        [("logits", output.logits)],
        output.hidden_states,
        output.attentions,
    )
}

impl Model for AlbertForMaskedLM {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        self.forward_t(input, train).map(logits)
    }
}

impl Model for AlbertForSequenceClassification {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        self.forward_t(input, train).map(logits)
    }
}

impl Model for AlbertForTokenClassification {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        self.forward_t(input, train).map(logits)
    }
}

impl Model for AlbertForMultipleChoice {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        self.forward_t(input, train).map(logits)
    }
}

impl Model for AlbertForNextSentencePrediction {
    fn run(&self, input: &ModelInput, train: bool) -> candle_core::Result<Named> {
        self.forward_t(input, train).map(logits)
    }
}

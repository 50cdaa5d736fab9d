//! The network on the device that `ALBERT_TEST_DEVICE` names (`cpu` without it, `cuda`, `cuda:N` or
//! `metal`), in each type that a GPU computes in: every output of every head is that of
//! transformers.
//!
//! The models are those of parity.rs. On the CPU half precision goes through Candle's operations
//! here, as it does on a GPU, and not through weights that are stored in it.

mod support;

use albert_model::candle_core::{self, D, DType, Device, Tensor};
use albert_model::candle_nn::{VarBuilder, VarMap};
use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForPreTraining,
    AlbertForQuestionAnswering, AlbertForSequenceClassification, AlbertForTokenClassification,
    AlbertModel, Checkpoint, LoadOptions, ModelInput, Outputs, Pretrained, WeightFormat,
};
use support::{Expected, Model, Named, device, numbers, path, relative_difference};
use tempfile::TempDir;

/// f32 on both sides, each summing in an order of its own, without TF32.
const F32_TOLERANCE: f64 = 1e-4;

/// Cosine between an output and transformers' in f32, all numbers of a tensor as one vector.
const HALF_COSINE: f64 = 0.999;

/// The least cosine with weights in 8 bits, whose rounding these narrow random layers hardly
/// average out. Seen: 0.99993.
const INT8_COSINE: f64 = 0.999;

type Opener = fn(&str, DType) -> anyhow::Result<Box<dyn Model>>;

/// A fixture's model from its tensors in some type: with the arithmetic in that type on the CPU
/// too.
fn open<M: Pretrained + Model + 'static>(
    folder: &str,
    dtype: DType,
) -> anyhow::Result<Box<dyn Model>> {
    let config = AlbertConfig::from_file(path(folder).join("config.json"))?;
    let device = device()?;
    let tensors = candle_core::safetensors::load(path(folder).join("model.safetensors"), &device)?;
    Ok(Box::new(M::new(
        &config,
        VarBuilder::from_tensors(tensors, dtype, &device),
    )?))
}

const MODELS: [(&str, Opener); 12] = [
    ("grouped-model", open::<AlbertModel>),
    ("grouped-pretraining", open::<AlbertForPreTraining>),
    ("grouped-masked-lm", open::<AlbertForMaskedLM>),
    ("grouped-sequence", open::<AlbertForSequenceClassification>),
    ("grouped-token", open::<AlbertForTokenClassification>),
    ("grouped-qa", open::<AlbertForQuestionAnswering>),
    ("grouped-choice", open::<AlbertForMultipleChoice>),
    ("square", open::<AlbertForPreTraining>),
    ("relu", open::<AlbertForPreTraining>),
    ("deep", open::<AlbertForPreTraining>),
    ("uneven", open::<AlbertModel>),
    ("positions", open::<AlbertModel>),
];

/// For each output that was computed: its name, transformers' and ours with zeros at padding, where
/// nobody looks.
fn compared(expected: &Expected, found: &Named) -> anyhow::Result<Vec<(String, Tensor, Tensor)>> {
    let mask = expected
        .given("attention_mask")?
        .expect("every fixture has a mask");
    let at_tokens = |tensor: &Tensor| -> candle_core::Result<Tensor> {
        if !tensor.dims().starts_with(mask.dims()) {
            return Ok(tensor.clone());
        }
        let mut shape = mask.dims().to_vec();
        shape.resize(tensor.rank(), 1);
        tensor.broadcast_mul(
            &mask
                .reshape(shape)?
                .to_dtype(tensor.dtype())?
                .to_device(tensor.device())?,
        )
    };
    let outputs = found.iter().map(|(name, found)| {
        let expected = &expected.tensors[&format!("output.{name}")];
        Ok((name.clone(), at_tokens(expected)?, at_tokens(found)?))
    });
    outputs.collect()
}

fn cosine(a: &Tensor, b: &Tensor) -> candle_core::Result<f64> {
    let (a, b) = (numbers(a)?, numbers(b)?);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    Ok(dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt())
}

fn check_all(
    dtype: DType,
    check: impl Fn(&str, &Tensor, &Tensor) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    for (folder, open) in MODELS {
        let (expected, model) = (Expected::of(folder)?, open(folder, dtype)?);
        // Inference may take other paths if intermediate results are not requested, and where the
        // mask can be read without waiting.
        let inputs = [
            (expected.input_on_device()?, Outputs::all()),
            (expected.input_on_device()?, Outputs::empty()),
            (expected.input_with_mask_on_cpu()?, Outputs::empty()),
            (expected.input_with_mask_on_cpu()?, Outputs::all()),
        ];
        for (input, outputs) in inputs {
            let input = input.with_outputs(outputs);
            let found = model.run(&input, false)?;
            let asked = expected
                .tensors
                .keys()
                .filter(|name| name.starts_with("output."))
                .count();
            assert!(
                !outputs.is_all() || found.len() == asked,
                "{folder}: {:?}",
                found.keys()
            );
            for (name, expected, found) in compared(&expected, &found)? {
                check(
                    &format!("`{name}` of {folder} in {dtype:?}, {outputs:?}"),
                    &expected,
                    &found,
                )?;
            }
        }
    }
    Ok(())
}

#[test]
fn outputs_in_f32_are_those_of_transformers() -> anyhow::Result<()> {
    check_all(DType::F32, |name, expected, found| {
        let difference = relative_difference(expected, found)?;
        assert!(
            difference <= F32_TOLERANCE,
            "{name}: off by {difference:.1e}"
        );
        if name.contains("logits") {
            assert_eq!(
                numbers(&expected.argmax(D::Minus1)?)?,
                numbers(&found.argmax(D::Minus1)?)?,
                "{name}"
            );
        }
        Ok(())
    })
}

#[test]
fn outputs_in_half_precision_point_the_same_way() -> anyhow::Result<()> {
    for dtype in [DType::F16, DType::BF16] {
        check_all(dtype, |name, expected, found| {
            let cosine = cosine(expected, found)?;
            assert!(cosine >= HALF_COSINE, "{name}: cosine {cosine:.6}");
            Ok(())
        })?;
    }
    Ok(())
}

/// As a program loads it, straight onto the device.
#[test]
fn a_checkpoint_is_loaded_onto_the_device() -> anyhow::Result<()> {
    let (folder, device) = ("grouped-model", device()?);
    let options = LoadOptions::new(device.clone());
    let model = AlbertModel::load(&Checkpoint::from_dir(path(folder))?, &options)?;
    assert!(model.device().same_device(&device));
    let expected = Expected::of(folder)?;
    for (name, expected, found) in
        compared(&expected, &model.run(&expected.input_on_device()?, false)?)?
    {
        assert!(found.device().same_device(&device), "{name}");
        assert!(
            relative_difference(&expected, &found)? <= F32_TOLERANCE,
            "{name}"
        );
    }
    Ok(())
}

/// On a GPU in f32, unless another type is requested.
#[test]
fn a_folder_in_8_bits_is_loaded_onto_any_device() -> anyhow::Result<()> {
    let (folder, device, dir) = ("grouped-model", device()?, TempDir::new()?);
    Checkpoint::from_dir(path(folder))?
        .quantize()?
        .save(dir.path(), WeightFormat::Int8)?;
    let checkpoint = Checkpoint::from_dir(dir.path())?;
    let found = if device.is_cpu() {
        WeightFormat::Int8
    } else {
        WeightFormat::F32
    };
    assert_eq!(checkpoint.weight_format(WeightFormat::Auto, &device), found);
    let options = LoadOptions::new(device.clone());
    let model = AlbertModel::load(&checkpoint, &options)?;
    let expected = Expected::of(folder)?;
    for (name, expected, found) in
        compared(&expected, &model.run(&expected.input_on_device()?, false)?)?
    {
        let cosine = cosine(&expected, &found)?;
        assert!(cosine >= INT8_COSINE, "{name}: cosine {cosine:.6}");
    }
    let asked = options.with_weights(WeightFormat::Int8);
    assert_eq!(
        AlbertModel::load(&checkpoint, &asked).is_ok(),
        device.is_cpu()
    );
    Ok(())
}

/// Also where a row is nothing but padding, where floors of masks add up or softmax has nothing to
/// choose.
#[test]
fn no_type_gives_nan_where_all_or_nothing_is_masked() -> anyhow::Result<()> {
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        for (folder, open) in MODELS
            .iter()
            .filter(|(folder, _)| *folder != "grouped-choice")
        {
            let expected = Expected::of(folder)?;
            let ids = expected
                .given("ids")?
                .expect("every fixture has ids")
                .to_device(&device()?)?;
            let (rows, tokens) = ids.dims2()?;
            let one_row = Tensor::arange(0u32, rows as u32, ids.device())?
                .ne(0u32)?
                .unsqueeze(1)?;
            let one_row = one_row.broadcast_as((rows, tokens))?.contiguous()?;
            let masks = [
                ids.zeros_like()?,
                ids.ones_like()?,
                one_row.to_dtype(DType::U32)?,
            ];
            let on_cpu = masks.iter().map(|mask| mask.to_device(&Device::Cpu));
            for mask in on_cpu.chain(masks.iter().cloned().map(Ok)) {
                let input = ModelInput::new(ids.clone()).with_attention_mask(mask?);
                for (name, tensor) in open(folder, dtype)?.run(&input, false)? {
                    let is_finite = numbers(&tensor)?.iter().all(|number| number.is_finite());
                    assert!(is_finite, "`{name}` of {folder} in {dtype:?}");
                }
            }
        }
    }
    Ok(())
}

/// One layer with heads of some size and random weights that no variable keeps.
fn random_model(head_size: usize, dtype: DType) -> candle_core::Result<AlbertModel> {
    let config = AlbertConfig {
        vocab_size: 50,
        embedding_size: 16,
        hidden_size: 2 * head_size,
        num_attention_heads: 2,
        intermediate_size: 32,
        num_hidden_layers: 1,
        // Ten times the usual one: so small a network would hardly attend to anything in
        // particular.
        initializer_range: 0.2,
        ..AlbertConfig::base_v2()
    };
    let variables = VarMap::new();
    AlbertModel::without_pooler(
        &config,
        VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu),
    )?;
    let variables = variables.data().lock().expect("nobody else has it").clone();
    let tensors = variables
        .into_iter()
        .map(|(name, variable)| Ok((name, variable.as_detached_tensor().to_device(&device()?)?)));
    let tensors = tensors.collect::<candle_core::Result<_>>()?;
    AlbertModel::without_pooler(
        &config,
        VarBuilder::from_tensors(tensors, dtype, &device()?),
    )
}

/// Around the 16 queries of a warp and the 64 queries and keys of a block, of the kernel for CUDA.
const LENGTHS: [usize; 7] = [130, 1, 65, 7, 16, 64, 17];

/// Returns true for a token of the longest sequence that is masked: the first, and every third.
fn is_hole(token: usize) -> bool {
    token.is_multiple_of(3)
}

#[test]
fn padding_is_left_out_and_changes_nothing() -> anyhow::Result<()> {
    let (device, longest) = (device()?, LENGTHS[0]);
    let rows = LENGTHS.iter().enumerate().flat_map(|(row, &length)| {
        (0..longest).map(move |token| u32::from(token < length && !(row == 0 && is_hole(token))))
    });
    let mask = Tensor::from_iter(rows, &Device::Cpu)?.reshape((LENGTHS.len(), longest))?;
    let ids = Tensor::arange(0u32, mask.elem_count() as u32, &device)?.reshape(mask.dims())?;
    let ids = (ids.to_dtype(DType::F32)? * 0.37)?
        .sin()?
        .affine(24.0, 25.0)?
        .to_dtype(DType::U32)?;
    let asked = std::env::var("ALBERT_GPU_KERNELS").unwrap_or_default();
    for (dtype, head_size) in [DType::F32, DType::F16, DType::BF16]
        .into_iter()
        .flat_map(|dtype| [8, 40, 64, 128].map(|size| (dtype, size)))
    {
        let model = random_model(head_size, dtype)?;
        let run = |outputs| -> anyhow::Result<Tensor> {
            let input = ModelInput::new(ids.clone())
                .with_attention_mask(mask.clone())
                .with_outputs(outputs);
            Ok(model
                .forward(&input)?
                .last_hidden_state
                .to_device(&Device::Cpu)?
                .to_dtype(DType::F32)?)
        };
        let is_token = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        let (padded, found) = (run(Outputs::PADDING)?, run(Outputs::empty())?);
        let at_padding = found
            .broadcast_mul(&(1.0 - &is_token)?)?
            .abs()?
            .max_all()?
            .to_scalar::<f32>()?;
        let is_left_out = match (&device, asked.as_str()) {
            (Device::Cpu, "everywhere") | (Device::Cuda(_), "1" | "everywhere") => true,
            (device, _) => matches!(device, Device::Cpu) && dtype == DType::F32,
        };
        assert_eq!(
            at_padding == 0.0,
            is_left_out,
            "{dtype:?}, head size {head_size}"
        );
        let (padded, found) = (
            padded.broadcast_mul(&is_token)?,
            found.broadcast_mul(&is_token)?,
        );
        match dtype {
            DType::F32 => {
                assert!(
                    relative_difference(&padded, &found)? <= F32_TOLERANCE,
                    "head size {head_size}"
                )
            }
            _ => assert!(
                cosine(&padded, &found)? >= HALF_COSINE,
                "{dtype:?}, head size {head_size}"
            ),
        }
    }
    Ok(())
}

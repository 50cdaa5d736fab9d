//! BERT as an ALBERT with a group for each layer: every head's outputs are those of transformers'
//! BERT, in f32, in int8, from every naming, and after a conversion to an ALBERT and back.

mod support;

use std::fs;
use std::path::Path;

use albert_model::candle_core::{self, Device, Tensor};
use albert_model::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForPreTraining, AlbertForQuestionAnswering,
    AlbertForSequenceClassification, AlbertForTokenClassification, AlbertModel, Checkpoint, Head,
    LoadOptions, ModelInput, ModelType, Outputs, Pretrained, WeightFormat,
};
use support::{Expected, Loader, Named, load, path, relative_difference};
use tempfile::TempDir;

/// f32 sums of up to 37 terms in another order, through four layers. Seen: 1.4e-6.
const TOLERANCE: f64 = 1e-5;

/// Cosine of int8 outputs with f32's; these narrow random layers hardly average out the rounding.
const INT8_COSINE: f64 = 0.999;

const HEADS: [(&str, Loader, Head); 7] = [
    ("bert/model", load::<AlbertModel>, Head::Encoder),
    (
        "bert/pretraining",
        load::<AlbertForPreTraining>,
        Head::PreTraining,
    ),
    ("bert/masked-lm", load::<AlbertForMaskedLM>, Head::MaskedLm),
    (
        "bert/sequence",
        load::<AlbertForSequenceClassification>,
        Head::SequenceClassification,
    ),
    (
        "bert/token",
        load::<AlbertForTokenClassification>,
        Head::TokenClassification,
    ),
    (
        "bert/qa",
        load::<AlbertForQuestionAnswering>,
        Head::QuestionAnswering,
    ),
    (
        "bert/choice",
        load::<AlbertForMultipleChoice>,
        Head::MultipleChoice,
    ),
];

fn run(dir: &Path, load: Loader, input: &ModelInput) -> anyhow::Result<Named> {
    let checkpoint = Checkpoint::from_dir(dir)?;
    load(&checkpoint, &LoadOptions::default())?
        .run(input, false)
        .map_err(Into::into)
}

/// Returns the largest relative difference from transformers' outputs.
fn difference(expected: &Expected, found: &Named) -> candle_core::Result<f64> {
    let mut largest = 0.0;
    for (name, found) in found {
        let expected = &expected.tensors[&format!("output.{name}")];
        largest = f64::max(largest, relative_difference(expected, found)?);
    }
    Ok(largest)
}

fn bits(outputs: &Named) -> candle_core::Result<Vec<Vec<f32>>> {
    outputs
        .values()
        .map(|tensor| tensor.flatten_all()?.to_vec1::<f32>())
        .collect()
}

#[test]
fn every_output_of_every_head_is_that_of_transformers() -> anyhow::Result<()> {
    for (folder, load, head) in HEADS {
        let expected = Expected::of(folder)?;
        let input = expected.input()?.with_outputs(Outputs::all());
        let found = run(&path(folder), load, &input)?;
        let outputs = expected.tensors.keys();
        let outputs = outputs.filter(|name| name.starts_with("output.")).count();
        assert_eq!(found.len(), outputs, "{folder}");
        let largest = difference(&expected, &found)?;
        assert!(largest <= TOLERANCE, "{folder}: {largest:.1e}");

        // The fused path, at the tokens that are not padding.
        let input = expected.input()?.with_outputs(Outputs::PADDING);
        let largest = difference(&expected, &run(&path(folder), load, &input)?)?;
        assert!(largest <= TOLERANCE, "{folder}, fused: {largest:.1e}");

        let checkpoint = Checkpoint::from_dir(path(folder))?;
        assert!(checkpoint.heads().contains(&head), "{folder}");
        let report = checkpoint.check(head)?;
        assert!(
            report.renamed.is_empty() && report.unused.is_empty(),
            "{folder}: {report:?}"
        );
    }
    Ok(())
}

#[test]
fn a_bert_has_a_group_for_each_layer_and_no_projection() -> anyhow::Result<()> {
    let checkpoint = Checkpoint::from_dir(path("bert/model"))?;
    let config = checkpoint.config();
    assert_eq!(config.model_type, ModelType::Bert);
    assert_eq!((config.num_hidden_groups, config.inner_group_num), (4, 1));
    assert_eq!(config.embedding_size, config.hidden_size);
    assert!(!config.has_projection());
    let tensors =
        candle_core::safetensors::load(path("bert/model").join("model.safetensors"), &Device::Cpu)?;
    let count: usize = tensors.values().map(Tensor::elem_count).sum();
    assert_eq!(config.parameter_count(Head::Encoder), count);
    Ok(())
}

#[test]
fn the_names_of_2018_and_a_bare_model_give_the_same_bits() -> anyhow::Result<()> {
    let input = Expected::of("bert/pretraining")?.input()?;
    let source = path("bert/pretraining");
    let expected = bits(&run(&source, load::<AlbertForPreTraining>, &input)?)?;
    let dir = TempDir::new()?;
    fs::copy(source.join("config.json"), dir.path().join("config.json"))?;
    fs::copy(
        source.join("pytorch_model_old_names.bin"),
        dir.path().join("pytorch_model.bin"),
    )?;
    let found = bits(&run(dir.path(), load::<AlbertForPreTraining>, &input)?)?;
    assert_eq!(expected, found);
    let report = Checkpoint::from_dir(dir.path())?.check(Head::PreTraining)?;
    assert!(
        report
            .renamed
            .iter()
            .all(|(stored, _)| stored.contains("LayerNorm.gamma")
                || stored.contains("LayerNorm.beta")),
        "{:?}",
        report.renamed
    );
    Ok(())
}

#[test]
fn int8_rounds_every_group() -> anyhow::Result<()> {
    for (folder, load, _) in HEADS {
        let input = Expected::of(folder)?.input()?;
        let exact = run(&path(folder), load, &input)?;
        let dir = TempDir::new()?;
        Checkpoint::from_dir(path(folder))?
            .quantize()?
            .save(dir.path(), WeightFormat::Int8)?;
        let saved = Checkpoint::from_dir(dir.path())?;
        assert!(saved.is_quantized(), "{folder}");
        assert_eq!(saved.config().model_type, ModelType::Bert);
        let found = run(dir.path(), load, &input)?;
        for (name, exact) in &exact {
            let dot = |a: &Tensor, b: &Tensor| -> candle_core::Result<f64> {
                let product = (a * b)?.to_dtype(candle_core::DType::F64)?;
                product.sum_all()?.to_scalar::<f64>()
            };
            let found = &found[name];
            let cosine = dot(exact, found)? / (dot(exact, exact)? * dot(found, found)?).sqrt();
            assert!(cosine >= INT8_COSINE, "{folder} `{name}`: {cosine:.5}");
        }
    }
    Ok(())
}

#[test]
fn a_bert_becomes_an_albert_and_a_bert_again_with_the_same_bits() -> anyhow::Result<()> {
    for (folder, load, head) in HEADS {
        let expected = Expected::of(folder)?;
        let input = expected.input()?.with_outputs(Outputs::all());
        let (albert, bert) = (TempDir::new()?, TempDir::new()?);
        Checkpoint::from_dir(path(folder))?
            .with_model_type(ModelType::Albert)?
            .save(albert.path(), WeightFormat::F32)?;
        let converted = Checkpoint::from_dir(albert.path())?;
        assert_eq!(converted.config().model_type, ModelType::Albert);
        assert_eq!(
            converted.config().architectures,
            [head.architecture()],
            "{folder}"
        );
        let outputs = run(albert.path(), load, &input)?;
        let largest = difference(&expected, &outputs)?;
        assert!(largest <= TOLERANCE, "{folder}: {largest:.1e}");

        converted
            .with_model_type(ModelType::Bert)?
            .save(bert.path(), WeightFormat::F32)?;
        let tensors = |dir: &Path| -> anyhow::Result<_> {
            let file = dir.join("model.safetensors");
            Ok(candle_core::safetensors::load(file, &Device::Cpu)?)
        };
        let (source, back) = (tensors(&path(folder))?, tensors(bert.path())?);
        for (name, tensor) in &source {
            // A bare model's file lacks `bert.`, and `save` writes it.
            let found = back.get(name).or_else(|| back.get(&format!("bert.{name}")));
            let found = found.unwrap_or_else(|| panic!("{folder}: no `{name}`"));
            let (tensor, back) = (tensor.flatten_all()?, found.flatten_all()?);
            assert_eq!(
                tensor.to_vec1::<f32>()?,
                back.to_vec1::<f32>()?,
                "{folder} `{name}`"
            );
        }
    }
    Ok(())
}

#[test]
fn an_albert_that_shares_its_layers_becomes_no_bert() -> anyhow::Result<()> {
    for (folder, expected) in [
        ("deep", "found 1 groups of 1"),
        ("relu", "expected embeddings as wide as hidden states, 20"),
    ] {
        let error = Checkpoint::from_dir(path(folder))?
            .with_model_type(ModelType::Bert)
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }
    Ok(())
}

#[test]
fn an_albert_config_beside_a_berts_weights_is_refused() -> anyhow::Result<()> {
    let dir = TempDir::new()?;
    fs::copy(
        path("bert/model").join("model.safetensors"),
        dir.path().join("model.safetensors"),
    )?;
    fs::copy(
        path("grouped-model").join("config.json"),
        dir.path().join("config.json"),
    )?;
    let error = Checkpoint::from_dir(dir.path()).unwrap_err().to_string();
    assert!(error.contains("expected `model_type` \"bert\""), "{error}");
    Ok(())
}

#[test]
fn a_ragged_batch_has_the_bits_of_its_padded_rows() -> anyhow::Result<()> {
    for folder in ["bert/model", "grouped-model"] {
        let model = AlbertModel::load(
            &Checkpoint::from_dir(path(folder))?,
            &LoadOptions::default(),
        )?;
        let lengths = [5usize, 2, 7];
        let ids = |row: usize| (0..lengths[row]).map(move |at| (4 + row * 7 + at) as u32);
        let flat: Vec<u32> = (0..3).flat_map(ids).collect();
        let ragged = ModelInput::ragged(Tensor::new(flat, &Device::Cpu)?, lengths.to_vec());
        let found = model.forward(&ragged)?;
        let mut start = 0;
        for (row, &length) in lengths.iter().enumerate() {
            let alone = Tensor::new(vec![ids(row).collect::<Vec<_>>()], &Device::Cpu)?;
            let alone = model.forward(&ModelInput::new(alone))?;
            let states = found.last_hidden_state.narrow(0, start, length)?;
            assert_eq!(
                alone.last_hidden_state.squeeze(0)?.to_vec2::<f32>()?,
                states.to_vec2::<f32>()?,
                "{folder}"
            );
            let pooled = |tensor: &Option<Tensor>| tensor.clone().expect("a pooler");
            assert_eq!(
                pooled(&alone.pooler_output).get(0)?.to_vec1::<f32>()?,
                pooled(&found.pooler_output).get(row)?.to_vec1::<f32>()?,
                "{folder}"
            );
            start += length;
        }
    }
    Ok(())
}

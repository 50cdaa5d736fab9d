//! BERT as an ALBERT with a group for each layer: every head's outputs are those of transformers'
//! BERT, in f32, in int8, from every naming, and after a conversion to an ALBERT and back.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use albert_model::candle_core::{self, D, DType, Device, Tensor};
use albert_model::{
    AlbertForMaskedLM, AlbertForMultipleChoice, AlbertForNextSentencePrediction,
    AlbertForPreTraining, AlbertForQuestionAnswering, AlbertForSequenceClassification,
    AlbertForTokenClassification, AlbertModel, Checkpoint, Head, LoadOptions, ModelInput,
    ModelType, Outputs, Pretrained, WeightFormat,
};
use serde_json::{Value, json};
use support::{Expected, Loader, Named, load, path, relative_difference};
use tempfile::TempDir;

/// f32 sums of up to 37 terms in another order, through four layers. Seen: 1.4e-6.
const TOLERANCE: f64 = 1e-5;

/// Cosine of int8 outputs with f32's: of hidden states and of logits over the vocabulary. Seen:
/// 0.99976.
const INT8_COSINE: f64 = 0.9995;

/// Cosine of a few logits, in which the rounding of these narrow random layers hardly averages out:
/// the next-sentence head has 8 values in all. Seen: 0.99804.
const INT8_COSINE_OF_FEW: f64 = 0.997;

/// Outputs of fewer columns are a few logits.
const WIDE: usize = 24;

const HEADS: [(&str, Loader, Head); 8] = [
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
    (
        "bert/next-sentence",
        load::<AlbertForNextSentencePrediction>,
        Head::NextSentence,
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
            let is_wide = exact.dim(D::Minus1)? >= WIDE;
            let least = if is_wide {
                INT8_COSINE
            } else {
                INT8_COSINE_OF_FEW
            };
            assert!(cosine >= least, "{folder} `{name}`: {cosine:.5}");
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

#[test]
fn googles_archives_have_the_bits_of_transformers_files() -> anyhow::Result<()> {
    let expected = Expected::of("bert/google")?;
    let input = expected.input()?.with_outputs(Outputs::all());
    let load_both = load::<AlbertForPreTraining>;
    let reference = run(&path("bert/google"), load_both, &input)?;
    assert!(difference(&expected, &reference)? <= TOLERANCE);
    for folder in ["bert/google-tf", "bert/google-tf-two-shards"] {
        let checkpoint = Checkpoint::from_dir(path(folder))?;
        assert_eq!(checkpoint.config().model_type, ModelType::Bert);
        let choices = checkpoint.choices().join("\n");
        assert!(choices.contains("names: Google's of BERT"), "{choices}");
        assert!(
            choices.contains("`bert_config.json` in Google's"),
            "{choices}"
        );
        let report = checkpoint.check(Head::PreTraining)?;
        assert!(report.unused.is_empty(), "{folder}: {:?}", report.unused);
        assert_eq!(
            bits(&run(&path(folder), load_both, &input)?)?,
            bits(&reference)?,
            "{folder}"
        );
    }
    Ok(())
}

#[test]
fn the_heads_of_googles_fine_tuning_scripts_are_served() -> anyhow::Result<()> {
    for (folder, head, unused) in [
        ("bert/google-tf-classifier", Head::SequenceClassification, 3),
        ("bert/google-tf-squad", Head::QuestionAnswering, 2),
    ] {
        let checkpoint = Checkpoint::from_dir(path(folder))?;
        assert!(checkpoint.heads().contains(&head), "{folder}");
        // The step and two slots of the optimizer; the pooler.
        assert_eq!(checkpoint.check(head)?.unused.len(), unused, "{folder}");
    }
    let classifier = Checkpoint::from_dir(path("bert/google-tf-classifier"))?;
    assert_eq!(classifier.config().num_labels(), 3);
    Ok(())
}

/// Writes a folder with this configuration and these tensors.
fn written(config: &str, tensors: &HashMap<String, Tensor>) -> anyhow::Result<TempDir> {
    let dir = TempDir::new()?;
    fs::write(dir.path().join("config.json"), config)?;
    candle_core::safetensors::save(tensors, dir.path().join("model.safetensors"))?;
    Ok(dir)
}

/// Returns the configuration and the tensors of a fixture.
fn parts(folder: &str) -> anyhow::Result<(String, HashMap<String, Tensor>)> {
    let dir = path(folder);
    let tensors = candle_core::safetensors::load(dir.join("model.safetensors"), &Device::Cpu)?;
    Ok((fs::read_to_string(dir.join("config.json"))?, tensors))
}

#[test]
fn names_with_a_root_and_shards_give_the_bits_of_a_bare_model() -> anyhow::Result<()> {
    let input = Expected::of("bert/model")?.input()?;
    let expected = bits(&run(&path("bert/model"), load::<AlbertModel>, &input)?)?;
    let (config, tensors) = parts("bert/model")?;
    assert!(tensors.keys().all(|name| !name.starts_with("bert.")));
    let with_root = |root: &str| -> HashMap<String, Tensor> {
        let named = tensors.iter();
        named
            .map(|(name, tensor)| (format!("{root}{name}"), tensor.clone()))
            .collect()
    };
    // sentence-transformers' and DataParallel's folders add roots of their own.
    for root in ["bert.", "module.bert.", "model."] {
        let dir = written(&config, &with_root(root))?;
        let found = bits(&run(dir.path(), load::<AlbertModel>, &input)?)?;
        assert_eq!(expected, found, "{root}");
    }

    let dir = written(&config, &HashMap::new())?;
    fs::remove_file(dir.path().join("model.safetensors"))?;
    let (mut shards, mut index) = ([HashMap::new(), HashMap::new()], HashMap::new());
    for (name, tensor) in with_root("bert.") {
        let shard = usize::from(name.contains("layer.2") || name.contains("pooler"));
        index.insert(
            name.clone(),
            format!("model-0000{}-of-00002.safetensors", shard + 1),
        );
        shards[shard].insert(name, tensor);
    }
    for (shard, tensors) in shards.iter().enumerate() {
        let file = format!("model-0000{}-of-00002.safetensors", shard + 1);
        candle_core::safetensors::save(tensors, dir.path().join(file))?;
    }
    fs::write(
        dir.path().join("model.safetensors.index.json"),
        json!({"metadata": {}, "weight_map": index}).to_string(),
    )?;
    let found = bits(&run(dir.path(), load::<AlbertModel>, &input)?)?;
    assert_eq!(expected, found);
    Ok(())
}

/// The lists are written by `scripts/check_bert_conversion.py` after transformers' AlbertModel and
/// its heads have loaded such a file and computed the outputs of transformers' BERT.
#[test]
fn an_albert_from_a_bert_has_the_tensors_that_transformers_loads() -> anyhow::Result<()> {
    for (folder, _, head) in HEADS {
        if head == Head::NextSentence {
            continue; // transformers has no such ALBERT.
        }
        let name = folder.trim_start_matches("bert/");
        let list = path("bert-converted").join(format!("{name}.json"));
        let list: Value = serde_json::from_str(&fs::read_to_string(list)?)?;
        let albert = TempDir::new()?;
        Checkpoint::from_dir(path(folder))?
            .with_model_type(ModelType::Albert)?
            .save(albert.path(), WeightFormat::F32)?;
        let config = fs::read_to_string(albert.path().join("config.json"))?;
        let config: Value = serde_json::from_str(&config)?;
        assert_eq!(config, list["config"], "{folder}");

        let (_, bert) = parts(folder)?;
        let found = albert.path().join("model.safetensors");
        let found = candle_core::safetensors::load(found, &Device::Cpu)?;
        let listed = list["tensors"].as_object().expect("an object");
        assert_eq!(found.len(), listed.len(), "{folder}");
        for (name, source) in listed {
            let tensor = &found[name];
            let h = tensor.dim(0)?;
            let expected = match source.as_str().expect("a name") {
                "identity" => Tensor::eye(h, DType::F32, &Device::Cpu)?,
                "zeros" => Tensor::zeros(h, DType::F32, &Device::Cpu)?,
                source => bert[source].clone(),
            };
            assert_eq!(tensor.dims(), expected.dims(), "{folder} `{name}`");
            let values = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
            assert_eq!(values(tensor)?, values(&expected)?, "{folder} `{name}`");
        }
    }
    Ok(())
}

/// Returns the error of opening and checking a model for its encoder.
fn refusal(config: &str, tensors: &HashMap<String, Tensor>) -> anyhow::Result<String> {
    let dir = written(config, tensors)?;
    let refused = Checkpoint::from_dir(dir.path()).and_then(|it| it.check(Head::Encoder));
    Ok(refused.expect_err("a refusal").to_string())
}

#[test]
fn relatives_of_bert_are_refused_by_name() -> anyhow::Result<()> {
    let (config, tensors) = parts("bert/model")?;
    let config: Value = serde_json::from_str(&config)?;
    let with = |key: &str, value: Value| {
        let mut config = config.clone();
        config[key] = value;
        config.to_string()
    };
    for (model_type, expected) in [
        ("roberta", "counts positions from its padding id"),
        ("xlm-roberta", "counts positions from its padding id"),
        ("distilbert", "neither token types nor a pooler"),
        ("electra", "an ELECTRA has no pooler"),
        ("deberta-v2", "disentangled attention"),
        ("mpnet", "relative position biases"),
        ("nomic_bert", "rotary positions"),
        ("modernbert", "rotary positions"),
    ] {
        let error = refusal(&with("model_type", json!(model_type)), &tensors)?;
        assert!(error.contains("`model_type`"), "{error}");
        assert!(error.contains(expected), "{model_type}: {error}");
    }
    for (key, value, expected) in [
        ("is_decoder", json!(true), "expected false: decoders"),
        (
            "add_cross_attention",
            json!(true),
            "expected false: decoders",
        ),
        (
            "position_embedding_type",
            json!("relative_key_query"),
            "expected \"absolute\"",
        ),
    ] {
        let error = refusal(&with(key, value), &tensors)?;
        assert!(error.contains(&format!("`{key}`")), "{error}");
        assert!(error.contains(expected), "{error}");
    }

    // A configuration of 2019 has no model type, and one that lies is found out by the weights.
    let mut old = config.clone();
    let fields = old.as_object_mut().expect("an object");
    fields.remove("model_type");
    fields.insert("architectures".into(), json!(["RobertaModel"]));
    let error = refusal(&old.to_string(), &tensors)?;
    assert!(
        error.contains("`architectures`") && error.contains("a RoBERTa"),
        "{error}"
    );
    let named = |root: &str| -> HashMap<String, Tensor> {
        let renamed = tensors.iter();
        renamed
            .map(|(name, tensor)| (format!("{root}.{name}"), tensor.clone()))
            .collect()
    };
    let error = refusal(&config.to_string(), &named("roberta"))?;
    assert!(
        error.contains("holds neither an ALBERT nor a BERT: a RoBERTa"),
        "{error}"
    );
    Ok(())
}

#[test]
fn tensors_that_no_bert_has_are_refused() -> anyhow::Result<()> {
    let (config, tensors) = parts("bert/model")?;
    for part in [
        "crossattention.self.query.weight",
        "attention.self.distance_embedding.weight",
    ] {
        let mut more = tensors.clone();
        let name = format!("encoder.layer.1.{part}");
        more.insert(name.clone(), tensors["pooler.dense.weight"].clone());
        let error = refusal(&config, &more)?;
        let expected = format!("tensor `{name}`");
        assert!(error.contains(&expected), "{error}");
        assert!(
            error.ends_with("does not belong to a model with `num_hidden_layers` 4"),
            "{error}"
        );
    }
    let fewer = config.replace("\"num_hidden_layers\": 4", "\"num_hidden_layers\": 3");
    let error = refusal(&fewer, &tensors)?;
    assert!(
        error.ends_with("does not belong to a model with `num_hidden_layers` 3"),
        "{error}"
    );

    let mut less = tensors.clone();
    less.remove("encoder.layer.2.output.dense.bias");
    let error = refusal(&config, &less)?;
    assert!(
        error.contains("has no tensor `bert.encoder.layer.2.output.dense.bias`"),
        "{error}"
    );
    let foreign = HashMap::from([("x".to_string(), tensors["pooler.dense.bias"].clone())]);
    let error = refusal(&config, &foreign)?;
    assert!(
        error.contains("is not a BERT checkpoint: expected `bert.embeddings."),
        "{error}"
    );
    let (_, albert) = parts("grouped-model")?;
    let error = refusal(&config, &albert)?;
    assert!(
        error.ends_with(
            "holds an ALBERT, and its configuration describes a BERT: expected `model_type` \"albert\""
        ),
        "{error}"
    );
    Ok(())
}

//! Model folders as they are found: other spellings load to the same model, and what is broken,
//! missing or hostile is refused by name.

mod support;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use albert_model::candle_core::{DType, Device, Tensor, safetensors};
use albert_model::candle_nn::loss::cross_entropy;
use albert_model::candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap};
use albert_model::{
    AlbertConfig, AlbertForMaskedLM, AlbertForPreTraining, AlbertForSequenceClassification,
    AlbertForTokenClassification, AlbertModel, Checkpoint, Head, LoadOptions, ModelInput,
    Pretrained, WeightFormat,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Relative to the largest logit: 11 and 8 bits of weight through 10 layers, as in the parity
/// tests.
const F16_TOLERANCE: f32 = 1e-2;
const BF16_TOLERANCE: f32 = 5e-2;

/// Rounding of products from weights in another memory layout, 10 layers deep.
const LAYOUT_TOLERANCE: f64 = 1e-5;

type Tensors = HashMap<String, Tensor>;

const WORDS: &str = "albert.embeddings.word_embeddings.weight";
const QUERY: &str = "albert.encoder.albert_layer_groups.1.albert_layers.0.attention.query.weight";

/// A copy of the pretraining fixture, changed.
fn changed(change: impl FnOnce(&mut Value, &mut Tensors)) -> TempDir {
    let source = support::path("grouped-pretraining");
    let mut config =
        serde_json::from_slice(&fs::read(source.join("config.json")).unwrap()).unwrap();
    let mut tensors = safetensors::load(source.join("model.safetensors"), &Device::Cpu).unwrap();
    change(&mut config, &mut tensors);
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    safetensors::save(&tensors, dir.path().join("model.safetensors")).unwrap();
    dir
}

fn rename(tensors: &mut Tensors, from: &str, to: &str) {
    let tensor = tensors.remove(from).unwrap();
    tensors.insert(to.into(), tensor);
}

fn load<M: Pretrained>(dir: &Path) -> albert_model::Result<M> {
    M::load(&Checkpoint::from_dir(dir)?, &LoadOptions::default())
}

fn message<M: Pretrained>(dir: &Path) -> String {
    let error: Box<dyn std::error::Error> =
        Box::new(load::<M>(dir).err().expect("loading succeeded"));
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn logits(dir: &Path) -> Vec<f32> {
    let model: AlbertForPreTraining = load(dir).unwrap();
    let ids = Tensor::new(&[[2u32, 48, 25, 21, 3]], &Device::Cpu).unwrap();
    let output = model.forward(&ModelInput::new(ids)).unwrap();
    output
        .prediction_logits
        .flatten_all()
        .unwrap()
        .to_vec1()
        .unwrap()
}

#[test]
fn old_norm_names_and_decoder_copies_load_to_the_same_model() {
    let plain = changed(|_, _| ());
    let old = changed(|_, tensors| {
        rename(
            tensors,
            "predictions.LayerNorm.weight",
            "predictions.LayerNorm.gamma",
        );
        rename(
            tensors,
            "predictions.LayerNorm.bias",
            "predictions.LayerNorm.beta",
        );
        rename(tensors, "predictions.bias", "predictions.decoder.bias");
        tensors.insert("predictions.decoder.weight".into(), tensors[WORDS].clone());
        let positions = Tensor::arange(0i64, 24, &Device::Cpu)
            .unwrap()
            .unsqueeze(0)
            .unwrap();
        tensors.insert("albert.embeddings.position_ids".into(), positions);
    });
    assert_eq!(logits(plain.path()), logits(old.path()));

    let report = Checkpoint::from_dir(old.path()).unwrap().report().unwrap();
    let renamed: Vec<_> = report
        .renamed
        .iter()
        .map(|(from, _)| from.as_str())
        .collect();
    assert_eq!(
        renamed,
        [
            "predictions.LayerNorm.beta",
            "predictions.LayerNorm.gamma",
            "predictions.decoder.bias"
        ]
    );
    assert_eq!(
        report.tied,
        [("predictions.decoder.weight".to_string(), WORDS.to_string())]
    );
    assert_eq!(report.unused, ["albert.embeddings.position_ids"]);
    assert!(
        report.missing.is_empty() && report.notes.is_empty(),
        "{report:?}"
    );
}

#[test]
fn a_bare_models_names_load_without_the_prefix() {
    let bare = changed(|_, tensors| {
        let names: Vec<_> = tensors.keys().cloned().collect();
        for name in names {
            match name.strip_prefix("albert.") {
                Some(rest) => rename(tensors, &name, rest),
                None => drop(tensors.remove(&name)),
            }
        }
    });
    let checkpoint = Checkpoint::from_dir(bare.path()).unwrap();
    assert_eq!(checkpoint.heads(), [Head::Encoder]);
    let report = checkpoint.check(Head::Encoder).unwrap();
    assert!(report.used.contains(&"pooler.weight".to_string()));
    assert!(
        report.missing.is_empty() && report.unused.is_empty() && report.renamed.is_empty(),
        "{report:?}"
    );
}

#[test]
fn a_model_without_a_pooler_gives_no_pooled_output() {
    let dir = changed(|_, tensors| {
        tensors.remove("albert.pooler.weight");
        tensors.remove("albert.pooler.bias");
    });
    let checkpoint = Checkpoint::from_dir(dir.path()).unwrap();
    let model = AlbertModel::load(&checkpoint, &LoadOptions::default()).unwrap();
    let report = checkpoint.check(Head::Encoder).unwrap();
    assert_eq!(
        report.missing,
        ["albert.pooler.weight", "albert.pooler.bias"]
    );
    let ids = Tensor::new(&[[2u32, 3]], &Device::Cpu).unwrap();
    assert!(
        model
            .forward(&ModelInput::new(ids))
            .unwrap()
            .pooler_output
            .is_none()
    );
    let message = message::<AlbertForPreTraining>(dir.path());
    assert!(
        message
            .contains("has no weights for AlbertForPreTraining: no tensor `albert.pooler.weight`"),
        "{message}"
    );
}

#[test]
fn a_decoder_that_differs_from_the_table_it_is_tied_to_is_noted() {
    let dir = changed(|_, tensors| {
        let other = (&tensors[WORDS] * 2.0).unwrap();
        tensors.insert("predictions.decoder.weight".into(), other);
    });
    let report = Checkpoint::from_dir(dir.path()).unwrap().report().unwrap();
    assert!(
        report.notes[0].starts_with("`predictions.decoder.weight` differs from"),
        "{report:?}"
    );
    assert_eq!(report.unused, ["predictions.decoder.weight"]);
}

#[test]
fn an_untied_decoder_is_used() {
    let dir = changed(|config, tensors| {
        config["tie_word_embeddings"] = json!(false);
        let zero = tensors[WORDS].zeros_like().unwrap();
        tensors.insert("predictions.decoder.weight".into(), zero);
    });
    let bias = safetensors::load(dir.path().join("model.safetensors"), &Device::Cpu).unwrap();
    let bias: Vec<f32> = bias["predictions.bias"].to_vec1().unwrap();
    assert_eq!(logits(dir.path())[..bias.len()], bias);
}

#[test]
fn half_and_double_precision_files_load() {
    let plain = logits(changed(|_, _| ()).path());
    let largest = plain.iter().fold(0f32, |largest, x| largest.max(x.abs()));
    for (dtype, tolerance) in [
        (DType::F16, F16_TOLERANCE),
        (DType::BF16, BF16_TOLERANCE),
        (DType::F64, 0.0),
    ] {
        let dir = changed(|_, tensors| {
            tensors
                .values_mut()
                .for_each(|t| *t = t.to_dtype(dtype).unwrap())
        });
        assert_eq!(
            Checkpoint::from_dir(dir.path()).unwrap().stored_dtypes(),
            [dtype]
        );
        for (expected, found) in plain.iter().zip(logits(dir.path())) {
            assert!(
                (expected - found).abs() <= tolerance * largest,
                "{dtype:?}: {expected}, {found}"
            );
        }
    }
}

#[test]
fn a_word_embedding_table_in_16_bits_is_offered_as_it_is_stored() {
    let f16 = ("weight_f16", DType::F16, WeightFormat::F16);
    let bf16 = ("weight_bf16", DType::BF16, WeightFormat::BF16);
    for (own, other) in [(f16, bf16), (bf16, f16)] {
        let dir = changed(|_, tensors| {
            tensors
                .values_mut()
                .for_each(|t| *t = t.to_dtype(own.1).unwrap())
        });
        let checkpoint = Checkpoint::from_dir(dir.path()).unwrap();
        let offers = |name: &str, weights: WeightFormat| {
            let vb = checkpoint.var_builder(&LoadOptions::default().with_weights(weights));
            vb.unwrap()
                .pp("albert.embeddings.word_embeddings")
                .contains_tensor(name)
        };
        assert!(offers(own.0, WeightFormat::F32) && offers(own.0, own.2));
        // The other type does not have the values, and weights rounded to it are not those stored.
        assert!(!offers(other.0, WeightFormat::F32) && !offers(own.0, other.2));
        let model: AlbertModel = load(dir.path()).unwrap();
        let table = model.embeddings().word_embeddings().unwrap();
        assert_eq!(table.dtype(), DType::F32);
        let stored = safetensors::load(dir.path().join("model.safetensors"), &Device::Cpu).unwrap();
        let stored = stored[WORDS].to_dtype(DType::F32).unwrap();
        assert_eq!(
            table.to_vec2::<f32>().unwrap(),
            stored.to_vec2::<f32>().unwrap()
        );
    }
}

#[test]
fn a_head_that_was_not_trained_is_an_error_that_names_those_that_were() {
    let dir = changed(|_, _| ());
    let message = message::<AlbertForSequenceClassification>(dir.path());
    assert!(
        message.contains("no tensor `classifier.weight`, `classifier.bias`"),
        "{message}"
    );
    assert!(
        message
            .ends_with("it can serve `AlbertModel`, `AlbertForPreTraining`, `AlbertForMaskedLM`"),
        "{message}"
    );
}

#[test]
fn architectures_tell_whose_classifier_it_is() {
    let dir = changed(|config, tensors| {
        config["architectures"] = json!(["AlbertForTokenClassification"]);
        tensors.insert(
            "classifier.weight".into(),
            Tensor::zeros((2, 21), DType::F32, &Device::Cpu).unwrap(),
        );
        tensors.insert(
            "classifier.bias".into(),
            Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap(),
        );
    });
    load::<AlbertForTokenClassification>(dir.path()).unwrap();
    let message = message::<AlbertForSequenceClassification>(dir.path());
    assert!(
        message.contains("belongs to AlbertForTokenClassification"),
        "{message}"
    );
}

#[test]
fn wrong_shapes_types_and_names_are_refused_with_what_was_expected() {
    let shape = changed(|config, _| config["intermediate_size"] = json!(38));
    assert!(
        message::<AlbertModel>(shape.path()).contains("expected shape [38, 21], found [37, 21]")
    );

    let integers = changed(|_, tensors| {
        let query = tensors[QUERY].to_dtype(DType::I64).unwrap();
        tensors.insert(QUERY.into(), query);
    });
    assert!(
        message::<AlbertModel>(integers.path())
            .contains("expected f16, bf16, f32 or f64, found I64")
    );

    let missing = changed(|_, tensors| drop(tensors.remove(QUERY)));
    let text = message::<AlbertForMaskedLM>(missing.path());
    assert!(
        text.contains(&format!("has no tensor `{QUERY}`: expected all tensors")),
        "{text}"
    );

    let twice = changed(|_, tensors| {
        let norm = tensors["predictions.LayerNorm.weight"].clone();
        tensors.insert("predictions.LayerNorm.gamma".into(), norm);
    });
    assert!(
        message::<AlbertModel>(twice.path()).contains("are both `predictions.LayerNorm.weight`")
    );
}

#[test]
fn a_config_that_speaks_of_fewer_layers_than_the_file_holds_is_refused() {
    for field in ["num_hidden_groups", "inner_group_num"] {
        let dir = changed(|config, _| drop(config.as_object_mut().unwrap().remove(field)));
        let text = message::<AlbertModel>(dir.path());
        assert!(
            text.contains("albert_layers") && text.contains(&format!("`{field}` 1")),
            "{field}: {text}"
        );
    }
}

#[test]
fn a_head_of_another_width_does_not_keep_the_rest_from_loading() {
    let zeros = |rows: usize| Tensor::zeros((rows, 21), DType::F32, &Device::Cpu).unwrap();
    let dir = changed(|_, tensors| {
        tensors.insert("sop_classifier.classifier.weight".into(), zeros(3));
        tensors.insert(
            "sop_classifier.classifier.bias".into(),
            zeros(3).get_on_dim(1, 0).unwrap(),
        );
    });
    let checkpoint = Checkpoint::from_dir(dir.path()).unwrap();
    assert_eq!(checkpoint.heads(), [Head::Encoder, Head::MaskedLm]);
    assert!(
        checkpoint
            .report()
            .unwrap()
            .unused
            .contains(&"sop_classifier.classifier.bias".to_string())
    );
    assert!(
        message::<AlbertForPreTraining>(dir.path())
            .contains("expected shape [2, 21], found [3, 21]")
    );
}

#[test]
fn a_classifier_of_one_row_without_architectures_is_a_choice() {
    let dir = changed(|config, tensors| {
        config.as_object_mut().unwrap().remove("architectures");
        tensors.insert(
            "classifier.weight".into(),
            Tensor::zeros((1, 21), DType::F32, &Device::Cpu).unwrap(),
        );
        tensors.insert(
            "classifier.bias".into(),
            Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap(),
        );
    });
    let heads = Checkpoint::from_dir(dir.path()).unwrap().heads();
    assert!(heads.contains(&Head::MultipleChoice), "{heads:?}");
    assert!(!heads.contains(&Head::SequenceClassification), "{heads:?}");
}

#[test]
fn two_decoder_biases_that_differ_are_noted_and_equal_ones_of_another_type_are_not() {
    let differing = changed(|_, tensors| {
        let other = (&tensors["predictions.bias"] + 1.0).unwrap();
        tensors.insert("predictions.decoder.bias".into(), other);
    });
    let report = Checkpoint::from_dir(differing.path())
        .unwrap()
        .report()
        .unwrap();
    assert!(
        report.notes[0].contains("as in transformers 5"),
        "{report:?}"
    );
    let same = changed(|_, tensors| {
        let copy = tensors["predictions.bias"].to_dtype(DType::F64).unwrap();
        tensors.insert("predictions.decoder.bias".into(), copy);
    });
    assert!(
        Checkpoint::from_dir(same.path())
            .unwrap()
            .report()
            .unwrap()
            .notes
            .is_empty()
    );
}

#[test]
fn trained_weights_become_variables_that_a_new_head_can_be_trained_on() {
    let dir = changed(|_, _| ());
    let checkpoint = Checkpoint::from_dir(dir.path()).unwrap();
    let variables = checkpoint.var_map(&LoadOptions::default()).unwrap();
    let before = variables.all_vars().len();
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let model = AlbertForSequenceClassification::new(checkpoint.config(), vb).unwrap();
    assert_eq!(
        variables.all_vars().len(),
        before + 2,
        "the classifier is new, the rest is not"
    );

    let pretrained: AlbertModel = load(dir.path()).unwrap();
    let input = ModelInput::new(Tensor::new(&[[2u32, 48, 25, 21, 3]], &Device::Cpu).unwrap());
    let states = |model: &AlbertModel| model.forward(&input).unwrap().last_hidden_state;
    let difference =
        support::relative_difference(&states(&pretrained), &states(model.albert())).unwrap();
    assert!(difference <= LAYOUT_TOLERANCE, "{difference:e}");

    let loss = model
        .forward_t(&input, true)
        .unwrap()
        .logits
        .sqr()
        .unwrap()
        .sum_all()
        .unwrap();
    let gradients = loss.backward().unwrap();
    let words = variables.data().lock().unwrap()[WORDS].clone();
    assert!(gradients.get(&words).is_some());
}

#[test]
fn absurd_sizes_are_refused_before_anything_is_allocated() {
    for (field, size) in [
        ("vocab_size", json!(1u64 << 24)),
        ("vocab_size", json!(1u64 << 40)),
        ("num_hidden_groups", json!(4096)),
        ("num_hidden_groups", json!(1u64 << 40)),
        ("inner_group_num", json!(4096)),
        ("max_position_embeddings", json!(u64::MAX)),
    ] {
        let dir = changed(|config, _| config[field] = size);
        let text = message::<AlbertModel>(dir.path());
        let expected = ["expected shape", "no tensor", "expected at most"];
        assert!(
            expected.iter().any(|part| text.contains(part)),
            "{field}: {text}"
        );
    }
}

#[test]
fn broken_folders_are_refused_by_file() {
    let dir = changed(|_, _| ());
    let weights = dir.path().join("model.safetensors");
    let whole = fs::read(&weights).unwrap();

    for length in [0, 7, 8, 100, whole.len() - 1] {
        fs::write(&weights, &whole[..length]).unwrap();
        let text = message::<AlbertModel>(dir.path());
        assert!(
            text.contains("model.safetensors` is not a complete safetensors file"),
            "{length}: {text}"
        );
    }
    fs::write(
        &weights,
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    )
    .unwrap();
    assert!(message::<AlbertModel>(dir.path()).contains("is a Git LFS pointer"));

    fs::remove_file(&weights).unwrap();
    assert!(message::<AlbertModel>(dir.path()).contains("found none of them"));
    fs::write(dir.path().join("tf_model.h5"), "").unwrap();
    assert!(
        message::<AlbertModel>(dir.path()).contains("found `tf_model.h5`, an unsupported format")
    );

    fs::write(
        dir.path().join("config.json"),
        "version https://git-lfs.github.com/spec/v1\n",
    )
    .unwrap();
    assert!(message::<AlbertModel>(dir.path()).contains("config.json` is a Git LFS pointer"));
    fs::write(dir.path().join("config.json"), "{\"hidden_size\": 21,").unwrap();
    assert!(message::<AlbertModel>(dir.path()).contains("config.json` is not valid JSON"));

    fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(message::<AlbertModel>(dir.path()).contains("expected `config.json`, or Google's"));
}

#[test]
fn a_shard_index_cannot_lead_out_of_the_folder_or_lie() {
    let dir = changed(|_, _| ());
    fs::rename(
        dir.path().join("model.safetensors"),
        dir.path().join("shard.safetensors"),
    )
    .unwrap();
    let index = dir.path().join("model.safetensors.index.json");
    for (map, expected) in [
        (
            json!({"weight_map": {WORDS: "../shard.safetensors"}}),
            "files inside the model's folder",
        ),
        (
            json!({"weight_map": {WORDS: "/etc/passwd"}}),
            "files inside the model's folder",
        ),
        (
            json!({"weight_map": {WORDS: 1}}),
            "a file name for every tensor",
        ),
        (
            json!({"weight_map": 3}),
            "an object from tensor names to file names",
        ),
        (
            json!({"weight_map": {"absent": "shard.safetensors"}}),
            "no tensor `absent`",
        ),
        (
            json!({"weight_map": {WORDS: "gone.safetensors"}}),
            "cannot read",
        ),
    ] {
        fs::write(&index, map.to_string()).unwrap();
        let text = message::<AlbertModel>(dir.path());
        assert!(text.contains(expected), "{map}: {text}");
    }
}

/// From an encoder to a classifier that transformers can read, and back.
#[test]
fn a_fine_tuned_model_is_saved_and_loads_again() {
    let source = Checkpoint::from_dir(support::path("grouped-model")).unwrap();
    let variables = source.var_map(&LoadOptions::default()).unwrap();
    let config = AlbertConfig {
        id2label: [(0, "even".to_string()), (1, "odd".to_string())].into(),
        architectures: vec![Head::SequenceClassification.to_string()],
        classifier_dropout_prob: None,
        ..source.config().clone()
    };
    let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let model = AlbertForSequenceClassification::new(&config, vb).unwrap();
    let ids = [[2u32, 5, 6, 3], [2, 7, 8, 3], [2, 5, 9, 3], [2, 7, 4, 3]];
    let input = ModelInput::new(Tensor::new(&ids, &Device::Cpu).unwrap());
    let labels = Tensor::new(&[0u32, 1, 0, 1], &Device::Cpu).unwrap();
    let settings = ParamsAdamW {
        lr: 1e-3,
        ..ParamsAdamW::default()
    };
    let mut optimizer = AdamW::new(variables.all_vars(), settings).unwrap();
    let mut losses = Vec::new();
    for _ in 0..10 {
        let loss = cross_entropy(&model.forward_t(&input, true).unwrap().logits, &labels).unwrap();
        optimizer.backward_step(&loss).unwrap();
        losses.push(loss.to_scalar::<f32>().unwrap());
    }
    assert!(losses[9] < losses[0], "{losses:?}");

    let dir = TempDir::new().unwrap();
    Checkpoint::from_var_map(&config, &variables)
        .unwrap()
        .save(dir.path(), WeightFormat::F32)
        .unwrap();
    // transformers 4.46 refuses a file that does not say so.
    let file = fs::read(dir.path().join("model.safetensors")).unwrap();
    let (_, metadata) = ::safetensors::SafeTensors::read_metadata(&file).unwrap();
    assert_eq!(metadata.metadata().as_ref().unwrap()["format"], "pt");

    let checkpoint = Checkpoint::from_dir(dir.path()).unwrap();
    assert_eq!(checkpoint.config().label(1), "odd");
    let report = checkpoint.check(Head::SequenceClassification).unwrap();
    let loaded =
        AlbertForSequenceClassification::load(&checkpoint, &LoadOptions::default()).unwrap();
    assert!(
        report.unused.is_empty() && report.missing.is_empty(),
        "{report:?}"
    );
    let (expected, found) = (
        model.forward(&input).unwrap().logits,
        loaded.forward(&input).unwrap().logits,
    );
    assert!(support::relative_difference(&expected, &found).unwrap() <= LAYOUT_TOLERANCE);
}

#[test]
fn variables_of_a_config_that_is_not_valid_are_no_checkpoint() {
    let config = AlbertConfig {
        num_attention_heads: 5,
        ..AlbertConfig::base_v2()
    };
    let error = Checkpoint::from_var_map(&config, &VarMap::new())
        .unwrap_err()
        .to_string();
    assert!(error.contains("`num_attention_heads`"), "{error}");
}

//! The steps after the network, compared with sentence-transformers 6.2 and 2.7 and transformers
//! 5.23: modules, windows, precisions. `scripts/make_embedding_fixtures.py` writes the answers.

use std::path::PathBuf;

use albert_tasks::albert_model::WeightFormat;
use albert_tasks::pooling::Stage;
use albert_tasks::tools::convert;
use albert_tasks::{
    EmbedOptions, Embedder, Embedding, Error, ModelFiles, PoolingMode, QuantizedVector, Ranges,
    RunOptions, VectorQuantizer,
};
use serde_json::{Value, json};

use crate::support::{Folder, max_difference, message, options, tiny, tiny_dir};

/// Of the largest value: f32 sums in another order than torch on the CPU. The portable kernels
/// round each product before they add it; of the folder `old`, whose dense layer turns states of
/// about 1 into values of about 0.3, they differ by 1.4e-5.
const TOLERANCE: f32 = 2e-5;

fn fixture(name: &str) -> PathBuf {
    tiny_dir().with_file_name("embeddings").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn vectors(value: &Value) -> Vec<Vec<f32>> {
    serde_json::from_value(value.clone()).unwrap()
}

/// The tiny model with the modules of a case.
fn folder(case: &str) -> Folder {
    let mut folder = Folder::new();
    for entry in std::fs::read_dir(fixture(case)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            for file in std::fs::read_dir(&path).unwrap() {
                let file = file.unwrap().path();
                let inside = format!("{name}/{}", file.file_name().unwrap().to_str().unwrap());
                folder = folder.with(&inside, std::fs::read(&file).unwrap());
            }
        } else if name != "reference.json" {
            folder = folder.with(&name, std::fs::read(&path).unwrap());
        }
    }
    folder
}

fn embedder(folder: &Folder) -> Embedder {
    Embedder::load(&folder.files(), &RunOptions::default()).unwrap()
}

fn assert_close(found: &[Embedding], expected: &[Vec<f32>], what: &str) {
    assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .flatten()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        let difference = max_difference(&found.vector, expected);
        assert!(difference <= TOLERANCE * largest, "{what}: {difference}");
    }
}

#[test]
fn modules_agree_with_sentence_transformers() {
    for case in ["dense", "many", "prompted", "old"] {
        let (folder, reference) = (folder(case), json(&format!("{case}/reference.json")));
        let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
        let plain = embedder(&folder).embed(&texts).unwrap();
        assert_close(&plain, &vectors(&reference["vectors"]), case);
        let normalized = embedder(&folder)
            .with_normalize(true)
            .embed(&texts)
            .unwrap();
        assert_close(&normalized, &vectors(&reference["normalized"]), case);
        let dim = reference["dim"].as_u64().unwrap() as usize;
        let cut = embedder(&folder).with_truncate_dim(dim).unwrap();
        assert_eq!(cut.dim(), dim);
        assert_close(
            &cut.embed(&texts).unwrap(),
            &vectors(&reference["cut"]),
            case,
        );
    }
}

#[test]
fn every_activation_agrees() {
    let reference = json("activations/reference.json");
    let texts: Vec<String> = serde_json::from_value(reference["texts"].clone()).unwrap();
    let activations = reference["activations"].as_object().unwrap();
    assert_eq!(activations.len(), 10);
    for (name, expected) in activations {
        let folder = folder("activations").edit("2_Dense/config.json", |config| {
            config["activation_function"] = json!(name)
        });
        assert_close(
            &embedder(&folder).embed(&texts).unwrap(),
            &vectors(expected),
            name,
        );
    }
}

#[test]
fn a_folders_description_tells_its_modules() {
    let many = embedder(&folder("many"));
    let pooling = many.pooling();
    assert_eq!(pooling.stages.len(), 5);
    assert!(matches!(
        pooling.stages[0],
        Stage::Dense {
            in_features: 48,
            residual: true,
            ..
        }
    ));
    assert_eq!(pooling.stages[3], Stage::Normalize);
    assert!(!pooling.normalize);
    assert_eq!(many.dim(), 12);
    assert_eq!(pooling.why, "cls + mean by 1_Pooling/config.json");
    let stages: Vec<String> = pooling.stages.iter().map(ToString::to_string).collect();
    assert_eq!(
        stages[0],
        "Dense 48 to 48, gelu, residual, by 2_Dense/config.json"
    );
    assert_eq!(stages[1], "LayerNorm 48, by 3_LayerNorm/config.json");
    let prompted = embedder(&folder("prompted"));
    assert_eq!(
        (prompted.dim(), prompted.pooling().truncate_dim),
        (9, Some(9))
    );
    assert_eq!(
        prompted.pooling().prompt.as_deref(),
        Some("the king said: ")
    );
}

#[test]
fn a_converted_folder_keeps_its_modules() {
    let (many, target) = (folder("many"), tempfile::tempdir().unwrap());
    convert(&many.files(), target.path(), WeightFormat::F32).unwrap();
    let converted = ModelFiles::from_dir(target.path()).unwrap();
    let converted = Embedder::load(&converted, &RunOptions::default()).unwrap();
    assert_eq!(
        converted.embed(&["the river"]).unwrap(),
        embedder(&many).embed(&["the river"]).unwrap()
    );
}

#[test]
fn a_prompt_of_the_caller_replaces_the_models() {
    let folder = folder("prompted");
    let embed = |prompt: &str, text: &str| {
        embedder(&folder)
            .with_prompt(prompt)
            .embed(&[text])
            .unwrap()
    };
    assert_eq!(
        embed("the king said: ", "a b"),
        embedder(&folder).embed(&["a b"]).unwrap()
    );
    assert_eq!(
        embed("", "the king said: a b"),
        embedder(&folder).embed(&["a b"]).unwrap()
    );
}

#[test]
fn dense_layers_that_cannot_be_computed_are_refused_by_name() {
    let file = "2_Dense/config.json";
    let edited = |key: &'static str, value: Value| {
        let folder = folder("dense").edit(file, move |config| config[key] = value);
        message(Embedder::load(&folder.files(), &RunOptions::default()))
    };
    for unknown in [
        "torch.nn.modules.activation.Softplus",
        "modeling.Tanh",
        "Tanh",
    ] {
        assert_eq!(
            edited("activation_function", json!(unknown)),
            format!(
                "`activation_function` in `{file}`: expected one of torch.nn's Tanh, Identity, ReLU, GELU, Sigmoid, \
                 SiLU, LeakyReLU, ReLU6, Hardswish, Mish, found \"{unknown}\""
            )
        );
    }
    assert_eq!(
        edited("module_input_name", json!("token_embeddings")),
        format!(
            "`module_input_name` in `{file}`: expected `sentence_embedding`, the pooled vector, found \
             \"token_embeddings\""
        )
    );
    assert_eq!(
        edited("in_features", json!(25)),
        format!(
            "`in_features` in `{file}`: expected 24, the output width of the previous module, \
             found 25"
        )
    );
    assert_eq!(
        edited("out_features", json!(0)),
        format!("`out_features` in `{file}`: expected a width of at least 1, found 0")
    );
    assert_eq!(
        edited("out_features", json!(17)),
        "tensor `linear.weight` in `2_Dense/model.safetensors`: expected shape [17, 24], found [16, 24]"
    );
    assert_eq!(
        edited("bias", json!(false)),
        "`2_Dense/model.safetensors` holds the tensor `linear.bias`: expected only `linear.weight`"
    );
    let without = folder("dense").without("2_Dense/model.safetensors");
    assert!(
        message(Embedder::load(&without.files(), &RunOptions::default()))
            .contains("found neither file")
    );
    let cut = folder("dense").with("2_Dense/model.safetensors", "cut");
    assert!(
        message(Embedder::load(&cut.files(), &RunOptions::default()))
            .contains("2_Dense/model.safetensors")
    );
    let other = message(embedder(&folder("many")).with_pooling(PoolingMode::Mean));
    assert!(
        other.ends_with("expected 24, the output width of the previous module, found 48"),
        "{other}"
    );
}

#[test]
fn windows_agree_with_their_formula_over_the_networks_vectors() {
    let reference = json("windows.json");
    let text = reference["text"].as_str().unwrap();
    for case in reference["cases"].as_array().unwrap() {
        for (mode, expected) in case["vectors"].as_object().unwrap() {
            let include_prompt = case["include_prompt"].clone();
            let folder = Folder::new()
                .modules(&[("Transformer", ""), ("Pooling", "1_Pooling")])
                .edit("1_Pooling/config.json", |config| {
                    config["include_prompt"] = include_prompt
                });
            let load = |batch_tokens| {
                Embedder::load(&folder.files(), &options(None, batch_tokens))
                    .unwrap()
                    .with_pooling(mode.parse().unwrap())
                    .unwrap()
                    .with_prompt(case["prompt"].as_str().unwrap())
                    .with_stride(case["stride"].as_u64().unwrap() as usize)
                    .unwrap()
            };
            let found = load(2048).embed(&["the river", text]).unwrap();
            let what = format!("{mode}, stride {}", case["stride"]);
            assert_close(
                &found[1..],
                &[serde_json::from_value(expected.clone()).unwrap()],
                &what,
            );
            assert_eq!(
                (json!(found[1].tokens), found[1].truncated),
                (case["tokens"].clone(), false)
            );
            assert_eq!(
                load(0).embed(&[text]).unwrap(),
                found[1..],
                "{what}: another batch, other bits"
            );
        }
    }
}

#[test]
fn options_of_a_call_apply_to_the_vectors_of_tokens() {
    let plain = embedder(&folder("prompted"));
    let options = EmbedOptions::default()
        .with_prompt("the river ")
        .with_normalize(true)
        .with_truncate_dim(3);
    let set = embedder(&folder("prompted"))
        .with_prompt("the river ")
        .with_normalize(true)
        .with_truncate_dim(3)
        .unwrap();
    let texts = ["and the town"];
    let called = plain.embed_tokens_with(&texts, &options).unwrap();
    assert_eq!(called, set.embed_tokens(&texts).unwrap());
    assert_ne!(called, plain.embed_tokens(&texts).unwrap());
    let wrong = EmbedOptions::default().with_truncate_dim(0);
    assert!(plain.embed_tokens_with(&texts, &wrong).is_err());
}

#[test]
fn a_text_that_fits_is_the_same_with_and_without_windows() {
    let texts = ["the river", "", "The train leaves the station at nine."];
    let plain = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    let windowed = Embedder::load(&tiny(), &RunOptions::default())
        .unwrap()
        .with_stride(5)
        .unwrap();
    assert_eq!(
        plain.embed(&texts).unwrap(),
        windowed.embed(&texts).unwrap()
    );
    assert_eq!(
        plain.embed_tokens(&texts).unwrap(),
        windowed.embed_tokens(&texts).unwrap()
    );
}

#[test]
fn the_tokens_of_a_long_text_have_one_vector_each_and_pool_to_its_embedding() {
    let reference = json("windows.json");
    let text = reference["text"].as_str().unwrap();
    let embedder = Embedder::load(&tiny(), &RunOptions::default())
        .unwrap()
        .with_stride(12)
        .unwrap();
    let embedder = embedder
        .with_pooling(PoolingMode::Mean)
        .unwrap()
        .with_normalize(false);
    let tokens = embedder.embed_tokens(&[text]).unwrap().remove(0);
    let whole = embedder.tokenizer().encode(text, None, None).unwrap();
    assert_eq!(tokens.pieces, whole.pieces);
    assert_eq!(tokens.vectors.len(), whole.ids.len());
    let embedding = embedder.embed(&[text]).unwrap().remove(0);
    assert_eq!(tokens.tokens, embedding.tokens);
    let mean = |dim: usize| {
        tokens.vectors.iter().map(|vector| vector[dim]).sum::<f32>() / whole.ids.len() as f32
    };
    let mean: Vec<f32> = (0..embedder.dim()).map(mean).collect();
    assert_close(&[embedding], &[mean], "tokens");
}

#[test]
fn windows_that_would_not_move_on_and_pairs_are_refused() {
    let load = || Embedder::load(&tiny(), &options(Some(12), 64)).unwrap();
    load().with_stride(9).unwrap();
    assert_eq!(
        message(load().with_stride(10)),
        "stride 10: expected less than the 10 tokens of text in a window"
    );
    let prompted = || load().with_prompt("the river and the town");
    prompted().with_stride(4).unwrap();
    assert_eq!(
        message(prompted().with_stride(5)),
        "stride 5: expected less than the 5 tokens of text in a window"
    );
    let crowded = load().with_prompt("the river and the town and the river and the town");
    assert!(message(crowded.with_stride(0)).starts_with("the prompt takes "));
    // A prompt that comes after the stride is checked where it matters.
    let late = load().with_stride(9).unwrap().with_prompt("the river");
    assert!(matches!(
        late.embed(&["the river ".repeat(20)]),
        Err(Error::Stride { stride: 9, room: 8 })
    ));
    let pairs = load().with_stride(0).unwrap().embed(&[("a", "b")]);
    assert_eq!(
        message(pairs),
        "pairs are not read in windows: expected single texts"
    );
}

#[test]
fn bytes_agree_with_quantize_embeddings() {
    let reference = json("precision.json");
    let embeddings = vectors(&reference["embeddings"]);
    let mut calibration = Ranges::new(11);
    vectors(&reference["calibration"])
        .iter()
        .for_each(|vector| calibration.add(vector).unwrap());
    for (name, expected) in reference["quantized"].as_object().unwrap() {
        let quantizer = match name.as_str() {
            "int8" => VectorQuantizer::int8(calibration.clone()).unwrap(),
            "uint8" => VectorQuantizer::uint8(calibration.clone()).unwrap(),
            "binary" => VectorQuantizer::binary(),
            _ => VectorQuantizer::ubinary(),
        };
        let found: Vec<QuantizedVector> = embeddings
            .iter()
            .map(|vector| quantizer.quantize(vector).unwrap())
            .collect();
        assert_eq!(json!(found), *expected, "{name}");
        assert_eq!(
            matches!(&found[0], QuantizedVector::U8(_)),
            name.starts_with('u')
        );
    }
}

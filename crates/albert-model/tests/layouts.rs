//! One small model in every layout that checkpoints come in gives the same numbers through every
//! reader, and what is not a checkpoint is refused with the reason.
//!
//! `scripts/make_layout_fixtures.py` wrote the files; their weights have seven bits of mantissa,
//! which every stored type holds exactly.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use albert_model::candle_core::{DType, Tensor};
use albert_model::{
    AlbertForPreTraining, AlbertForSequenceClassification, AlbertModel, Checkpoint, Head,
    LoadOptions, LoadReport, Outputs, Pretrained, WeightFormat,
};
use support::{Expected, Model, Named, relative_difference};
use tempfile::TempDir;

/// f32 on both sides, transformers on the CPU, as in the parity tests.
const TOLERANCE: f64 = 1e-5;

/// The layouts of one model, whose outputs are in the same folder.
const LAYOUTS: [&str; 25] = [
    "safetensors-single",
    "safetensors-sharded",
    "bin-zip",
    "bin-legacy",
    "bin-sharded",
    "bin-module",
    "bin-wrapped",
    "bin-old-names",
    "bin-half",
    "bin-bf16",
    "bin-double",
    "bin-noncontiguous",
    "bin-noncontiguous-legacy",
    "bin-ordereddict-parameter",
    "bin-decoder-copies",
    "bin-objects",
    "bin-objects-legacy",
    "bin-protocol-4",
    "bin-named-safetensors",
    "safetensors-named-bin",
    "safetensors-any-root",
    "peft-unmerged",
    "google-tf",
    "google-tf-module",
    "google-tf-two-shards",
];

fn layout(name: &str) -> PathBuf {
    support::path("layouts").join(name)
}

fn load<M: Pretrained>(dir: &Path) -> (M, LoadReport) {
    let checkpoint =
        Checkpoint::from_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let model = M::load(&checkpoint, &LoadOptions::default())
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    (model, checkpoint.check(M::HEAD).unwrap())
}

/// All outputs of the model in a folder for the given inputs.
fn outputs(dir: &Path, expected: &Expected) -> Named {
    let input = expected.input().unwrap().with_outputs(Outputs::PADDING);
    let mut outputs = load::<AlbertModel>(dir).0.run(&input, false).unwrap();
    if Checkpoint::from_dir(dir)
        .unwrap()
        .heads()
        .contains(&Head::PreTraining)
    {
        outputs.extend(
            load::<AlbertForPreTraining>(dir)
                .0
                .run(&input, false)
                .unwrap(),
        );
    }
    outputs
}

fn assert_expected(name: &str, expected: &Expected, found: &Named) {
    for (output, tensor) in &expected.tensors {
        let Some(output) = output.strip_prefix("output.") else {
            continue;
        };
        let difference = relative_difference(tensor, &found[output]).unwrap();
        assert!(
            difference <= TOLERANCE,
            "`{output}` of {name} is off by {difference:.1e}"
        );
    }
}

fn bits(tensor: &Tensor) -> Vec<u32> {
    tensor
        .flatten_all()
        .unwrap()
        .to_vec1::<f32>()
        .unwrap()
        .into_iter()
        .map(f32::to_bits)
        .collect()
}

fn assert_identical(name: &str, expected: &Named, found: &Named) {
    assert_eq!(
        expected.keys().collect::<Vec<_>>(),
        found.keys().collect::<Vec<_>>(),
        "{name}"
    );
    for (output, tensor) in expected {
        assert!(
            bits(tensor) == bits(&found[output]),
            "`{output}` of {name} differs"
        );
    }
}

fn error_of(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Returns the error of opening or loading a folder's model.
fn refusal(dir: &Path) -> String {
    let checkpoint = match Checkpoint::from_dir(dir) {
        Ok(checkpoint) => checkpoint,
        Err(error) => return error_of(&error),
    };
    match checkpoint.var_map(&LoadOptions::default()) {
        Ok(_) => error_of(
            &AlbertModel::load(&checkpoint, &LoadOptions::default()).expect_err("it loads"),
        ),
        Err(error) => error_of(&error),
    }
}

#[test]
fn every_layout_gives_the_numbers_of_transformers_and_all_give_the_same() {
    let expected = Expected::of("layouts").unwrap();
    let first = outputs(&layout(LAYOUTS[0]), &expected);
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        ["last_hidden_state", "logits", "pooler_output", "sop_logits"]
    );
    assert_expected(LAYOUTS[0], &expected, &first);
    for name in &LAYOUTS[1..] {
        let mut first = first.clone();
        if *name == "google-tf-module" {
            // TensorFlow Hub's have no heads.
            first.retain(|output, _| !output.ends_with("logits"));
        }
        assert_identical(name, &first, &outputs(&layout(name), &expected));
    }
}

#[test]
fn models_with_numbers_of_their_own_give_them() {
    for name in ["google-tf-no-projection", "plbert", "kokoro"] {
        let expected = Expected::of(&format!("layouts/{name}")).unwrap();
        assert_expected(name, &expected, &outputs(&layout(name), &expected));
    }
}

#[test]
fn memory_and_folder_give_the_same_tensors() {
    for name in ["bin-zip", "bin-legacy"] {
        let config = fs::read_to_string(layout(name).join("config.json")).unwrap();
        let bytes = fs::read(layout(name).join("pytorch_model.bin")).unwrap();
        let memory = Checkpoint::from_bytes(&config, bytes, "memory").unwrap();
        let (memory, folder) = (
            memory.report().unwrap(),
            load::<AlbertModel>(&layout(name)).1,
        );
        assert!(folder.used.iter().all(|name| memory.used.contains(name)));
    }
}

#[test]
fn the_report_says_what_was_chosen_and_taken_off() {
    let cases: [(&str, &[&str]); 13] = [
        (
            "safetensors-single",
            &["weights: `model.safetensors`, the only file with weights"],
        ),
        ("bin-legacy", &["format: PyTorch legacy"]),
        (
            "bin-sharded",
            &[
                "weights: `pytorch_model.bin.index.json`",
                "format: 2 shards",
                "format: PyTorch zip",
            ],
        ),
        ("bin-module", &["names: `module.albert.` removed"]),
        (
            "bin-wrapped",
            &[
                "the tensors under `state_dict`; not read, next to them: `epoch`",
                "`model.albert.` removed",
            ],
        ),
        (
            "google-tf",
            &[
                "weights: `model.ckpt-best.index`",
                "`hidden_act` \"gelu\" in `albert_config.json`, by which Google means gelu_new",
                "names: Google's",
                "ignored: 5 tensors of the optimizer",
            ],
        ),
        (
            "bin-objects",
            &[
                "the tensors under `weights`; not read, next to them: `best`",
                "not read: objects from",
                "`argparse.Namespace`",
                "nothing in a file is executed",
            ],
        ),
        (
            "bin-named-safetensors",
            &["PyTorch zip, despite the safetensors file name"],
        ),
        (
            "safetensors-named-bin",
            &["safetensors, despite the PyTorch file name"],
        ),
        (
            "safetensors-any-root",
            &["names: `trainer.student.core.` removed"],
        ),
        (
            "peft-unmerged",
            &[
                "LoRA merged into 2 weights",
                "names: `base_model.model.albert.` removed",
            ],
        ),
        (
            "google-tf-no-projection",
            &["identity for `albert.encoder.embedding_hidden_mapping_in`"],
        ),
        (
            "plbert",
            &[
                "the `model_params` of `config.yml`",
                "under `net`",
                "`module.encoder.` removed",
            ],
        ),
    ];
    for (name, expected) in cases {
        let choices = Checkpoint::from_dir(layout(name))
            .unwrap()
            .report()
            .unwrap()
            .choices;
        for part in expected {
            assert!(
                choices.iter().any(|choice| choice.contains(part)),
                "{name}: no {part} in {choices:#?}"
            );
        }
    }
}

#[test]
fn nothing_is_missing_and_what_is_unused_is_named() {
    let strays = |name: &str| -> Vec<String> {
        let report = Checkpoint::from_dir(layout(name))
            .unwrap()
            .report()
            .unwrap();
        assert!(
            report.missing.is_empty() && report.notes.is_empty(),
            "{name}: {report:#?}"
        );
        report.unused
    };
    for name in LAYOUTS {
        let expected: &[&str] = match name {
            "bin-old-names" => &["albert.embeddings.position_ids"],
            "bin-objects" | "bin-objects-legacy" => {
                &["extra.complex", "extra.object", "extra.quantized"]
            }
            "google-tf" | "google-tf-two-shards" => &[
                "bert/pooler/dense/kernel/adam_m",
                "bert/pooler/dense/kernel/adam_v",
                "cls/predictions/output_bias/adam_m",
                "cls/predictions/output_bias/adam_v",
                "global_step",
            ],
            _ => &[],
        };
        assert_eq!(strays(name), expected, "{name}");
    }
    let expected = [
        "module.encoder.embeddings.position_ids",
        "module.mask_predictor.bias",
        "module.mask_predictor.weight",
        "module.word_predictor.bias",
        "module.word_predictor.weight",
    ];
    assert_eq!(strays("plbert"), expected);
    assert!(strays("google-tf-no-projection").is_empty());
}

#[test]
fn a_hugging_face_config_beside_tensorflow_is_followed_and_googles_goes_before_it() {
    let dir = TempDir::new().unwrap();
    for entry in fs::read_dir(layout("google-tf")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let config = fs::read_to_string(layout("bin-zip").join("config.json")).unwrap();
    fs::write(
        dir.path().join("config.json"),
        config.replace("gelu_new", "gelu"),
    )
    .unwrap();
    let google = Checkpoint::from_dir(dir.path()).unwrap();
    assert_eq!(google.config().hidden_act.to_string(), "gelu_new");
    assert!(
        google
            .choices()
            .iter()
            .any(|choice| choice.contains("before `config.json`")),
        "{:?}",
        google.choices()
    );

    fs::remove_file(dir.path().join("albert_config.json")).unwrap();
    let hugging_face = Checkpoint::from_dir(dir.path()).unwrap();
    assert_eq!(hugging_face.config().hidden_act.to_string(), "gelu");
    assert!(
        hugging_face
            .choices()
            .iter()
            .any(|choice| choice.contains("Google trained with the tanh form"))
    );

    // Google's file under the name that other tools ask for.
    fs::copy(
        layout("google-tf").join("albert_config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    assert_eq!(
        Checkpoint::from_dir(dir.path())
            .unwrap()
            .config()
            .hidden_act
            .to_string(),
        "gelu_new"
    );
}

#[test]
fn names_with_dots_after_googles_graph_load_to_the_same_model() {
    let source = layout("google-tf");
    let google = Checkpoint::from_dir(&source).unwrap();
    let variables = google.var_map(&LoadOptions::default()).unwrap();
    let variables = variables.data().lock().unwrap();
    let renamed = google
        .report()
        .unwrap()
        .renamed
        .into_iter()
        .map(|(stored, name)| {
            let name_with_dots = stored
                .replace("attention_1", "attention")
                .replace("ffn_1", "ffn")
                .replace("group_", "group/")
                .replace("_embeddings", "_embeddings/weight")
                .replace("kernel", "weight")
                .replace("gamma", "weight")
                .replace("beta", "bias")
                .replace("predictions/output_bias", "predictions/bias")
                .replace("output_weights", "weight")
                .replace("output_bias", "bias")
                .replace('/', ".");
            (name_with_dots, variables[&name].as_tensor().clone())
        });
    let dir = TempDir::new().unwrap();
    let tensors = renamed.collect();
    albert_model::candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors"))
        .unwrap();
    fs::copy(
        layout("bin-zip").join("config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let expected = Expected::of("layouts").unwrap();
    assert_identical(
        "dots",
        &outputs(&source, &expected),
        &outputs(dir.path(), &expected),
    );
}

#[test]
fn a_classifier_of_google_has_as_many_labels_as_rows() {
    let checkpoint = Checkpoint::from_dir(layout("google-tf-module")).unwrap();
    assert_eq!(checkpoint.config().num_labels(), 3);
    assert!(checkpoint.heads().contains(&Head::SequenceClassification));
    let (_, report) = load::<AlbertForSequenceClassification>(&layout("google-tf-module"));
    assert!(report.renamed.contains(&(
        "output_weights".to_string(),
        "classifier.weight".to_string()
    )));
    assert!(
        report
            .choices
            .iter()
            .any(|choice| choice.starts_with("labels: 3, the rows of `output_weights`"))
    );
}

#[test]
fn other_networks_are_refused_with_the_reason() {
    let text = refusal(&layout("brightmart"));
    assert!(
        text.contains("`bert/embeddings/word_embeddings_2`, a tensor of brightmart's own network"),
        "{text}"
    );
    let text = refusal(&layout("preln"));
    assert!(
        text.contains("`ln_type`") && text.contains("found \"preln\""),
        "{text}"
    );
}

#[test]
fn a_converted_folder_gives_the_same_numbers_from_any_layout() {
    let expected = Expected::of("layouts").unwrap();
    let first = outputs(&layout(LAYOUTS[0]), &expected);
    for name in [
        "bin-legacy",
        "bin-wrapped",
        "bin-noncontiguous",
        "bin-double",
        "google-tf",
    ] {
        for (dtype, stored) in [
            (WeightFormat::F32, DType::F32),
            (WeightFormat::F16, DType::F16),
            (WeightFormat::BF16, DType::BF16),
        ] {
            let dir = TempDir::new().unwrap();
            let converted = dir.path().join("new/folder");
            let source = Checkpoint::from_dir(layout(name)).unwrap();
            source.save(&converted, dtype).unwrap();
            let checkpoint = Checkpoint::from_dir(&converted).unwrap();
            assert_eq!(checkpoint.stored_dtypes(), [stored]);
            assert_eq!(
                checkpoint.heads(),
                [Head::Encoder, Head::PreTraining, Head::MaskedLm]
            );
            assert_eq!(checkpoint.config().architectures, ["AlbertForPreTraining"]);
            let report = checkpoint.report().unwrap();
            assert!(
                report.unused.is_empty() && report.renamed.is_empty() && report.notes.is_empty(),
                "{report:?}"
            );
            assert_identical(name, &first, &outputs(&converted, &expected));
            let mut left: Vec<_> = fs::read_dir(&converted)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            left.sort();
            assert_eq!(left, ["config.json", "model.safetensors"]);
        }
    }
    for name in ["google-tf-no-projection", "kokoro"] {
        let expected = Expected::of(&format!("layouts/{name}")).unwrap();
        let dir = TempDir::new().unwrap();
        Checkpoint::from_dir(layout(name))
            .unwrap()
            .save(dir.path(), WeightFormat::F32)
            .unwrap();
        assert_identical(
            name,
            &outputs(&layout(name), &expected),
            &outputs(dir.path(), &expected),
        );
    }
}

#[test]
fn nothing_is_converted_onto_a_model_or_to_a_type_that_cannot_hold_it() {
    let source = Checkpoint::from_dir(layout("bin-zip")).unwrap();
    for name in ["config.json", "pytorch_model.bin", "tf_model.h5"] {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join(name), "").unwrap();
        let text = source
            .save(dir.path(), WeightFormat::F32)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("already holds a model") && text.contains(name),
            "{text}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
    let dir = TempDir::new().unwrap();
    let mut tensors = albert_model::candle_core::safetensors::load(
        layout("safetensors-single").join("model.safetensors"),
        &albert_model::candle_core::Device::Cpu,
    )
    .unwrap();
    let large = (tensors["albert.pooler.weight"].ones_like().unwrap() * 1e5).unwrap();
    tensors.insert("albert.pooler.weight".into(), large);
    albert_model::candle_core::safetensors::save(&tensors, dir.path().join("model.safetensors"))
        .unwrap();
    fs::copy(
        layout("bin-zip").join("config.json"),
        dir.path().join("config.json"),
    )
    .unwrap();
    let large = Checkpoint::from_dir(dir.path()).unwrap();
    let target = TempDir::new().unwrap();
    let text = large
        .save(target.path(), WeightFormat::F16)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`albert.pooler.weight` overflows F16"),
        "{text}"
    );
    large.save(target.path(), WeightFormat::BF16).unwrap();
}

#[test]
fn an_adapter_and_a_model_saved_whole_are_refused_with_the_way_out() {
    let error = |name: &str| Checkpoint::from_dir(layout(name)).unwrap_err();
    let adapter = error("adapter");
    let text = adapter.to_string();
    assert!(
        text.contains("holds a LoRA adapter for `albert/albert-base-v2`, not a model"),
        "{text}"
    );
    assert!(adapter.hint().unwrap().contains("merge_and_unload"));
    let whole = error("bin-whole-model").to_string();
    assert!(
        whole.contains("`torch.nn.modules.linear.Linear`")
            && whole.contains("torch.save(model.state_dict())"),
        "{whole}"
    );
    // Without its settings the update of an adapter is not known.
    let dir = TempDir::new().unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(layout("peft-unmerged").join(file), dir.path().join(file)).unwrap();
    }
    let unmerged = Checkpoint::from_dir(dir.path()).unwrap_err();
    assert!(
        unmerged
            .to_string()
            .contains("expected `adapter_config.json` next to it"),
        "{unmerged}"
    );
}

#[test]
fn entries_that_are_not_read_are_listed_as_unused() {
    let checkpoint = Checkpoint::from_dir(layout("bin-objects")).unwrap();
    let unused = checkpoint.report().unwrap().unused;
    for name in ["extra.complex", "extra.quantized", "extra.object"] {
        assert!(unused.iter().any(|it| it == name), "{unused:?}");
    }
}

/// The reason of each file of `hostile/cases.json` in the words of the error.
const REFUSALS: [(&str, &str); 52] = [
    ("big-endian.bin", "stores values as big-endian"),
    ("bundle-bad-magic", "magic number at the end"),
    ("bundle-big-endian", "stores values as big-endian"),
    ("bundle-broken-crc", "checksum of a block is wrong"),
    ("bundle-compressed-block", "compressed with Snappy"),
    ("bundle-data-crc", "is damaged: expected the checksum"),
    ("bundle-huge-block", "a block extends past the end"),
    ("bundle-many-shards", "1 to 9999 data files"),
    ("bundle-negative-offset", "from 18446744073709551608 on"),
    ("bundle-negative-size", "of shape [18446744073709551612]"),
    ("bundle-no-header", "its header under the empty name"),
    (
        "bundle-no-such-shard",
        "cannot read `DIR/model.ckpt-best.data-00007-of-00001`",
    ),
    ("bundle-not-an-entry", "the entry of a tensor for `weight`"),
    ("bundle-offset-beyond-data", "in the 16 bytes from 8 on"),
    ("bundle-offset-overflows", "from 9223372036854775800 on"),
    ("bundle-prefix-beyond-key", "a block of keys and values"),
    ("bundle-shape-and-size-differ", "[1048576, 1048576]"),
    ("bundle-shape-overflows", "[4611686018427387904, 8]"),
    ("bundle-short", "at least 48 bytes, found 30"),
    ("bundle-truncated", "magic number at the end"),
    ("bundle-unknown-type", "expected `albert.embeddings"),
    ("cycle.bin", "a dictionary of tensors"),
    ("deep-nesting.bin", "a dictionary of tensors"),
    ("deflated.bin", "compressed entry `archive/data.pkl`"),
    ("doubling.bin", "a dictionary of tensors"),
    ("empty-stack.bin", "a value on the stack"),
    ("empty.bin", "found neither"),
    ("escaping-bin", "files inside the model's folder"),
    ("escaping-safetensors", "files inside the model's folder"),
    ("huge-string.bin", "expected 1152921504606846976 more bytes"),
    ("lfs-pointer.bin", "Git LFS pointer"),
    ("lying-storage-legacy.bin", "extends past the end"),
    ("missing-pickle.bin", "an entry `data.pkl`"),
    ("missing-storage.bin", "no storage `0` in the file"),
    ("negative-offset.bin", "a tensor for `weight`"),
    ("negative-size.bin", "a tensor for `weight`"),
    ("negative-storage-legacy.bin", "extends past the end"),
    ("no-stop.bin", "found the end"),
    ("not-a-dictionary.bin", "a dictionary of tensors"),
    (
        "offset-beyond-storage.bin",
        "exceed storage `0` of 4 elements",
    ),
    ("short-storage.bin", "expected 4 × 4 bytes, found 8"),
    ("storage-path.bin", "no storage `../../../` in the file"),
    (
        "system-legacy.bin",
        "`weight` from `posix.system`; nothing in a file is executed",
    ),
    (
        "system-zip.bin",
        "`weight` from `posix.system`; nothing in a file is executed",
    ),
    ("text.bin", "found neither"),
    ("truncated-legacy.bin", "extends past the end"),
    ("truncated-pickle.bin", "is not a complete PyTorch file"),
    ("truncated-zip.bin", "invalid Zip archive"),
    ("unknown-opcode.bin", "instruction 0xff"),
    ("unset-memo.bin", "value 7 of the memo"),
    ("view-beyond-storage.bin", "shape [1000]"),
    ("view-overflows.bin", "shape [4611686018427387904, 8]"),
];

#[test]
fn hostile_files_are_refused_each_for_its_own_reason() {
    let hostile = layout("hostile");
    let cases: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&fs::read(hostile.join("cases.json")).unwrap()).unwrap();
    assert_eq!(cases.len(), REFUSALS.len());
    for case in cases.keys() {
        let named = REFUSALS
            .iter()
            .find(|(name, _)| case.split('/').next() == Some(*name));
        let (_, expected) = named.unwrap_or_else(|| panic!("{case} is not in the table"));
        let dir = TempDir::new().unwrap();
        let source = hostile.join(case);
        if case.ends_with(".bin") {
            fs::copy(
                layout("bin-zip").join("config.json"),
                dir.path().join("config.json"),
            )
            .unwrap();
            fs::copy(&source, dir.path().join("pytorch_model.bin")).unwrap();
        } else {
            for entry in fs::read_dir(source.parent().unwrap()).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
            if case.ends_with(".index") {
                fs::copy(
                    layout("google-tf/albert_config.json"),
                    dir.path().join("albert_config.json"),
                )
                .unwrap();
            }
        }
        let text = refusal(dir.path()).replace(dir.path().to_str().unwrap(), "DIR");
        assert!(text.contains(expected), "{case}: {text}");
    }
}

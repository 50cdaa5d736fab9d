//! `forward`: named tensors in a file.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};

use crate::harness::{Folder, Run, cli, cli_with};

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

fn forward(folder: &Folder, args: &[&str]) -> Run {
    let output = folder.path("out.safetensors");
    cli(&[&["forward", "--output", &output], args].concat())
}

fn tensors(folder: &Folder, args: &[&str]) -> Tensors {
    forward(folder, args).ok();
    read(folder)
}

fn read(folder: &Folder) -> Tensors {
    let bytes = folder.read("out.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F32);
            let values = view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()));
            (name.to_string(), (view.shape().to_vec(), values.collect()))
        })
        .collect()
}

#[test]
fn the_last_hidden_state_is_written_unless_told_otherwise() {
    let folder = Folder::new();
    let tensors = tensors(&folder, &["--ids", "2,13,21,3"]);
    let (shape, values) = &tensors["last_hidden_state"];
    assert_eq!(shape[..2], [1, 4]);
    assert!(values.iter().all(|value| value.is_finite()));
    assert!(
        tensors
            .keys()
            .all(|name| name == "last_hidden_state" || name == "pooler_output")
    );
}

#[test]
fn only_what_is_asked_for_is_written() {
    let folder = Folder::new();
    let tensors = tensors(
        &folder,
        &["--ids", "2,13,3", "--outputs", "hidden_states,attentions"],
    );
    let count = |prefix: &str| {
        tensors
            .keys()
            .filter(|name| name.starts_with(prefix))
            .count()
    };
    assert!(count("attentions.") > 0);
    assert_eq!(count("hidden_states."), count("attentions.") + 1);
    assert_eq!(count(""), count("hidden_states.") + count("attentions."));
    let (shape, values) = &tensors["attentions.0"];
    assert_eq!((shape[0], &shape[2..]), (1, &[3, 3][..]));
    let row: f32 = values[..3].iter().sum();
    assert!((row - 1.0).abs() < 1e-5, "{row}");
}

#[test]
fn logits_are_as_wide_as_the_vocabulary() {
    let folder = Folder::new();
    let tensors = tensors(&folder, &["--ids", "2,4,3", "--outputs", "logits"]);
    let (shape, _) = &tensors["logits"];
    assert_eq!(shape[..2], [1, 3]);
    assert!(shape[2] > 1000);
}

#[test]
fn a_text_gives_what_its_ids_give() {
    let folder = Folder::new();
    let ids = cli(&["tokenize", "A text.", "--pair", "Another."])
        .ok()
        .row();
    let list = |key: &str| {
        let numbers = ids[key].as_array().unwrap().iter().map(ToString::to_string);
        numbers.collect::<Vec<_>>().join(",")
    };
    let by_ids = tensors(
        &folder,
        &["--ids", &list("ids"), "--type-ids", &list("type_ids")],
    );
    let by_text = tensors(&folder, &["A text.", "--pair", "Another."]);
    assert_eq!(by_ids, by_text);
    let output = folder.path("out.safetensors");
    cli_with(
        &["forward", "--pairs", "--output", &output],
        "A text.\tAnother.\n",
    )
    .ok();
    assert_eq!(read(&folder), by_text);
}

#[test]
fn ids_that_are_negative_are_named() {
    cli(&["forward", "--ids", "-1"]).fails(2, &["expected whole numbers", "found `-1`"]);
}

#[test]
fn ids_need_no_tokenizer() {
    let model = Folder::with_model_files(&["config.json", "model.safetensors"]);
    let folder = Folder::new();
    let here = tensors(&folder, &["--ids", "2,13,3", "--model", model.as_str()]);
    assert_eq!(here, tensors(&folder, &["--ids", "2,13,3"]));
}

#[test]
fn a_mask_hides_tokens_and_never_gives_nan() {
    let folder = Folder::new();
    let full = tensors(&folder, &["--ids", "2,13,3"]);
    let padded = tensors(&folder, &["--ids", "2,13,3,0,0", "--mask", "1,1,1,0,0"]);
    let (shape, expected) = &full["last_hidden_state"];
    let values = &padded["last_hidden_state"].1[..3 * shape[2]];
    let worst = values
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst < 1e-4, "{worst}");
    let nothing = forward(&folder, &["--ids", "2,13,3", "--mask", "0,0,0"]);
    match nothing.code {
        Some(0) => assert!(
            read(&folder)["last_hidden_state"]
                .1
                .iter()
                .all(|value| value.is_finite())
        ),
        code => assert_eq!(code, Some(1), "{}", nothing.stderr),
    }
}

#[test]
fn lists_that_do_not_fit_are_wrong_usage() {
    let folder = Folder::new();
    for (args, words) in [
        (&["--ids", "2,abc"][..], "found `abc`"),
        (&["--ids", ""], "expected whole numbers"),
        (&["--ids", "2,99999999999"], "expected whole numbers"),
        (&["--ids", "2,3", "--mask", "1"], "expected 2 numbers"),
        (&["--ids", "2,3", "--mask", "1,7"], "expected 0 or 1"),
        (
            &["--ids", "2,3", "--type-ids", "0,0,0"],
            "expected 2 numbers",
        ),
        (&["--ids", "2,3", "a text"], "cannot be used with"),
        (&["a text", "--mask", "1"], "--ids"),
        (&["a text", "another"], "expected one text"),
        (&["--ids", "2,3", "--outputs", "everything"], "everything"),
    ] {
        forward(&folder, args).fails(2, &[words]);
    }
}

#[test]
fn ids_that_the_model_does_not_have_are_errors() {
    let folder = Folder::new();
    forward(&folder, &["--ids", "2,4000000000,3"]).fails(1, &["4000000000"]);
    forward(&folder, &["--ids", "2,3", "--type-ids", "0,9"]).fails(1, &["9"]);
    let long = vec!["5"; 20_000].join(",");
    let run = forward(&folder, &["--ids", &long]).fails(1, &[]);
    assert!(run.stderr.len() < 1000, "{}", run.stderr.len());
}

#[test]
fn the_tensors_need_a_safetensors_file() {
    let folder = Folder::new();
    cli(&["forward", "--ids", "2,3"]).fails(2, &["--output"]);
    cli(&[
        "forward",
        "--ids",
        "2,3",
        "--output",
        &folder.path("a.json"),
    ])
    .fails(2, &["json"]);
    cli(&["forward", "--ids", "2,3", "--format", "jsonl"]).fails(2, &["jsonl"]);
    cli(&["forward", "--output", &folder.path("a.safetensors")]).fails(1, &["expected one text"]);
}

//! `convert`: a folder that `--model` accepts and that gives the same answers.

use crate::harness::{Folder, cli, floats};

/// bf16 keeps 8 bits of each weight; the layers add up to this on a vector of length 1. Seen:
/// 0.006.
const BF16_TOLERANCE: f32 = 0.03;

#[test]
fn the_written_folder_is_the_same_model() {
    let folder = Folder::new();
    for dtype in ["f32", "int8"] {
        let output = folder.path(&format!("new/{dtype}"));
        let run = cli(&["convert", "--output", &output, "--dtype", dtype]).ok();
        assert_eq!(run.stdout, "");
        let written = format!("new/{dtype}` in {dtype}");
        assert!(
            run.stderr.contains("wrote `") && run.stderr.contains(&written),
            "{}",
            run.stderr
        );
        for task in [
            &["embed", "a b", "Water is wet."],
            &["fill-mask", "the [MASK] of", "a [MASK]"],
        ] {
            let run = |model: &[&str]| cli(&[&task[..], model].concat()).ok().stdout;
            assert_eq!(run(&["--model", &output]), run(&["--dtype", dtype]));
        }
    }
}

#[test]
fn a_smaller_type_stays_near() {
    let folder = Folder::new();
    let output = folder.path("bf16");
    cli(&["convert", "--output", &output, "--dtype", "bf16", "--quiet"]).ok();
    let embedding = |model: &[&str]| {
        let run = cli(&[&["embed", "a b"], model].concat()).ok();
        floats(&run.row()["embedding"])
    };
    let (whole, near) = (
        embedding(&["--dtype", "f32"]),
        embedding(&["--model", &output]),
    );
    let largest = whole
        .iter()
        .zip(&near)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(largest > 0.0 && largest <= BF16_TOLERANCE, "{largest}");
    let inspected = cli(&["inspect", "--model", &output]).ok().row();
    assert_eq!(inspected["dtypes"], serde_json::json!(["bf16"]));
}

#[test]
fn a_folder_in_8_bits_is_a_quarter_of_f32_and_used_as_it_is() {
    let folder = Folder::new();
    let (whole, small) = (folder.path("f32"), folder.path("int8"));
    cli(&["convert", "--output", &whole, "--quiet"]).ok();
    let run = cli(&["convert", "--output", &small, "--dtype", "int8"]).ok();
    assert!(run.stderr.contains("in int8"), "{}", run.stderr);
    let size = |folder: &str| {
        std::fs::metadata(format!("{folder}/model.safetensors"))
            .unwrap()
            .len()
    };
    assert!(
        size(&small) * 100 < size(&whole) * 35,
        "{} of {}",
        size(&small),
        size(&whole)
    );
    // Rounded on the way or before: the same numbers.
    let embed =
        |model: &[&str]| cli(&[&["embed", "a b"], model].concat()).ok().row()["embedding"].clone();
    assert_eq!(embed(&["--model", &small]), embed(&["--dtype", "int8"]));
    assert_ne!(
        embed(&["--model", &small]),
        embed(&["--model", &small, "--dtype", "f32"])
    );
    let inspected = cli(&["inspect", "--model", &small]).ok().row();
    assert!(
        inspected["dtypes"].to_string().contains("int8"),
        "{}",
        inspected["dtypes"]
    );
    assert_eq!(inspected["tensors"]["unused"], serde_json::json!([]));
}

#[test]
fn a_folder_with_a_model_is_left_alone() {
    let folder = Folder::with_model_files(&["config.json"]);
    let before = folder.read("config.json");
    cli(&["convert", "--output", folder.as_str()]).fails(1, &["already holds a model", "\nhint: "]);
    assert_eq!(folder.read("config.json"), before);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let folder = Folder::new();
    cli(&["convert"]).fails(2, &["--output"]);
    let file = folder.write("file", "");
    cli(&["convert", "--output", &format!("{file}/x")]).fails(1, &["cannot write"]);
}

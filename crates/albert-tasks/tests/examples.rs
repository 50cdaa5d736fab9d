//! Every example fits a screen and runs: on the built-in model, or on a tiny fine-tuned one.
//!
//! `cargo test` builds the examples with the tests; `cargo test --test examples` alone does not.
#![cfg(feature = "builtin")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lines of an example, its first comment included.
const MOST_LINES: usize = 30;

/// An example, the fine-tuned model that it needs, the rest of its arguments, and its standard
/// input.
type Example = (
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
    &'static str,
);

const EXAMPLES: [Example; 14] = [
    (
        "answer",
        Some("question"),
        &[
            "What runs through the town?",
            "The river runs through the town.",
        ],
        "",
    ),
    (
        "choose",
        Some("choice"),
        &["It was raining, so", "we left.", "we went for a swim."],
        "",
    ),
    ("classify", Some("sentiment"), &["What a fine day."], ""),
    (
        "embed",
        None,
        &["A man is playing a guitar.", "Someone plays an instrument."],
        "",
    ),
    (
        "fill_mask",
        None,
        &["She opened the [MASK] and walked in."],
        "",
    ),
    (
        "neighbors",
        None,
        &["A cat sleeps.", "A cat is asleep.", "Stocks fell."],
        "",
    ),
    (
        "order",
        None,
        &["So we left. It was raining. We were outside."],
        "",
    ),
    (
        "rerank",
        Some("single"),
        &["Where does it run?", "The river runs.", "A fine day."],
        "",
    ),
    (
        "score",
        None,
        &["He read the book.", "He read book the."],
        "",
    ),
    (
        "search",
        None,
        &["a resting animal"],
        "A cat sleeps.\nStocks fell sharply.\n",
    ),
    (
        "similarity",
        None,
        &["A cat sleeps.", "The kitten naps."],
        "",
    ),
    ("tag", Some("entities"), &["Alice moved to Oslo."], ""),
    ("verify", None, &["A man is playing a guitar."], ""),
    (
        "zero_shot",
        Some("nli"),
        &["It was raining.", "weather", "sport"],
        "",
    ),
];

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Returns the path of a built example, next to the folder of this test.
fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile
        .join("examples")
        .join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}

#[test]
fn every_example_is_run_here_and_fits_a_screen() {
    let mut sources: Vec<PathBuf> = std::fs::read_dir(package("examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sources.sort();
    let names: Vec<&str> = sources
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(names, EXAMPLES.map(|(name, ..)| name));
    for source in &sources {
        let lines = std::fs::read_to_string(source).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{}: {lines} lines", source.display());
    }
}

#[test]
fn every_example_answers() {
    for (name, model, arguments, input) in EXAMPLES {
        let folder = model.map(|model| package("tests/fixtures/pipelines").join(model));
        let mut example = Command::new(built(name))
            .args(folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{name}: {error}; `cargo test` without `--test` builds it")
            });
        example
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        let output = example.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        // The tiny models find nothing in some texts.
        assert!(
            model.is_some() || !output.stdout.is_empty(),
            "{name} says nothing"
        );
    }
}

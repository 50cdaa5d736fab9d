//! Masks filled together, against a beam search over transformers' model.
//!
//! `joint.json` comes from `scripts/make_joint_fixtures.py`.

use std::path::Path;

use albert_tasks::{FillOptions, FilledText, MaskFiller, RunOptions};
use serde_json::{Value, json};

use crate::pipelines::model;
use crate::support::message;

/// A score relative to itself: three factors and more, each a softmax in f32.
const TOLERANCE: f64 = 1e-4;

fn filler() -> MaskFiller {
    MaskFiller::load(&model("masked"), &RunOptions::default()).unwrap()
}

fn fill(text: &str, options: &FillOptions) -> FilledText {
    filler().fill_each(&[text], options).pop().unwrap().unwrap()
}

#[test]
fn the_fillings_of_every_beam_agree() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines/joint.json");
    let reference: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let filler = filler();
    for answer in reference["answers"].as_array().unwrap() {
        let options = FillOptions::default()
            .with_top_k(3)
            .with_joint(true)
            .with_targets(
                serde_json::from_value::<Option<Vec<String>>>(answer["targets"].clone()).unwrap(),
            )
            .with_beam(answer["beam"].as_u64().unwrap() as usize);
        let text = answer["text"].as_str().unwrap();
        let filled = filler.fill_each(&[text], &options).pop().unwrap().unwrap();
        let expected = answer["fillings"].as_array().unwrap();
        assert_eq!(filled.fillings.len(), expected.len(), "{options:?}");
        for (found, expected) in filled.fillings.iter().zip(expected) {
            assert_eq!(json!(found.ids), expected["ids"], "{text} {options:?}");
            let score = expected["score"].as_f64().unwrap();
            assert!(
                (found.score - score).abs() <= TOLERANCE * score,
                "{found:?}, expected {score}"
            );
        }
    }
}

#[test]
fn candidates_show_the_best_filling_around_them() {
    let text = "the [MASK] of the [MASK] [MASK]";
    let filled = fill(text, &FillOptions::default().with_beam(16));
    let best = &filled.fillings[0];
    assert_eq!(
        best.text,
        format!(
            "the {} of the {} {}",
            best.tokens[0], best.tokens[1], best.tokens[2]
        )
    );
    for (mask, chosen) in filled.masks.iter().zip(&best.tokens) {
        assert_eq!(mask.candidates.len(), 5);
        // At its turn what was chosen was among the best, and there the text is the filling's.
        for candidate in mask
            .candidates
            .iter()
            .filter(|candidate| candidate.token == *chosen)
        {
            assert_eq!(candidate.text, best.text);
        }
    }
    let product: f64 = filled
        .masks
        .iter()
        .zip(&best.ids)
        .filter_map(|(mask, ids)| {
            mask.candidates
                .iter()
                .find(|candidate| candidate.id == Some(ids[0]))
        })
        .map(|candidate| f64::from(candidate.score))
        .product();
    assert!(
        (product - best.score).abs() <= TOLERANCE * best.score,
        "{product} {best:?}"
    );
}

#[test]
fn texts_of_different_numbers_of_masks_are_filled_in_one_call() {
    let texts = [
        "the [MASK] of the [MASK] [MASK]",
        "no mask",
        "She opened the [MASK].",
    ];
    let options = FillOptions::default().with_beam(3);
    let filler = filler();
    let filled = filler.fill_each(&texts, &options);
    assert_eq!(
        message(filler.fill_each(&texts, &options).remove(1)),
        "no `[MASK]` in the text: expected at least one"
    );
    for (filled, text) in [(&filled[0], texts[0]), (&filled[2], texts[2])] {
        let alone = fill(text, &options);
        let tokens = |filled: &FilledText| -> Vec<Vec<String>> {
            filled
                .fillings
                .iter()
                .map(|filling| filling.tokens.clone())
                .collect()
        };
        assert_eq!(tokens(filled.as_ref().unwrap()), tokens(&alone));
    }
}

#[test]
fn masks_filled_each_by_itself_have_no_fillings() {
    let filled = fill(
        "the [MASK] of the [MASK]",
        &FillOptions::default().with_beam(5).with_joint(false),
    );
    assert!(filled.fillings.is_empty());
    assert!(filled.masks[0].candidates[0].text.contains("[MASK]"));
}

#[test]
fn no_targets_are_an_error() {
    let options = FillOptions::default().with_targets(Vec::new());
    assert_eq!(
        message(filler().fill_each(&["a [MASK]"], &options).remove(0)),
        "no targets: expected at least one"
    );
}

//! Answers against those of transformers 5.23 and sentence-transformers 6.2.

use albert_tasks::{
    Candidate, Embedder, FillOptions, FilledText, MaskFiller, PoolingMode, RunOptions,
};
use serde_json::{Value, json};

use crate::support::{Folder, max_difference, tiny, tiny_dir};

/// Of the largest value: f32 sums in another order than torch on the CPU.
const TOLERANCE: f32 = 1e-5;

/// A score relative to itself: f32 logits, and up to four factors.
const SCORE_TOLERANCE: f64 = 1e-4;

fn reference() -> Value {
    serde_json::from_slice(&std::fs::read(tiny_dir().join("reference.json")).unwrap()).unwrap()
}

fn texts(reference: &Value) -> Vec<String> {
    serde_json::from_value(reference["texts"].clone()).unwrap()
}

fn assert_embeds(embedder: &Embedder, texts: &[String], expected: &Value, what: &str) {
    let expected: Vec<Vec<f32>> = serde_json::from_value(expected.clone()).unwrap();
    let embeddings = embedder.embed(texts).unwrap();
    assert_eq!(embeddings.len(), expected.len());
    let largest = expected
        .iter()
        .flatten()
        .fold(0f32, |largest, value| largest.max(value.abs()));
    for ((embedding, expected), text) in embeddings.iter().zip(&expected).zip(texts) {
        let difference = max_difference(&embedding.vector, expected);
        assert!(
            difference <= TOLERANCE * largest,
            "{what}: {difference} for `{text}`"
        );
    }
}

#[test]
fn every_pooling_mode_agrees() {
    let reference = reference();
    let texts = texts(&reference);
    let names = [
        ("cls", PoolingMode::Cls),
        ("max", PoolingMode::Max),
        ("mean", PoolingMode::Mean),
        ("mean_sqrt_len_tokens", PoolingMode::MeanSqrtLen),
        ("weightedmean", PoolingMode::WeightedMean),
        ("lasttoken", PoolingMode::Last),
        ("pooler", PoolingMode::Pooler),
    ];
    for (name, mode) in names {
        let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
        let embedder = embedder.with_pooling(mode).unwrap().with_normalize(false);
        assert_embeds(&embedder, &texts, &reference["pooling"][name], name);
    }
}

#[test]
fn tokens_and_truncation_agree() {
    let reference = reference();
    let ids: Vec<Vec<u32>> = serde_json::from_value(reference["ids"].clone()).unwrap();
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    assert_eq!(embedder.max_length(), 40);
    for (text, ids) in texts(&reference).iter().zip(ids) {
        let encoding = embedder
            .tokenizer()
            .encode(text, None, Some(embedder.max_length()))
            .unwrap();
        assert_eq!(encoding.ids, ids, "{text}");
        let embedding = &embedder.embed(&[text]).unwrap()[0];
        assert_eq!(
            (embedding.tokens, embedding.truncated),
            (ids.len(), encoding.truncated)
        );
    }
    assert!(
        embedder
            .embed(&texts(&reference))
            .unwrap()
            .last()
            .unwrap()
            .truncated
    );
}

#[test]
fn flags_are_concatenated_and_normalized_as_the_folder_says() {
    let reference = reference();
    let embedder = Embedder::load(&tiny(), &RunOptions::default()).unwrap();
    assert_eq!(
        embedder.pooling().modes,
        [PoolingMode::Cls, PoolingMode::Mean]
    );
    assert_eq!(embedder.dim(), 48);
    assert_embeds(
        &embedder,
        &texts(&reference),
        &reference["folder"],
        "the folder",
    );
}

#[test]
fn a_list_of_modes_keeps_its_order_and_is_not_normalized_unless_listed() {
    let reference = reference();
    let folder = Folder::new()
        .modules(&[("Transformer", ""), ("Pooling", "1_Pooling")])
        .edit("1_Pooling/config.json", |config| {
            config["pooling_mode"] = json!(["lasttoken", "max"])
        });
    let embedder = Embedder::load(&folder.files(), &RunOptions::default()).unwrap();
    assert_embeds(&embedder, &texts(&reference), &reference["list"], "a list");
}

#[test]
fn prompts_are_pooled_or_left_out_as_the_folder_says() {
    let reference = reference();
    let prompt = reference["prompt"].clone();
    let modes = ["mean", "weightedmean", "cls", "max"];
    for (include_prompt, modes, key) in [
        (true, &modes[..3], "prompted"),
        (false, &modes[..], "without_prompt"),
    ] {
        let prompts = json!({"prompts": {"q": prompt}, "default_prompt_name": "q"}).to_string();
        let folder = Folder::new()
            .modules(&[("Transformer", ""), ("Pooling", "1_Pooling")])
            .with("config_sentence_transformers.json", &prompts)
            .edit("1_Pooling/config.json", |config| {
                config["pooling_mode"] = json!(modes);
                config["include_prompt"] = json!(include_prompt);
            });
        let embedder = Embedder::load(&folder.files(), &RunOptions::default()).unwrap();
        assert_embeds(&embedder, &texts(&reference), &reference[key], key);
    }
}

fn fill(text: &str, options: &FillOptions) -> FilledText {
    let filler = MaskFiller::load(&tiny(), &RunOptions::default()).unwrap();
    filler.fill_each(&[text], options).pop().unwrap().unwrap()
}

#[test]
fn masks_agree_with_the_pipeline() {
    let reference = &reference()["fill_mask"];
    let filler = MaskFiller::load(&tiny(), &RunOptions::default()).unwrap();
    let filled = filler.fill_each(&texts(reference), &FillOptions::default());
    for (filled, expected) in filled
        .into_iter()
        .zip(reference["masks"].as_array().unwrap())
    {
        let filled = filled.unwrap();
        assert_eq!(filled.masks.len(), expected.as_array().unwrap().len());
        for (mask, expected) in filled.masks.iter().zip(expected.as_array().unwrap()) {
            assert_eq!(mask.candidates.len(), 5);
            for (candidate, expected) in mask.candidates.iter().zip(expected.as_array().unwrap()) {
                assert_eq!(json!(candidate.id), expected["id"]);
                assert_eq!(json!(candidate.token), expected["token"]);
                assert_score(candidate, expected);
            }
        }
    }
}

#[test]
fn a_candidates_text_leaves_the_other_masks() {
    let filled = fill(
        "[MASK] man is playing [MASK] guitar.",
        &FillOptions::default(),
    );
    let second = &filled.masks[1];
    assert_eq!(
        second.candidates[0].text,
        format!(
            "[MASK] man is playing {} guitar.",
            second.candidates[0].token
        )
    );
}

#[test]
fn targets_of_one_and_of_several_pieces_agree() {
    let reference = &reference()["fill_mask"];
    let expected = reference["targets"].as_array().unwrap();
    let targets = expected
        .iter()
        .map(|target| target["target"].as_str().unwrap().to_string());
    let options = FillOptions::default()
        .with_top_k(9)
        .with_targets(targets.rev().collect::<Vec<_>>());
    let filled = fill(&texts(reference)[0], &options);
    assert_eq!(filled.masks[0].candidates.len(), expected.len());
    for (candidate, expected) in filled.masks[0].candidates.iter().zip(expected) {
        let ids = candidate
            .ids
            .clone()
            .unwrap_or_else(|| candidate.id.into_iter().collect());
        assert_eq!(json!(ids), expected["ids"]);
        assert_eq!(candidate.id.is_none(), ids.len() > 1);
        assert_eq!(json!(candidate.token), expected["target"]);
        assert_score(candidate, expected);
    }
    assert!(
        filled.masks[0]
            .candidates
            .iter()
            .any(|candidate| candidate.ids.is_some())
    );
}

#[test]
fn joint_filling_starts_with_the_most_confident() {
    let reference = &reference()["fill_mask"];
    let filled = fill(
        &texts(reference)[1],
        &FillOptions::default().with_joint(true),
    );
    for expected in reference["joint"].as_array().unwrap() {
        let mask = filled
            .masks
            .iter()
            .find(|mask| json!(mask.position) == expected["position"])
            .unwrap();
        assert_eq!(json!(mask.candidates[0].id), expected["id"]);
        assert_score(&mask.candidates[0], expected);
    }
    // The best candidates of all masks are the same filled text.
    let best: Vec<&str> = filled
        .masks
        .iter()
        .map(|mask| mask.candidates[0].text.as_str())
        .collect();
    assert!(
        best.iter()
            .all(|text| *text == best[0] && !text.contains("[MASK]")),
        "{best:?}"
    );
}

fn assert_score(candidate: &Candidate, expected: &Value) {
    let expected = expected["score"].as_f64().unwrap();
    let difference = (f64::from(candidate.score) - expected).abs();
    let bound = f64::from(TOLERANCE).min(SCORE_TOLERANCE * expected);
    assert!(
        difference <= bound,
        "{difference} for {candidate:?}, expected {expected}"
    );
}

//! Options of the tasks against transformers 4.46.3 and sentence-transformers 5.1.2: windows over
//! long texts, several answers, texts given as words, rerankers and near-duplicates.
//!
//! `fixtures/options.json` comes from `scripts/make_option_fixtures.py`.

use std::path::Path;

use albert_tasks::{
    Aggregation, AnswerOptions, Answerer, ChooseOptions, Chooser, Classifier, ClassifyOptions,
    Error, ModelFiles, NeighborFinder, NeighborOptions, RerankOptions, Reranker, RunOptions,
    TagOptions, Tagger, Tokenizer, TokenizerOptions, ZeroShotClassifier, ZeroShotOptions,
};
use serde_json::Value;

use crate::pipelines::model;
use crate::support::{options, tiny};

/// f32 sums in another order than torch on the CPU, on logits up to about 10.
const TOLERANCE: f64 = 1e-5;

fn fixture(part: &str) -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/options.json");
    let all: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    all[part].clone()
}

/// The longest text and the stride of the windows in the fixture.
fn windows() -> (RunOptions, usize) {
    let max_length = fixture("max_length").as_u64().unwrap() as usize;
    let stride = fixture("stride").as_u64().unwrap() as usize;
    (options(Some(max_length), 64), stride)
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn assert_close(found: f32, expected: &Value) {
    let difference = (f64::from(found) - expected.as_f64().unwrap()).abs();
    assert!(
        difference <= TOLERANCE,
        "found {found}, expected {expected}"
    );
}

/// Compares the scores of labels with those of the fixture, which are in the labels' order.
fn assert_scores(found: &albert_tasks::Classification, labels: &[String], expected: &Value) {
    assert_eq!(found.labels.len(), labels.len());
    assert!(!found.truncated);
    for (label, expected) in labels.iter().zip(expected.as_array().unwrap()) {
        let found = found.labels.iter().find(|it| it.label == *label).unwrap();
        assert_close(found.score, expected);
    }
}

#[test]
fn scores_of_windows_are_averaged_by_their_tokens() {
    let (run, stride) = windows();
    let expected = fixture("classify");
    let classifier = Classifier::load(&model("sentiment"), &run).unwrap();
    let options = ClassifyOptions::default().with_stride(stride);
    let labels = strings(&expected["labels"]);
    let text = expected["input"].as_str().unwrap();
    let found = classifier.classify(&[text], &options).unwrap();
    assert_scores(&found[0], &labels, &expected["text"]);
    let pair = (text, expected["second"].as_str().unwrap());
    let found = classifier.classify(&[pair], &options).unwrap();
    assert_scores(&found[0], &labels, &expected["pair"]);
    // A text that fits has one window, and without a stride a long one is truncated.
    let short = |options: &ClassifyOptions| classifier.classify(&["a short text"], options);
    let plain = ClassifyOptions::default();
    assert_eq!(short(&options).unwrap(), short(&plain).unwrap());
    assert!(classifier.classify(&[text], &plain).unwrap()[0].truncated);
    let wide = classifier.classify(&[text], &plain.with_stride(34));
    assert!(matches!(
        wide,
        Err(Error::Stride {
            stride: 34,
            room: 34
        })
    ));
}

#[test]
fn zero_shot_windows_hold_the_hypothesis() {
    let (run, stride) = windows();
    let expected = fixture("zero_shot");
    let classifier = ZeroShotClassifier::load(&model("nli"), &run).unwrap();
    let labels = strings(&expected["labels"]);
    let texts = [expected["input"].as_str().unwrap()];
    for (multi_label, key) in [(false, "single"), (true, "multi")] {
        let options = ZeroShotOptions::default()
            .with_multi_label(multi_label)
            .with_stride(stride);
        let found = classifier.classify(&texts, &labels, &options).unwrap();
        assert_scores(&found[0], &labels, &expected[key]);
    }
}

#[test]
fn windows_of_a_text_hold_each_choice() {
    let (run, stride) = windows();
    let expected = fixture("choose");
    let chooser = Chooser::load(&model("choice"), &run).unwrap();
    let choices = strings(&expected["choices"]);
    let texts = [(expected["input"].as_str().unwrap(), &choices[..])];
    let options = ChooseOptions::default().with_stride(stride);
    let found = chooser.choose_with(&texts, &options).unwrap();
    for (found, expected) in found[0]
        .scores
        .iter()
        .zip(expected["scores"].as_array().unwrap())
    {
        assert_close(*found, expected);
    }
    assert!(!found[0].truncated && chooser.choose(&texts).unwrap()[0].truncated);
}

#[test]
fn several_answers_agree_with_the_pipeline() {
    let expected = fixture("answer");
    let questions: Vec<(String, String)> =
        serde_json::from_value(expected["questions"].clone()).unwrap();
    let answerer = Answerer::load(&model("question"), &RunOptions::default()).unwrap();
    for variant in expected["variants"].as_array().unwrap() {
        let asked = &variant["options"];
        let options = AnswerOptions::default()
            .with_top_k(asked["top_k"].as_u64().unwrap() as usize)
            .with_max_answer_tokens(asked["max_answer_len"].as_u64().unwrap_or(15) as usize)
            .with_align_to_words(asked["align_to_words"].as_bool().unwrap_or(true))
            .with_allow_no_answer(
                asked["handle_impossible_answer"]
                    .as_bool()
                    .unwrap_or_default(),
            );
        let found = answerer.answer(&questions, &options).unwrap();
        for (found, expected) in found.iter().zip(variant["answers"].as_array().unwrap()) {
            let expected = expected.as_array().unwrap();
            assert_eq!(found.answers.len(), expected.len(), "{asked}");
            for (found, expected) in found.answers.iter().zip(expected) {
                assert_eq!(
                    found.answer,
                    expected["answer"].as_str().unwrap(),
                    "{asked}"
                );
                assert_close(found.score, &expected["score"]);
                if let Some(start) = found.start {
                    assert_eq!(start as u64, expected["start"].as_u64().unwrap(), "{asked}");
                }
            }
        }
    }
}

#[test]
fn answers_below_the_threshold_are_left_out() {
    let answerer = Answerer::load(&model("question"), &RunOptions::default()).unwrap();
    let ask = |options: AnswerOptions| {
        let question = ("What runs?", "The river runs through the old town.");
        answerer
            .answer(&[question], &options)
            .unwrap()
            .remove(0)
            .answers
    };
    let all = ask(AnswerOptions::default().with_top_k(5));
    let threshold = all[2].score;
    let kept = ask(AnswerOptions::default()
        .with_top_k(5)
        .with_threshold(threshold));
    assert_eq!(kept, all[..3]);
    let none = ask(AnswerOptions::default().with_threshold(1.0));
    assert_eq!(
        (none.len(), none[0].start, none[0].answer.as_str()),
        (1, None, "")
    );
}

#[test]
fn words_have_the_label_of_their_first_token_and_their_indices() {
    let expected = fixture("tag");
    let texts: Vec<Vec<String>> = serde_json::from_value(expected["words"].clone()).unwrap();
    let tagger = Tagger::load(&model("entities"), &RunOptions::default()).unwrap();
    let options = TagOptions::default().with_aggregation(Aggregation::First);
    let found = tagger.tag_words(&texts, &options).unwrap();
    for (found, (words, labels)) in found
        .iter()
        .zip(texts.iter().zip(expected["first"].as_array().unwrap()))
    {
        let labels = labels.as_array().unwrap();
        let mut covered = vec![None; words.len()];
        for entity in &found.entities {
            let words = entity.first_word.unwrap()..=entity.last_word.unwrap();
            // An entity's score is the mean over its words.
            let scores = labels[words.clone()].iter();
            let sum: f64 = scores.map(|label| label["score"].as_f64().unwrap()).sum();
            let mean = sum / words.clone().count() as f64;
            assert!((f64::from(entity.score) - mean).abs() <= TOLERANCE);
            words.for_each(|word| covered[word] = Some(entity.label.clone()));
        }
        for (covered, label) in covered.iter().zip(labels) {
            let label = label["label"].as_str().unwrap();
            let expected = (label != "O").then(|| label.trim_start_matches(['B', 'I', '-']));
            assert_eq!(
                covered
                    .as_deref()
                    .map(|it| it.trim_start_matches(['B', 'I', '-'])),
                expected
            );
        }
    }
}

#[test]
fn reranked_texts_agree_with_the_cross_encoder() {
    let expected = fixture("rerank");
    let reranker = Reranker::load(&model("single"), &RunOptions::default()).unwrap();
    let texts = strings(&expected["texts"]);
    let query = expected["query"].as_str().unwrap();
    let found = reranker
        .rank(query, &texts, &RerankOptions::default())
        .unwrap();
    let ranked = expected["ranked"].as_array().unwrap();
    assert_eq!(found.len(), ranked.len());
    for (found, expected) in found.iter().zip(ranked) {
        assert_eq!(found.index as u64, expected["index"].as_u64().unwrap());
        assert_close(found.score, &expected["score"]);
    }
    let best = RerankOptions::default()
        .with_top_k(1)
        .with_probability(true);
    let best = reranker.rank(query, &texts, &best).unwrap();
    let probability = 1.0 / (1.0 + (-found[0].score).exp());
    assert_eq!((best.len(), best[0].index), (1, found[0].index));
    assert!((best[0].score - probability).abs() < 1e-6);
    let several = Reranker::load(&model("sentiment"), &RunOptions::default()).unwrap_err();
    assert!(matches!(several, Error::NotCrossEncoder { labels: 3 }));
}

#[test]
fn neighbors_agree_with_paraphrase_mining() {
    let expected = fixture("neighbors");
    let finder = NeighborFinder::load(&tiny(), &RunOptions::default()).unwrap();
    let texts = strings(&expected["texts"]);
    let all = NeighborOptions::default().with_threshold(-1.0);
    let found = finder.find(&texts, &all).unwrap();
    let pairs = expected["pairs"].as_array().unwrap();
    assert_eq!(found.len(), pairs.len());
    for (found, expected) in found.iter().zip(pairs) {
        assert_close(found.cosine, &expected["score"]);
        let index = |key: &str| expected[key].as_u64().unwrap() as usize;
        // Equal scores may come in another order.
        let (least, most) = (
            index("first").min(index("second")),
            index("first").max(index("second")),
        );
        let same = found.first == least && found.second == most;
        let tied = pairs.iter().filter(|pair| {
            (pair["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap()).abs()
                < TOLERANCE
        });
        assert!(same || tied.count() > 1, "{found:?}, expected {expected}");
    }
}

#[test]
fn a_far_too_long_text_has_the_first_tokens_of_the_whole() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers");
    for name in ["sentencepiece", "wordpiece"] {
        let files = ModelFiles::from_dir(folder.join(name)).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        for part in [
            "The river runs. ",
            "theriverruns,through1,000towns",
            "é",
            "\u{4e1c}",
        ] {
            let text = part.repeat(4000);
            let whole = tokenizer.encode(&text, None, None).unwrap();
            let cut = tokenizer.encode(&text, None, Some(16)).unwrap();
            let kept = cut.ids.len() - 1;
            assert_eq!(cut.ids[..kept], whole.ids[..kept], "{name}: {part}");
            assert_eq!(cut.offsets[..kept], whole.offsets[..kept], "{name}: {part}");
            assert_eq!(cut.truncated, whole.ids.len() > 16, "{name}: {part}");
        }
    }
}

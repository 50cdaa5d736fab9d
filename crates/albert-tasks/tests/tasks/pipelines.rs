//! Answers against those of transformers 4.46.3: its pipelines, and its models where it has none.
//!
//! The models and `answers.json` come from `scripts/make_pipeline_fixtures.py`.

use std::path::{Path, PathBuf};

use albert_tasks::{
    Aggregation, AnswerOptions, Answerer, Chooser, Classification, Classifier, ClassifyOptions,
    MaskFiller, ModelFiles, Orderer, RunOptions, ScoreFunction, TagOptions, Tagger,
    ZeroShotClassifier, ZeroShotOptions,
};
use serde_json::Value;

use crate::support::{options, tiny};

/// f32 sums in another order than torch on the CPU, on logits up to about 10.
const TOLERANCE: f64 = 1e-5;

/// The tolerance of a sum of several logarithms.
const SCORE_TOLERANCE: f64 = 1e-4;

/// The length that the fixtures' own tokenizer_config.json has.
const MAX_LENGTH: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pipelines")
}

pub(crate) fn model(name: &str) -> ModelFiles {
    ModelFiles::from_dir(folder().join(name)).unwrap()
}

fn answers() -> Value {
    serde_json::from_slice(&std::fs::read(folder().join("answers.json")).unwrap()).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    serde_json::from_value(value.clone()).unwrap()
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn assert_close(found: f32, expected: &Value, what: &str) {
    let difference = (f64::from(found) - expected.as_f64().unwrap()).abs();
    assert!(
        difference <= TOLERANCE,
        "{what}: found {found}, expected {expected}"
    );
}

fn assert_labels(found: &Classification, expected: &Value, what: &str) {
    assert_eq!(found.labels.len(), array(expected).len(), "{what}");
    for (found, expected) in found.labels.iter().zip(array(expected)) {
        assert_eq!(found.label, expected["label"].as_str().unwrap(), "{what}");
        assert_close(found.score, &expected["score"], what);
    }
}

#[test]
fn classifiers_agree_by_problem_type_and_by_function() {
    let answers = answers();
    let texts = strings(&answers["texts"]);
    let pairs: Vec<(String, String)> = serde_json::from_value(answers["pairs"].clone()).unwrap();
    let pairs: Vec<(String, Option<String>)> = pairs
        .into_iter()
        .map(|(first, second)| (first, Some(second)))
        .collect();
    for (name, expected) in answers["classify"].as_object().unwrap() {
        let (folder, function) = name.split_once(' ').unwrap_or((name, ""));
        let function = (!function.is_empty()).then(|| function.parse::<ScoreFunction>().unwrap());
        let classifier = Classifier::load(&model(folder), &RunOptions::default()).unwrap();
        let options = ClassifyOptions::default().with_function(function);
        let found = classifier.classify(&texts, &options).unwrap();
        for ((found, expected), text) in found.iter().zip(array(&expected["texts"])).zip(&texts) {
            assert_labels(found, expected, &format!("{name}: {text}"));
        }
        let found = classifier.classify(&pairs, &options).unwrap();
        for (found, expected) in found.iter().zip(array(&expected["pairs"])) {
            assert_labels(found, expected, name);
        }
        assert!(found[3].truncated && found[3].tokens == MAX_LENGTH);
    }
}

#[test]
fn a_classifier_gives_as_many_labels_as_asked_for() {
    let classifier = Classifier::load(&model("sentiment"), &RunOptions::default()).unwrap();
    for (top_k, expected) in [(None, 3), (Some(1), 1), (Some(9), 3)] {
        let options = ClassifyOptions::default().with_top_k(top_k);
        assert_eq!(
            classifier.classify(&["a"], &options).unwrap()[0]
                .labels
                .len(),
            expected
        );
    }
}

#[test]
fn labels_without_names_are_numbered() {
    let classifier = Classifier::load(&model("topics"), &RunOptions::default()).unwrap();
    let labels = &classifier
        .classify(&["a"], &ClassifyOptions::default())
        .unwrap()[0]
        .labels;
    let mut names: Vec<&str> = labels.iter().map(|label| label.label.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["LABEL_0", "LABEL_1", "LABEL_2", "LABEL_3"]);
}

#[test]
fn zero_shot_agrees_wherever_entailment_stands() {
    let answers = answers();
    let texts: Vec<String> = strings(&answers["texts"])
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect();
    for (name, expected) in answers["zero_shot"].as_object().unwrap() {
        let zero_shot = ZeroShotClassifier::load(&model(name), &RunOptions::default()).unwrap();
        assert_eq!(zero_shot.entailment().1, name != "sentiment");
        for expected in array(expected) {
            let options = ZeroShotOptions::default()
                .with_hypothesis(expected["hypothesis"].as_str().unwrap().to_string())
                .with_multi_label(expected["multi_label"].as_bool().unwrap());
            let found = zero_shot
                .classify(&texts, &strings(&expected["labels"]), &options)
                .unwrap();
            for ((found, expected), text) in found.iter().zip(array(&expected["texts"])).zip(&texts)
            {
                assert_labels(found, expected, &format!("{name}, {options:?}: {text}"));
            }
        }
    }
}

#[test]
fn every_aggregation_agrees_with_and_without_windows() {
    let answers = answers();
    let mut texts = strings(&answers["texts"]);
    texts.push(answers["long"].as_str().unwrap().to_string());
    for (name, expected) in answers["tag"].as_object().unwrap() {
        let tagger = Tagger::load(&model(name), &RunOptions::default()).unwrap();
        for (strategy, expected) in expected["whole"].as_object().unwrap() {
            assert_tags(&tagger, &texts, strategy, None, expected);
        }
        for (strategy, expected) in expected["windows"].as_object().unwrap() {
            for (stride, expected) in expected.as_object().unwrap() {
                assert_tags(
                    &tagger,
                    &texts,
                    strategy,
                    Some(stride.parse().unwrap()),
                    expected,
                );
            }
        }
    }
}

fn assert_tags(
    tagger: &Tagger,
    texts: &[String],
    strategy: &str,
    stride: Option<usize>,
    expected: &Value,
) {
    let options = TagOptions::default()
        .with_aggregation(strategy.parse::<Aggregation>().unwrap())
        .with_stride(stride);
    let found = tagger.tag(texts, &options).unwrap();
    for ((found, expected), text) in found.iter().zip(array(expected)).zip(texts) {
        let what = format!("{options:?}: {text}: {found:?}");
        assert_eq!(found.entities.len(), array(expected).len(), "{what}");
        for (found, expected) in found.entities.iter().zip(array(expected)) {
            assert_eq!(found.label, expected["label"].as_str().unwrap(), "{what}");
            assert_eq!(
                Some(found.start as u64),
                expected["start"].as_u64(),
                "{what}"
            );
            assert_eq!(Some(found.end as u64), expected["end"].as_u64(), "{what}");
            assert_close(found.score, &expected["score"], &what);
            let slice: String = text
                .chars()
                .skip(found.start)
                .take(found.end - found.start)
                .collect();
            assert_eq!(found.text, slice, "{what}");
        }
    }
    let last = found.last().unwrap();
    assert_eq!(
        (last.truncated, last.tokens > MAX_LENGTH),
        (stride.is_none(), stride.is_some())
    );
}

/// Aggregations over words differ from `simple` only in what they take for a word.
#[test]
fn tokens_that_are_not_aligned_to_words_are_words() {
    let mut texts = strings(&answers()["texts"]);
    texts.push("oneword-without-any-space,and-another.end".to_string());
    let tagger = Tagger::load(&model("entities"), &RunOptions::default()).unwrap();
    let tag = |aggregation, align_to_words| {
        let options = TagOptions::default()
            .with_aggregation(aggregation)
            .with_align_to_words(align_to_words);
        tagger.tag(&texts, &options).unwrap()
    };
    let simple = tag(Aggregation::Simple, true);
    for aggregation in [Aggregation::First, Aggregation::Average, Aggregation::Max] {
        assert_eq!(tag(aggregation, false), simple, "{aggregation:?}");
        assert_ne!(tag(aggregation, true), simple, "{aggregation:?}");
    }
}

#[test]
fn windows_need_an_aggregation_and_a_stride_that_moves_on() {
    let tagger = Tagger::load(&model("entities"), &RunOptions::default()).unwrap();
    let check = |aggregation, stride| {
        tagger
            .check(
                &TagOptions::default()
                    .with_aggregation(aggregation)
                    .with_stride(stride),
            )
            .is_ok()
    };
    assert!(check(Aggregation::None, None) && check(Aggregation::Simple, Some(MAX_LENGTH - 3)));
    assert!(
        !check(Aggregation::None, Some(3)) && !check(Aggregation::Simple, Some(MAX_LENGTH - 2))
    );
}

#[test]
fn answers_agree_in_one_window_and_in_several() {
    let answers = answers();
    let questions: Vec<(String, String)> =
        serde_json::from_value(answers["questions"].clone()).unwrap();
    for (key, name) in [
        ("answer", "question"),
        ("answer wordpiece", "question-wordpiece"),
    ] {
        for (how, max_length, allow_no_answer) in [
            ("default", None, false),
            ("short", Some(64), false),
            ("no_answer", None, true),
        ] {
            let answerer = Answerer::load(&model(name), &options(max_length, 2048)).unwrap();
            let options = AnswerOptions::default().with_allow_no_answer(allow_no_answer);
            let found = answerer.answer(&questions, &options).unwrap();
            let found = found.iter().map(|found| &found.answers[0]);
            for ((found, expected), question) in
                found.zip(array(&answers[key][how])).zip(&questions)
            {
                let what = format!("{key}, {how}: {}: {found:?}, {expected}", question.0);
                assert_eq!(found.answer, expected["answer"].as_str().unwrap(), "{what}");
                assert_close(found.score, &expected["score"], &what);
                // Without an answer the pipeline says 0.
                if !(allow_no_answer && found.answer.is_empty()) {
                    assert_eq!(
                        found.start.map(|at| at as u64),
                        expected["start"].as_u64(),
                        "{what}"
                    );
                    assert_eq!(
                        found.end.map(|at| at as u64),
                        expected["end"].as_u64(),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[test]
fn no_answer_is_given_only_where_it_is_allowed() {
    let answerer = Answerer::load(&model("question"), &RunOptions::default()).unwrap();
    let ask = |allow_no_answer| {
        let options = AnswerOptions::default().with_allow_no_answer(allow_no_answer);
        answerer
            .answer(&[("Who?", "")], &options)
            .unwrap()
            .remove(0)
            .answers
            .remove(0)
    };
    let (forced, free) = (ask(false), ask(true));
    assert_eq!(
        (
            forced.answer.as_str(),
            forced.start,
            forced.end,
            forced.score
        ),
        ("", Some(0), Some(0), 0.0)
    );
    assert_eq!(
        (free.answer.as_str(), free.start, free.end, free.score),
        ("", None, None, 1.0)
    );
}

#[test]
fn a_question_too_long_for_the_window_is_cut_and_still_answered() {
    let answerer = Answerer::load(&model("question"), &options(Some(24), 64)).unwrap();
    let question =
        "What is it that the doctor wrote to the king of the northern country? ".repeat(9);
    let context = "The doctor wrote a letter to the king. ".repeat(9);
    let answer = answerer
        .answer(&[(question, context)], &AnswerOptions::default())
        .unwrap()
        .remove(0);
    assert!(answer.truncated && !answer.answers[0].answer.is_empty());
}

#[test]
fn choices_agree_whatever_their_number() {
    let answers = answers();
    let texts: Vec<(String, Vec<String>)> =
        serde_json::from_value(answers["choices"].clone()).unwrap();
    let texts: Vec<(&str, &[String])> = texts
        .iter()
        .map(|(text, choices)| (text.as_str(), choices.as_slice()))
        .collect();
    let chooser = Chooser::load(&model("choice"), &RunOptions::default()).unwrap();
    let found = chooser.choose(&texts).unwrap();
    for (found, expected) in found.iter().zip(array(&answers["choose"])) {
        assert_eq!(found.scores.len(), array(expected).len());
        for (found, expected) in found.scores.iter().zip(array(expected)) {
            assert_close(*found, expected, "choose");
        }
        assert!(
            found
                .scores
                .iter()
                .all(|score| *score <= found.scores[found.choice])
        );
    }
    assert!(found[2].truncated && !found[0].truncated);
    let none: &[&str] = &[];
    assert!(chooser.choose(&[("a", none)]).is_err());
}

#[test]
fn the_order_of_pairs_agrees() {
    let answers = answers();
    let orderer = Orderer::load(&tiny(), &RunOptions::default()).unwrap();
    let pairs: Vec<(String, String)> = serde_json::from_value(answers["pairs"].clone()).unwrap();
    let found = orderer.order(&pairs).unwrap();
    for (found, expected) in found.iter().zip(array(&answers["order"]["pairs"])) {
        assert_close(found.in_order, expected, "order");
    }
}

#[test]
fn no_order_of_the_sentences_is_better_than_the_one_found() {
    let answers = answers();
    let sentences = strings(&answers["sentences"]);
    let matrix: Vec<Vec<f64>> = serde_json::from_value(answers["order"]["matrix"].clone()).unwrap();
    let orderer = Orderer::load(&tiny(), &RunOptions::default()).unwrap();
    let sorted = orderer.sort_each(&[sentences.join(" ")]).remove(0).unwrap();
    let of_order: Vec<&str> = sorted
        .order
        .iter()
        .map(|&index| sentences[index].as_str())
        .collect();
    assert_eq!(sorted.sentences, of_order);
    let worth = |order: &[usize]| -> f64 {
        let pairs = order
            .iter()
            .enumerate()
            .flat_map(|(at, &a)| order[at + 1..].iter().map(move |&b| (a, b)));
        pairs
            .map(|(a, b)| matrix[a][b].ln() + (1.0 - matrix[b][a]).ln())
            .sum()
    };
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    permute(&mut order, 0, &mut |order| {
        assert!(worth(order) <= worth(&sorted.order) + SCORE_TOLERANCE)
    });
    assert_ne!(sorted.order, [0, 1, 2, 3, 4]);
}

fn permute(order: &mut Vec<usize>, fixed: usize, visit: &mut impl FnMut(&[usize])) {
    if fixed == order.len() {
        return visit(order);
    }
    for other in fixed..order.len() {
        order.swap(fixed, other);
        permute(order, fixed + 1, visit);
        order.swap(fixed, other);
    }
}

#[test]
fn few_sentences_are_sorted_and_too_many_refused() {
    let orderer = Orderer::load(&tiny(), &RunOptions::default()).unwrap();
    let many = "It was raining. ".repeat(101);
    let mut sorted = orderer
        .sort_each(&["", "Only one", many.as_str()])
        .into_iter();
    let (empty, one) = (
        sorted.next().unwrap().unwrap(),
        sorted.next().unwrap().unwrap(),
    );
    assert!(empty.order.is_empty() && empty.sentences.is_empty());
    assert_eq!(
        (one.order, one.sentences),
        (vec![0], vec!["Only one".to_string()])
    );
    let refused = sorted.next().unwrap().unwrap_err().to_string();
    assert_eq!(refused, "101 sentences: expected at most 100");
}

#[test]
fn pseudo_log_likelihoods_agree() {
    let answers = answers();
    let texts = strings(&answers["scored"]);
    for batch_tokens in [2048, 1] {
        let filler = MaskFiller::load(&model("masked"), &options(None, batch_tokens)).unwrap();
        let found = filler.score(&texts).unwrap();
        for (found, expected) in found.iter().zip(array(&answers["score"])) {
            let difference =
                (found.log_likelihood - expected["log_likelihood"].as_f64().unwrap()).abs();
            assert!(difference <= SCORE_TOLERANCE, "{found:?} {expected}");
            assert_eq!(Some(found.tokens as u64), expected["tokens"].as_u64());
        }
    }
}

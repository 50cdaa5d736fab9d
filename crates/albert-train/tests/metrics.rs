//! The metrics against scikit-learn, SciPy, seqeval and SQuAD's script, on the same predictions
//! (`scripts/make_metric_fixtures.py`).

use albert_train::metrics::answers::AnswerScores;
use albert_train::metrics::classification::Confusion;
use albert_train::metrics::correlation::{pearson, spearman};
use albert_train::metrics::entities::{Counts, EntityCounts};
use albert_train::metrics::multi_label::MultiLabel;
use serde_json::Value;

const FIXTURE: &str = include_str!("fixtures/metrics.json");

/// Both sides in f64; sums in another order.
const TOLERANCE: f64 = 1e-12;

fn cases(name: &str) -> Vec<Value> {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    fixture[name].as_array().unwrap().clone()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_str().unwrap()).collect()
}

fn assert_close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() < TOLERANCE,
        "{what}: expected {expected}, found {found}"
    );
}

#[test]
fn classification_has_the_figures_of_scikit_learn() {
    for case in cases("classification") {
        let indices = |name: &str| numbers(&case[name]).into_iter().map(|index| index as usize);
        let classes = case["classes"].as_u64().unwrap() as usize;
        let confusion = Confusion::new(classes, indices("labels").zip(indices("predictions")));
        assert_close(confusion.accuracy(), &case["accuracy"], "accuracy");
        assert_close(confusion.f1(), &case["f1"], "f1");
        assert_close(confusion.matthews(), &case["mcc"], "mcc");
    }
}

#[test]
fn correlations_have_the_figures_of_scipy() {
    for case in cases("correlation") {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        assert_close(pearson(&a, &b), &case["pearson"], "pearson");
        assert_close(spearman(&a, &b), &case["spearman"], "spearman");
    }
}

#[test]
fn several_labels_have_the_figures_of_scikit_learn() {
    for case in cases("multi_label") {
        let classes = case["classes"].as_u64().unwrap() as usize;
        let labels = case["labels"].as_array().unwrap().iter();
        let labels = labels.map(|label| label.as_bool().unwrap()).collect();
        let logits = numbers(&case["logits"])
            .into_iter()
            .map(|x| x as f32)
            .collect();
        let metrics = MultiLabel::new(classes, labels, logits);
        assert_close(metrics.micro_f1(), &case["micro_f1"], "micro f1");
        assert_close(metrics.macro_f1(), &case["macro_f1"], "macro f1");
        let precision = metrics.average_precision();
        assert_close(precision, &case["average_precision"], "average precision");
    }
}

fn assert_counts(counts: &Counts, expected: &Value, what: &str) {
    assert_close(counts.precision(), &expected[0], what);
    assert_close(counts.recall(), &expected[1], what);
    assert_close(counts.f1(), &expected[2], what);
    assert_eq!(
        counts.actual as u64,
        expected[3].as_u64().unwrap(),
        "{what}"
    );
}

#[test]
fn entities_have_the_figures_of_seqeval() {
    for case in cases("tagging") {
        let mut counts = EntityCounts::default();
        let rows = |name: &str| case[name].as_array().unwrap().iter().map(texts);
        for (labels, predictions) in rows("labels").zip(rows("predictions")) {
            counts.add(&labels, &predictions);
        }
        assert_counts(&counts.total(), &case["total"], "total");
        let types = case["types"].as_object().unwrap();
        assert_eq!(counts.types().len(), types.len());
        for (name, expected) in types {
            assert_counts(&counts.types()[name], expected, name);
        }
    }
}

#[test]
fn answers_have_the_figures_of_the_official_script() {
    for case in cases("answers") {
        let mut scores = AnswerScores::default();
        scores.add(
            &texts(&case["answers"]),
            case["prediction"].as_str().unwrap(),
        );
        let what = case.to_string();
        assert_close(
            scores.all.exact_match() / 100.0,
            &case["exact_match"],
            &what,
        );
        assert_close(scores.all.f1() / 100.0, &case["f1"], &what);
    }
}

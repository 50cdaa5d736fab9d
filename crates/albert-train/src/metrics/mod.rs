//! Metrics of predictions, each equal to the tool that the field compares with.
//!
//! | Module | Metrics | Equal to |
//! |---|---|---|
//! | [`classification`] | accuracy, F1, Matthews correlation | scikit-learn |
//! | [`correlation`] | Pearson, Spearman | SciPy |
//! | [`multi_label`] | micro and macro F1, average precision | scikit-learn |
//! | [`entities`] | precision, recall and F1 of entities | seqeval, conlleval |
//! | [`answers`] | exact match and F1 of answers | SQuAD's official scripts |
//!
//! Probabilities are in [0, 1]. Only the metrics of answers are percentages, as the official scripts
//! print them.

pub mod answers;
pub mod classification;
pub mod correlation;
pub mod entities;
pub mod multi_label;

/// Returns a / b, or 0 where b is 0: scikit-learn's `zero_division`.
fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// Returns F1 from counts: `2 tp / (2 tp + fp + fn)`.
fn f1(true_positives: usize, predicted: usize, actual: usize) -> f64 {
    ratio(2 * true_positives, predicted + actual)
}

//! Exact match and F1 of answers, in percent.
//!
//! Source: SQuAD's `evaluate-v1.1.py` and `evaluate-v2.0.py`.

use std::collections::HashMap;

/// The punctuation of Python's `string.punctuation`.
const PUNCTUATION: &str = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~";

/// Sums over questions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sums {
    /// The questions.
    pub questions: usize,
    exact: f64,
    f1: f64,
}

impl Sums {
    /// Returns the percentage of predictions that equal one of the right answers.
    pub fn exact_match(&self) -> f64 {
        100.0 * self.exact / self.questions.max(1) as f64
    }

    /// Returns the mean F1 of the words of answers, in percent.
    pub fn f1(&self) -> f64 {
        100.0 * self.f1 / self.questions.max(1) as f64
    }

    fn add(&mut self, exact: f64, f1: f64) {
        self.questions += 1;
        self.exact += exact;
        self.f1 += f1;
    }
}

/// Sums over all questions, and over those with and without an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AnswerScores {
    /// All questions.
    pub all: Sums,
    /// Questions with an answer.
    pub answerable: Sums,
    /// Questions without an answer.
    pub impossible: Sums,
}

impl AnswerScores {
    /// Adds a question: its right answers, none if it has no answer, and the prediction, empty for
    /// "no answer".
    pub fn add<S: AsRef<str>>(&mut self, answers: &[S], prediction: &str) {
        // As version 2.0 does: an answer without a word, such as "the", is none.
        let gold: Vec<&str> = answers
            .iter()
            .map(AsRef::as_ref)
            .filter(|answer| !normalize(answer).is_empty())
            .collect();
        let gold = if gold.is_empty() { vec![""] } else { gold };
        let best = |score: fn(&str, &str) -> f64| {
            let scores = gold.iter().map(|answer| score(answer, prediction));
            scores.fold(0.0, f64::max)
        };
        let (exact, f1) = (best(exact_match), best(word_f1));
        self.all.add(exact, f1);
        let part = if answers.is_empty() {
            &mut self.impossible
        } else {
            &mut self.answerable
        };
        part.add(exact, f1);
    }
}

/// Returns the text in lower case, without punctuation, articles and superfluous space.
pub fn normalize(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|character| !PUNCTUATION.contains(*character))
        .collect();
    let words = without_articles(&kept);
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Replaces `a`, `an` and `the` by a space where they are words: Python's `\b(a|an|the)\b`.
fn without_articles(text: &str) -> String {
    let is_word = |character: char| character.is_alphanumeric() || character == '_';
    let mut result = String::with_capacity(text.len());
    let mut word = String::new();
    let finish = |word: &mut String, result: &mut String| {
        if matches!(word.as_str(), "a" | "an" | "the") {
            result.push(' ');
        } else {
            result.push_str(word);
        }
        word.clear();
    };
    for character in text.chars() {
        if is_word(character) {
            word.push(character);
        } else {
            finish(&mut word, &mut result);
            result.push(character);
        }
    }
    finish(&mut word, &mut result);
    result
}

fn exact_match(answer: &str, prediction: &str) -> f64 {
    f64::from(u8::from(normalize(answer) == normalize(prediction)))
}

/// Returns the F1 of the words that two answers share.
fn word_f1(answer: &str, prediction: &str) -> f64 {
    let (gold, predicted) = (normalize(answer), normalize(prediction));
    let gold: Vec<&str> = gold.split_whitespace().collect();
    let predicted: Vec<&str> = predicted.split_whitespace().collect();
    if gold.is_empty() || predicted.is_empty() {
        return f64::from(u8::from(gold.is_empty() == predicted.is_empty()));
    }
    let mut counts: HashMap<&str, usize> = HashMap::new();
    gold.iter()
        .for_each(|word| *counts.entry(word).or_default() += 1);
    let mut shared = 0;
    for word in &predicted {
        if let Some(count) = counts.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return 0.0;
    }
    let precision = f64::from(shared) / predicted.len() as f64;
    let recall = f64::from(shared) / gold.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_punctuation_articles_and_space_do_not_matter() {
        assert_eq!(
            normalize(" The  U.S. Theater, an Apple"),
            "us theater apple"
        );
        assert_eq!(normalize("the"), "");
        assert_eq!(normalize("a-b"), "ab");
    }

    #[test]
    fn a_word_counts_as_often_as_both_have_it() {
        assert_eq!(word_f1("one one two", "one two two"), 2.0 / 3.0);
        assert_eq!(word_f1("", ""), 1.0);
        assert_eq!(word_f1("one", ""), 0.0);
    }

    #[test]
    fn the_best_answer_counts_and_no_answer_is_one() {
        let mut scores = AnswerScores::default();
        scores.add(&["Denver Broncos", "the Broncos"], "Broncos");
        scores.add::<&str>(&[], "");
        scores.add::<&str>(&[], "something");
        assert_eq!(scores.all.exact_match(), 100.0 * 2.0 / 3.0);
        assert_eq!(scores.answerable.f1(), 100.0);
        assert_eq!(scores.impossible.exact_match(), 50.0);
    }
}

//! Precision, recall and F1 of entities, from tags of words.
//!
//! A tag is `O`, or a prefix and a type such as `B-PER`. Prefixes are `B`, `I`, `E` and `S` of the
//! schemes IOB1, IOB2 and IOBES; a tag without a prefix is a type whose words join. An entity counts
//! as found if its type, its first word and its last word are all predicted.
//!
//! Source: `conlleval.pl` of CoNLL 2000; seqeval 1.2.2, `get_entities`.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::{f1, ratio};

/// An entity of a sentence: its type and its words.
pub type Entity<'a> = (&'a str, Range<usize>);

/// The counts of one type of entity, or of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entities that were predicted correctly.
    pub correct: usize,
    /// Entities predicted.
    pub predicted: usize,
    /// Entities in the data.
    pub actual: usize,
}

impl Counts {
    /// Returns the share of predicted entities that are right.
    pub fn precision(&self) -> f64 {
        ratio(self.correct, self.predicted)
    }

    /// Returns the share of the entities that are found.
    pub fn recall(&self) -> f64 {
        ratio(self.correct, self.actual)
    }

    /// Returns the harmonic mean of precision and recall.
    pub fn f1(&self) -> f64 {
        f1(self.correct, self.predicted, self.actual)
    }
}

/// Counts over sentences.
#[derive(Debug, Clone, Default)]
pub struct EntityCounts {
    types: BTreeMap<String, Counts>,
    words: usize,
    correct_words: usize,
}

impl EntityCounts {
    /// Adds a sentence by the tags of its words.
    ///
    /// # Panics
    /// If the two differ in length.
    pub fn add<S: AsRef<str>>(&mut self, tags: &[S], predictions: &[S]) {
        assert_eq!(tags.len(), predictions.len(), "a prediction for each word");
        self.words += tags.len();
        let pairs = tags.iter().zip(predictions);
        self.correct_words += pairs.filter(|(a, b)| a.as_ref() == b.as_ref()).count();
        let actual = entities(tags);
        let known: HashSet<&Entity<'_>> = actual.iter().collect();
        for entity in &actual {
            self.of(entity.0).actual += 1;
        }
        for entity in entities(predictions) {
            let is_correct = known.contains(&entity);
            let counts = self.of(entity.0);
            counts.predicted += 1;
            counts.correct += usize::from(is_correct);
        }
    }

    fn of(&mut self, kind: &str) -> &mut Counts {
        self.types.entry(kind.into()).or_default()
    }

    /// Returns the counts of each type that occurs, by name.
    pub fn types(&self) -> &BTreeMap<String, Counts> {
        &self.types
    }

    /// Returns the counts of all types together.
    pub fn total(&self) -> Counts {
        let mut total = Counts::default();
        for counts in self.types.values() {
            total.correct += counts.correct;
            total.predicted += counts.predicted;
            total.actual += counts.actual;
        }
        total
    }

    /// Returns the share of words with the right tag.
    pub fn accuracy(&self) -> f64 {
        ratio(self.correct_words, self.words)
    }
}

/// Returns the entities of a sentence by the tags of its words.
pub fn entities<S: AsRef<str>>(tags: &[S]) -> Vec<Entity<'_>> {
    let mut found = Vec::new();
    let mut open: Option<(&str, usize)> = None;
    let mut before = ('O', "");
    for (word, tag) in tags.iter().enumerate() {
        let now = parts(tag.as_ref());
        if let Some((kind, start)) = open
            && ends(before, now)
        {
            found.push((kind, start..word));
            open = None;
        }
        if starts(before, now) {
            open = Some((now.1, word));
        }
        before = now;
    }
    if let Some((kind, start)) = open {
        found.push((kind, start..tags.len()));
    }
    found
}

/// Returns the prefix and the type of a tag.
fn parts(tag: &str) -> (char, &str) {
    match tag.split_once('-') {
        _ if tag == "O" => ('O', ""),
        Some((prefix @ ("B" | "I" | "E" | "S"), kind)) => {
            (prefix.chars().next().unwrap_or('I'), kind)
        }
        _ => ('I', tag),
    }
}

/// Returns true if an entity ends between two words.
fn ends(before: (char, &str), now: (char, &str)) -> bool {
    let is_inside = matches!(before.0, 'B' | 'I');
    matches!(before.0, 'E' | 'S')
        || (is_inside && matches!(now.0, 'B' | 'S' | 'O'))
        || (before.0 != 'O' && before.1 != now.1)
}

/// Returns true if an entity starts at a word.
fn starts(before: (char, &str), now: (char, &str)) -> bool {
    let is_outside = matches!(before.0, 'E' | 'S' | 'O');
    matches!(now.0, 'B' | 'S')
        || (is_outside && matches!(now.0, 'E' | 'I'))
        || (now.0 != 'O' && before.1 != now.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inside_tag_begins_an_entity_after_another_type_or_nothing() {
        let tags = ["I-PER", "I-PER", "I-LOC", "O", "I-LOC", "B-LOC", "B-LOC"];
        assert_eq!(
            entities(&tags),
            [
                ("PER", 0..2),
                ("LOC", 2..3),
                ("LOC", 4..5),
                ("LOC", 5..6),
                ("LOC", 6..7)
            ]
        );
    }

    #[test]
    fn single_words_and_ends_close_entities() {
        let tags = ["S-PER", "B-LOC", "I-LOC", "E-LOC", "E-LOC"];
        let expected = [("PER", 0..1), ("LOC", 1..4), ("LOC", 4..5)];
        assert_eq!(entities(&tags), expected);
    }

    #[test]
    fn a_tag_without_a_prefix_is_a_type() {
        assert_eq!(entities(&["person", "person", "O"]), [("person", 0..2)]);
    }

    #[test]
    fn an_entity_with_another_end_or_type_is_wrong() {
        let mut counts = EntityCounts::default();
        let tags = ["B-PER", "I-PER", "O", "B-LOC"];
        counts.add(&tags, &["B-PER", "O", "O", "B-LOC"]);
        counts.add(&tags, &["B-LOC", "I-LOC", "O", "O"]);
        let total = counts.total();
        assert_eq!((total.correct, total.predicted, total.actual), (1, 3, 4));
        assert_eq!(counts.types()["LOC"].actual, 2);
        assert_eq!(counts.accuracy(), 4.0 / 8.0);
    }
}

//! The labels of a task, in the order of the logits.

use std::collections::{BTreeSet, HashMap};

/// The names of a task's labels with their indices.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Labels {
    names: Vec<String>,
    indices: HashMap<String, usize>,
}

impl Labels {
    /// Takes labels in this order.
    pub fn new(names: Vec<String>) -> Self {
        let indices = names.iter().cloned().zip(0..).collect();
        Self { names, indices }
    }

    /// Takes each label that occurs once, sorted: integers by value, other names by their
    /// characters.
    pub fn from_data<'a>(found: impl IntoIterator<Item = &'a str>) -> Self {
        let names: BTreeSet<&str> = found.into_iter().collect();
        let mut names: Vec<String> = names.into_iter().map(String::from).collect();
        let numbers: Option<Vec<i64>> = names.iter().map(|name| name.parse().ok()).collect();
        if let Some(numbers) = numbers {
            let mut pairs: Vec<_> = numbers.into_iter().zip(names).collect();
            pairs.sort();
            names = pairs.into_iter().map(|(_, name)| name).collect();
        }
        Self::new(names)
    }

    /// Returns the number of labels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns true if there are no labels.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Returns the names in the order of the logits.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Returns the name of a label.
    ///
    /// # Panics
    /// If there is no such label.
    pub fn name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// Returns the index of a label. Where a model has the names `LABEL_0`, `LABEL_1` and so on, as
    /// transformers calls labels without a name, an integer is the label of that index.
    pub fn index(&self, name: &str) -> Option<usize> {
        let index = self.indices.get(name).copied();
        index.or_else(|| {
            let unnamed = format!("LABEL_{name}");
            self.indices.get(&unnamed).copied()
        })
    }

    /// Returns true if both have the same labels, in any order.
    pub fn has_the_same(&self, other: &Self) -> bool {
        self.len() == other.len() && other.names.iter().all(|name| self.index(name).is_some())
    }

    /// Returns the names for a message: all of a few, or the first of many.
    pub fn shown(&self) -> String {
        const MOST: usize = 8;
        let quoted = self.names.iter().take(MOST).map(|name| format!("`{name}`"));
        let mut text = quoted.collect::<Vec<_>>().join(", ");
        if self.len() > MOST {
            text.push_str(&format!(" and {} others", self.len() - MOST));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_sorted_and_integers_by_their_value() {
        assert_eq!(
            Labels::from_data(["b", "a", "b", "B"]).names(),
            ["B", "a", "b"]
        );
        assert_eq!(
            Labels::from_data(["10", "9", "-1"]).names(),
            ["-1", "9", "10"]
        );
    }

    #[test]
    fn labels_without_a_name_are_found_by_their_number() {
        let labels = Labels::new(vec!["LABEL_0".into(), "LABEL_1".into()]);
        assert_eq!(labels.index("1"), Some(1));
        assert_eq!(labels.index("2"), None);
        assert!(labels.has_the_same(&Labels::from_data(["0", "1"])));
    }
}

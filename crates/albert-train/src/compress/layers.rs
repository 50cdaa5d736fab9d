//! Fewer layers, shared by groups.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use albert_tasks::albert_model::AlbertConfig;
use albert_tasks::albert_model::train::FlatParameters;

/// The part of a tensor's name before the number of its group.
const GROUPS: &str = ".albert_layer_groups.";

/// The initial weights of a group, from the layers that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum GroupInit {
    /// The first one.
    #[default]
    First,
    /// The last one.
    Last,
    /// The mean of their weights.
    Mean,
}

impl GroupInit {
    /// All ways.
    pub const ALL: [Self; 3] = [Self::First, Self::Last, Self::Mean];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Last => "last",
            Self::Mean => "mean",
        }
    }
}

impl fmt::Display for GroupInit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GroupInit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|way| way.name() == text);
        found.ok_or_else(|| "expected first, last or mean".into())
    }
}

/// Returns the layers of the original that remain: evenly spaced, the last one among them.
fn kept(original: usize, layers: usize) -> Vec<usize> {
    (1..=layers)
        .map(|layer| layer * original / layers - 1)
        .collect()
}

/// Copies the layers of `original` into the groups of `student`.
pub(super) fn merge(original: &FlatParameters, student: &mut FlatParameters, init: GroupInit) {
    let (from, to) = (original.layout(), student.layout().clone());
    let kept = kept(
        from.config().num_hidden_layers,
        to.config().num_hidden_layers,
    );
    let sources: Vec<Vec<usize>> = (0..to.config().num_hidden_groups)
        .map(|group| {
            let layers = &kept[stretch(to.config(), group)];
            let layers = match init {
                GroupInit::First => &layers[..1],
                GroupInit::Last => &layers[layers.len() - 1..],
                GroupInit::Mean => layers,
            };
            let group = |layer: &usize| from.config().group_for_layer(*layer);
            layers.iter().map(group).collect()
        })
        .collect();
    for tensor in to.tensors() {
        let Some((start, group, rest)) = split(&tensor.name) else {
            continue;
        };
        let values = &mut student.values_mut()[tensor.range.clone()];
        values.fill(0.0);
        let share = (sources[group].len() as f32).recip();
        for source in &sources[group] {
            let name = format!("{start}{GROUPS}{source}.{rest}");
            let own = original.tensor(&name).expect("both have the same layers");
            for (value, own) in values.iter_mut().zip(own) {
                *value += own * share;
            }
        }
    }
}

/// Returns the layers that use a group.
fn stretch(config: &AlbertConfig, group: usize) -> Range<usize> {
    let is_of = |layer: &usize| config.group_for_layer(*layer) == group;
    let mut layers = (0..config.num_hidden_layers).filter(is_of);
    let first = layers.next().unwrap_or(0);
    first..first + 1 + layers.count()
}

/// Splits a tensor's name at the number of its group.
fn split(name: &str) -> Option<(&str, usize, &str)> {
    let (start, rest) = name.split_once(GROUPS)?;
    let (group, rest) = rest.split_once('.')?;
    Some((start, group.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_layers_are_evenly_spaced_and_end_with_the_last() {
        assert_eq!(kept(6, 6), [0, 1, 2, 3, 4, 5]);
        assert_eq!(kept(12, 6), [1, 3, 5, 7, 9, 11]);
        assert_eq!(kept(6, 4), [0, 2, 3, 5]);
        assert_eq!(kept(6, 1), [5]);
    }

    #[test]
    fn a_name_is_split_at_its_group() {
        let name = "albert.encoder.albert_layer_groups.2.albert_layers.0.ffn.weight";
        assert_eq!(
            split(name),
            Some(("albert.encoder", 2, "albert_layers.0.ffn.weight"))
        );
        assert_eq!(split("albert.pooler.weight"), None);
    }
}

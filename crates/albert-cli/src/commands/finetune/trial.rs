//! Several runs that differ in one option or in their seed.

use albert_train::{FineTuneTask, Length, Summary, TrainerSettings};
use serde_json::{Map, Value, json};

use super::sweep::{Sweep, Swept};
use crate::failure::usage;

/// The settings of one run.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) task: FineTuneTask,
    pub(super) settings: TrainerSettings,
    pub(super) label_smoothing: f64,
    pub(super) dropout: Option<f64>,
    pub(super) seed: u64,
}

/// A run, identified by its values of the options that differ between runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Trial {
    pub(super) seed: Option<u64>,
    swept: Option<(Swept, String, f64)>,
}

impl Trial {
    /// Returns the name of its folder.
    pub(super) fn name(&self) -> String {
        let swept = self.swept.as_ref();
        let swept = swept.map(|(option, text, _)| format!("{}-{text}", option.name()));
        let seed = self.seed.map(|seed| format!("seed-{seed}"));
        let parts: Vec<String> = swept.into_iter().chain(seed).collect();
        parts.join("-")
    }

    /// Returns the members of a row that name it.
    pub(super) fn row(&self) -> Map<String, Value> {
        let mut row = self.swept_row();
        if let Some(seed) = self.seed {
            row.insert("seed".into(), json!(seed));
        }
        row
    }

    fn swept_row(&self) -> Map<String, Value> {
        let mut row = Map::new();
        if let Some((option, _, value)) = &self.swept {
            row.insert(option.name().replace('-', "_"), json!(value));
        }
        row
    }

    /// Sets the options that differ between runs.
    pub(super) fn apply(&self, resolved: &mut Resolved) {
        resolved.seed = self.seed.unwrap_or(resolved.seed);
        let Some((option, _, value)) = &self.swept else {
            return;
        };
        match option {
            Swept::LearningRate => resolved.settings.learning_rate = *value,
            Swept::BatchSize => resolved.settings.batch_size = *value as usize,
            Swept::Epochs => resolved.settings.length = Length::Epochs(*value),
            Swept::WeightDecay => resolved.settings.optimizer.weight_decay = *value,
            Swept::LabelSmoothing => resolved.label_smoothing = *value,
            Swept::Dropout => resolved.dropout = Some(*value),
        }
    }
}

/// Returns the runs that the options request: one for each value with each seed.
pub(super) fn trials(seeds: &[u64], sweep: Option<&Sweep>) -> anyhow::Result<Vec<Trial>> {
    let mut sorted = seeds.to_vec();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(usage("`--seeds`: expected distinct seeds, found one twice"));
    }
    let seeds: Vec<Option<u64>> = match seeds {
        [] => vec![None],
        seeds => seeds.iter().copied().map(Some).collect(),
    };
    let swept: Vec<_> = match sweep {
        None => vec![None],
        Some(sweep) => {
            let values = sweep.values.iter();
            values
                .map(|(text, value)| Some((sweep.option, text.clone(), *value)))
                .collect()
        }
    };
    let pairs = swept.iter().flat_map(|swept| {
        seeds.iter().map(|seed| Trial {
            seed: *seed,
            swept: swept.clone(),
        })
    });
    Ok(pairs.collect())
}

/// Returns the mean and the deviation of each metric over the seeds of each value; nothing for a
/// single seed.
pub(super) fn summarized(results: &[(Trial, Summary)]) -> Vec<Map<String, Value>> {
    let groups = results.chunk_by(|(one, _), (other, _)| one.swept == other.swept);
    let groups = groups.filter(|group| group.len() > 1);
    groups.map(summary).collect()
}

fn summary(group: &[(Trial, Summary)]) -> Map<String, Value> {
    let (mut means, mut deviations) = (Map::new(), Map::new());
    let first = group[0].1.evaluation.iter().flatten();
    for (index, (name, _)) in first.enumerate() {
        let values = group.iter().filter_map(|(_, summary)| {
            let evaluation = summary.evaluation.as_ref()?;
            evaluation.get(index).map(|(_, value)| *value)
        });
        let (mean, deviation) = mean_and_deviation(&values.collect::<Vec<_>>());
        means.insert(name.clone(), json!(mean));
        deviations.insert(name.clone(), json!(deviation));
    }
    let mut row = group[0].0.swept_row();
    row.insert("runs".into(), json!(group.len()));
    row.insert("mean".into(), means.into());
    row.insert("deviation".into(), deviations.into());
    row
}

/// Returns the mean and the standard deviation of a sample (divided by n - 1).
fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0).max(1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_named_by_what_sets_them_apart() {
        let trial = Trial {
            seed: Some(3),
            swept: Some((Swept::LearningRate, "1e-5".into(), 1e-5)),
        };
        assert_eq!(trial.name(), "learning-rate-1e-5-seed-3");
        assert_eq!(
            json!(trial.row()).to_string(),
            r#"{"learning_rate":0.00001,"seed":3}"#
        );
    }

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(mean_and_deviation(&[1.0, 3.0]), (2.0, 2f64.sqrt()));
        assert_eq!(mean_and_deviation(&[1.0]), (1.0, 0.0));
    }
}

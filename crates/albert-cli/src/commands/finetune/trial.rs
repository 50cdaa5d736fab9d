//! Several runs that differ in one option or in their seed.

use std::fmt;
use std::str::FromStr;

use albert_train::{Length, Summary};
use serde_json::{Map, Value, json};

use super::options::{FineTuneArgs, Resolved};
use crate::failure::usage;

/// An option that may have several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Swept {
    LearningRate,
    BatchSize,
    Epochs,
    WeightDecay,
    LabelSmoothing,
    Dropout,
}

impl Swept {
    const ALL: [Self; 6] = [
        Self::LearningRate,
        Self::BatchSize,
        Self::Epochs,
        Self::WeightDecay,
        Self::LabelSmoothing,
        Self::Dropout,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::LearningRate => "learning-rate",
            Self::BatchSize => "batch-size",
            Self::Epochs => "epochs",
            Self::WeightDecay => "weight-decay",
            Self::LabelSmoothing => "label-smoothing",
            Self::Dropout => "dropout",
        }
    }

    /// Returns whether the option may have a value.
    fn takes(self, value: f64) -> bool {
        match self {
            Self::LearningRate | Self::Epochs => value > 0.0 && value.is_finite(),
            Self::BatchSize => value >= 1.0 && value.fract() == 0.0 && value < 1e9,
            Self::WeightDecay => value >= 0.0 && value.is_finite(),
            Self::LabelSmoothing | Self::Dropout => (0.0..1.0).contains(&value),
        }
    }
}

/// An option with the values of its runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sweep {
    option: Swept,
    /// Each value as it was typed.
    values: Vec<(String, f64)>,
}

impl FromStr for Sweep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, values) = text
            .split_once('=')
            .ok_or("expected an option and its values, such as learning-rate=1e-5,2e-5")?;
        let option = Swept::ALL.into_iter().find(|option| option.name() == name);
        let option = option.ok_or_else(|| {
            let names = Swept::ALL.map(Swept::name);
            format!("expected one of {}, found {name}", names.join(", "))
        })?;
        let values = values.split(',').map(|text| {
            let value = text
                .trim()
                .parse()
                .ok()
                .filter(|value| option.takes(*value));
            let value = value.ok_or_else(|| format!("`{text}` is no value of {name}"))?;
            Ok((text.trim().to_string(), value))
        });
        Ok(Self {
            option,
            values: values.collect::<Result<_, String>>()?,
        })
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let values: Vec<&str> = self.values.iter().map(|(text, _)| text.as_str()).collect();
        write!(f, "{}={}", self.option.name(), values.join(","))
    }
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
pub(super) fn trials(args: &FineTuneArgs) -> anyhow::Result<Vec<Trial>> {
    let mut seeds = args.seeds.clone();
    seeds.sort_unstable();
    if seeds.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(usage(
            "`--seeds`: expected different seeds, found one twice",
        ));
    }
    let seeds: Vec<Option<u64>> = match args.seeds.as_slice() {
        [] => vec![None],
        seeds => seeds.iter().copied().map(Some).collect(),
    };
    let swept: Vec<_> = match &args.sweep {
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
    fn a_sweep_names_an_option_and_its_values() {
        let sweep: Sweep = "learning-rate=1e-5,2e-5".parse().unwrap();
        assert_eq!(sweep.to_string(), "learning-rate=1e-5,2e-5");
        assert_eq!(sweep.values[1], ("2e-5".into(), 2e-5));
        for wrong in [
            "learning-rate",
            "color=1",
            "epochs=0",
            "batch-size=1.5",
            "dropout=1",
        ] {
            assert!(wrong.parse::<Sweep>().is_err(), "{wrong}");
        }
    }

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

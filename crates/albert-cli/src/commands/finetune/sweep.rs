//! An option that several runs have different values of.

use std::fmt;
use std::str::FromStr;

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

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LearningRate => "learning-rate",
            Self::BatchSize => "batch-size",
            Self::Epochs => "epochs",
            Self::WeightDecay => "weight-decay",
            Self::LabelSmoothing => "label-smoothing",
            Self::Dropout => "dropout",
        }
    }

    /// Returns true if the option may have a value.
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
    pub(super) option: Swept,
    /// Each value as it was typed.
    pub(super) values: Vec<(String, f64)>,
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
            let value = value.ok_or_else(|| format!("`{text}` is not a value of {name}"))?;
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
}

//! The learning rate over a run: warm-up, then decay.

use std::f64::consts::PI;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The learning rate at the end of a polynomial decay: transformers' `lr_end`.
const POLYNOMIAL_END: f64 = 1e-7;

/// The share of a run that the decay of `wsd` takes (Hägele et al. 2024).
const WSD_DECAY: f64 = 0.2;

/// The shape of the decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// A straight line to 0.
    Linear,
    /// Half a cosine to 0.
    Cosine,
    /// A straight line to 1e-7, as transformers' polynomial of power 1.
    Polynomial,
    /// No decay.
    Constant,
    /// Warm-up, stable, then half a cosine to 0 over the last fifth.
    Wsd,
}

impl Schedule {
    /// Every schedule, in the order of the documentation.
    pub const ALL: [Self; 5] = [
        Self::Linear,
        Self::Cosine,
        Self::Polynomial,
        Self::Constant,
        Self::Wsd,
    ];

    /// Returns the name in options and recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Cosine => "cosine",
            Self::Polynomial => "polynomial",
            Self::Constant => "constant",
            Self::Wsd => "wsd",
        }
    }

    /// Returns the learning rate at `now` of a run from 0 to `total` whose warm-up ends at
    /// `warmup`, all three in steps (from 0) or in seconds.
    ///
    /// Source: transformers 4.46.3, `optimization.py`, `get_…_schedule_with_warmup` and
    /// `get_wsd_schedule`.
    pub fn learning_rate(self, peak: f64, now: f64, warmup: f64, total: f64) -> f64 {
        if now < warmup {
            return peak * (now / warmup);
        }
        let length = (total - warmup).max(f64::MIN_POSITIVE);
        let progress = (now - warmup) / length;
        let half_cosine = |progress: f64| (0.5 * (1.0 + (PI * progress.min(1.0)).cos())).max(0.0);
        match self {
            Self::Linear => peak * ((total - now) / length).max(0.0),
            Self::Cosine => peak * half_cosine(progress),
            Self::Polynomial if now >= total => POLYNOMIAL_END,
            Self::Polynomial => (peak - POLYNOMIAL_END) * (1.0 - progress) + POLYNOMIAL_END,
            Self::Constant => peak,
            Self::Wsd => {
                let decay = (total * WSD_DECAY).min(total - warmup).round();
                match now - (total - decay) {
                    stable if stable < 0.0 => peak,
                    passed => peak * half_cosine(passed / decay.max(1.0)),
                }
            }
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|schedule| schedule.name() == text);
        found.ok_or_else(|| "expected linear, cosine, polynomial, constant or wsd".into())
    }
}

/// The length of the warm-up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Warmup {
    /// This many steps.
    Steps(u64),
    /// This share of the run, below 1.
    Share(f64),
}

impl Warmup {
    /// Returns the warm-up steps of a run of `total` steps, rounded up as in transformers.
    pub fn steps(self, total: u64) -> u64 {
        match self {
            Self::Steps(steps) => steps,
            Self::Share(share) => (share * total as f64).ceil() as u64,
        }
    }

    /// Returns the warm-up seconds of a run of `total` seconds; a warm-up in steps counts as 0.
    pub fn seconds(self, total: f64) -> f64 {
        match self {
            Self::Steps(_) => 0.0,
            Self::Share(share) => share * total,
        }
    }
}

impl FromStr for Warmup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || "expected a number of steps, or a fraction below 1".to_string();
        if let Ok(steps) = text.parse() {
            return Ok(Self::Steps(steps));
        }
        match text.parse() {
            Ok(share) if (0.0..1.0).contains(&share) => Ok(Self::Share(share)),
            _ => Err(expected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values below have seven digits.
    const TOLERANCE: f64 = 1e-9;

    /// `scripts/make_optimizer_fixtures.py`, transformers 4.46.3: peak 1e-3, 3 of 10 steps of
    /// warm-up.
    #[test]
    fn learning_rates_are_those_of_transformers() {
        let linear = [
            0.0,
            3.333333e-4,
            6.666667e-4,
            1e-3,
            8.571429e-4,
            7.142857e-4,
            5.714286e-4,
            4.285714e-4,
            2.857143e-4,
            1.428571e-4,
            0.0,
        ];
        let cosine = [
            0.0,
            3.333333e-4,
            6.666667e-4,
            1e-3,
            9.504844e-4,
            8.117449e-4,
            6.112605e-4,
            3.887395e-4,
            1.882551e-4,
            4.951557e-5,
            0.0,
        ];
        let polynomial = [
            0.0,
            3.333333e-4,
            6.666667e-4,
            1e-3,
            8.571571e-4,
            7.143143e-4,
            5.714714e-4,
            4.286286e-4,
            2.857857e-4,
            1.429429e-4,
            1e-7,
        ];
        let constant = [
            0.0,
            3.333333e-4,
            6.666667e-4,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
        ];
        let wsd = [
            0.0,
            3.333333e-4,
            6.666667e-4,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            1e-3,
            5e-4,
            0.0,
        ];
        for (schedule, expected) in [
            (Schedule::Linear, linear),
            (Schedule::Cosine, cosine),
            (Schedule::Polynomial, polynomial),
            (Schedule::Constant, constant),
            (Schedule::Wsd, wsd),
        ] {
            for (step, expected) in expected.into_iter().enumerate() {
                let found = schedule.learning_rate(1e-3, step as f64, 3.0, 10.0);
                assert!(
                    (found - expected).abs() < TOLERANCE,
                    "{schedule} at {step}: {found}"
                );
            }
        }
    }

    #[test]
    fn warmup_is_a_number_of_steps_or_a_share() {
        assert_eq!("100".parse(), Ok(Warmup::Steps(100)));
        assert_eq!("0.1".parse(), Ok(Warmup::Share(0.1)));
        assert_eq!(Warmup::Share(0.1).steps(95), 10);
        for wrong in ["1.5", "-1", "x", "NaN"] {
            assert!(wrong.parse::<Warmup>().is_err(), "{wrong}");
        }
    }
}

//! The objectives of distillation and their weights.

use std::fmt;
use std::str::FromStr;

use albert_tasks::albert_model::Head;

use crate::error::{Error, Result};

/// An objective of distillation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DistillObjective {
    /// The teacher's sentence embeddings.
    Embeddings,
    /// The teacher's hidden states of every token.
    HiddenStates,
    /// The teacher's probabilities of masked tokens.
    MaskedLm,
    /// The text's own masked tokens and sentence order, without the teacher.
    Pretraining,
}

impl DistillObjective {
    /// All objectives.
    pub const ALL: [Self; 4] = [
        Self::Embeddings,
        Self::HiddenStates,
        Self::MaskedLm,
        Self::Pretraining,
    ];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embeddings => "embeddings",
            Self::HiddenStates => "hidden-states",
            Self::MaskedLm => "masked-lm",
            Self::Pretraining => "pretraining",
        }
    }
}

/// The weight of each objective in the loss; 0 leaves it out.
///
/// Written as names with weights, 1 unless given: `embeddings=2,hidden-states`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DistillWeights {
    /// The weight of the teacher's sentence embeddings.
    pub embeddings: f32,
    /// The weight of the teacher's hidden states.
    pub hidden_states: f32,
    /// The weight of the teacher's probabilities of masked tokens.
    pub masked_lm: f32,
    /// The weight of the text's own masked tokens and sentence order.
    pub pretraining: f32,
}

impl DistillWeights {
    /// The usual weight of sentence embeddings.
    pub(super) const EMBEDDINGS: f32 = 2.0;

    /// Returns the weight of an objective.
    pub fn get(&self, objective: DistillObjective) -> f32 {
        match objective {
            DistillObjective::Embeddings => self.embeddings,
            DistillObjective::HiddenStates => self.hidden_states,
            DistillObjective::MaskedLm => self.masked_lm,
            DistillObjective::Pretraining => self.pretraining,
        }
    }

    /// Sets the weight of an objective.
    #[must_use]
    pub fn with(mut self, objective: DistillObjective, weight: f32) -> Self {
        *match objective {
            DistillObjective::Embeddings => &mut self.embeddings,
            DistillObjective::HiddenStates => &mut self.hidden_states,
            DistillObjective::MaskedLm => &mut self.masked_lm,
            DistillObjective::Pretraining => &mut self.pretraining,
        } = weight;
        self
    }

    /// Returns the head of a student that starts with `start`: that one, or a wider one that the
    /// objectives need.
    pub fn head(&self, start: Head, sentence_order: bool) -> Head {
        let needed = if self.pretraining > 0.0 && sentence_order {
            Head::PreTraining
        } else if self.reads_masks() {
            Head::MaskedLm
        } else {
            Head::Encoder
        };
        [Head::PreTraining, Head::MaskedLm]
            .into_iter()
            .find(|head| [start, needed].contains(head))
            .unwrap_or(Head::Encoder)
    }

    /// Checks that the student has the head that the objectives need.
    pub(super) fn check(&self, student: Head) -> Result<()> {
        if self.reads_masks() && student == Head::Encoder {
            return Err(Error::Setting {
                name: "student",
                expected: "a masked-LM head for objectives on masked tokens".into(),
                found: "a model without it".into(),
            });
        }
        Ok(())
    }

    /// Returns true if lone sentences are compared with the teacher.
    pub(super) fn reads_sentences(&self) -> bool {
        self.embeddings > 0.0 || self.hidden_states > 0.0
    }

    /// Returns true if masked tokens are predicted.
    pub(super) fn reads_masks(&self) -> bool {
        self.masked_lm > 0.0 || self.pretraining > 0.0
    }
}

impl FromStr for DistillWeights {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut weights = Self::default();
        for part in text.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let names = DistillObjective::ALL.map(DistillObjective::name);
            let objective = DistillObjective::ALL
                .into_iter()
                .find(|objective| objective.name() == name.trim())
                .ok_or_else(|| format!("expected objectives among {}", names.join(", ")))?;
            let weight = weight.trim().parse::<f32>().ok();
            let weight = weight.filter(|weight| weight.is_finite() && *weight > 0.0);
            let weight = weight.ok_or("expected weights above 0, such as embeddings=2")?;
            if weights.get(objective) > 0.0 {
                return Err(format!("expected `{}` only once", objective.name()));
            }
            weights = weights.with(objective, weight);
        }
        Ok(weights)
    }
}

impl fmt::Display for DistillWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for objective in DistillObjective::ALL {
            let weight = self.get(objective);
            if weight > 0.0 {
                write!(f, "{separator}{}={weight}", objective.name())?;
                separator = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_written_as_they_are_read() {
        for (text, shown) in [
            ("embeddings", "embeddings=1"),
            (
                "hidden-states=0.5,embeddings=2",
                "embeddings=2,hidden-states=0.5",
            ),
            ("masked-lm=1, pretraining", "masked-lm=1,pretraining=1"),
        ] {
            let weights: DistillWeights = text.parse().unwrap();
            assert_eq!(weights.to_string(), shown);
            assert_eq!(shown.parse(), Ok(weights));
        }
    }

    #[test]
    fn other_names_and_weights_are_refused() {
        for (text, message) in [
            ("", "expected objectives among embeddings,"),
            ("vectors", "expected objectives among embeddings,"),
            ("embeddings=0", "expected weights above 0"),
            ("embeddings=x", "expected weights above 0"),
            ("embeddings,embeddings=2", "expected `embeddings` only once"),
        ] {
            let error = text.parse::<DistillWeights>().unwrap_err();
            assert!(error.starts_with(message), "{text}: {error}");
        }
    }
}

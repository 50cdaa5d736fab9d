//! Known data sets: their fields, labels and columns, and the settings of the paper.

use std::fmt;
use std::str::FromStr;

use super::labels::Labels;
use super::task::FineTuneTask;
use crate::trainer::Length;

/// A data set that ALBERT was evaluated on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Sentiment of movie reviews (GLUE).
    Sst2,
    /// Linguistic acceptability (GLUE).
    Cola,
    /// Paraphrases in news (GLUE).
    Mrpc,
    /// Duplicate questions (GLUE).
    Qqp,
    /// Semantic similarity from 0 to 5 (GLUE).
    Stsb,
    /// Natural language inference of many genres (GLUE).
    Mnli,
    /// Sentences that answer a question (GLUE).
    Qnli,
    /// Textual entailment (GLUE).
    Rte,
    /// Pronouns, as entailment (GLUE).
    Wnli,
    /// Yes-no questions about a passage.
    Boolq,
    /// SQuAD 1.1.
    Squad,
    /// SQuAD 2.0, with questions that have no answer.
    Squad2,
    /// Reading comprehension of English exams.
    Race,
    /// Named entities in news.
    Conll2003,
    /// Emerging and rare named entities.
    Wnut17,
}

/// The training settings of a data set.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct PresetSettings {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Examples in a step.
    pub batch_size: usize,
    /// The steps of the run; `None` where the data sets the number of epochs.
    pub steps: Option<u64>,
    /// The epochs of a run without a number of steps.
    pub epochs: f64,
    /// The steps of the warm-up.
    pub warmup_steps: u64,
    /// The maximum length in tokens.
    pub max_length: usize,
}

impl PresetSettings {
    /// Returns the length of a run: the steps, if they are known, else the epochs.
    pub fn length(self) -> Length {
        match self.steps {
            Some(steps) => Length::Steps(steps),
            None => Length::Epochs(self.epochs),
        }
    }
}

/// The known properties of a data set.
struct Facts {
    name: &'static str,
    task: FineTuneTask,
    /// The names that the field of each text may have.
    texts: &'static [&'static [&'static str]],
    /// The names that the field of the label may have.
    label: &'static [&'static str],
    /// The labels in the order of the integers that some files have in their place.
    labels: &'static [&'static str],
    /// Columns of the original files, where these have no header.
    columns: Option<&'static [&'static str]>,
    metric: &'static str,
    /// Learning rate, batch, steps, warm-up steps.
    settings: (f64, usize, Option<u64>, u64),
    epochs: f64,
    max_length: usize,
}

const SENTENCES: &[&[&str]] = &[&["sentence1"], &["sentence2"]];
const ENTAILMENT: &[&str] = &["entailment", "not_entailment"];

impl Preset {
    /// Every data set, in the order of the documentation.
    pub const ALL: [Self; 15] = [
        Self::Sst2,
        Self::Cola,
        Self::Mrpc,
        Self::Qqp,
        Self::Stsb,
        Self::Mnli,
        Self::Qnli,
        Self::Rte,
        Self::Wnli,
        Self::Boolq,
        Self::Squad,
        Self::Squad2,
        Self::Race,
        Self::Conll2003,
        Self::Wnut17,
    ];

    /// Returns the known properties.
    ///
    /// Source of the settings: google-research/albert, `run_glue.sh`, and Lan et al. 2020, table 14,
    /// for WNLI, SQuAD and RACE (with the learning rate of the second version of the models). BoolQ
    /// and the two tagging sets are not in them: BoolQ has the rate and batch of SST-2, the others
    /// have the rate of transformers' `run_ner.py`.
    fn facts(self) -> Facts {
        use FineTuneTask::{Answering, Choice, Classification, Regression, Tagging};
        let glue = Facts {
            name: "",
            task: Classification,
            texts: &[&["sentence"]],
            label: &["label"],
            labels: &[],
            columns: None,
            metric: "accuracy",
            settings: (1e-5, 32, None, 0),
            epochs: 3.0,
            max_length: 512,
        };
        match self {
            Self::Sst2 => Facts {
                name: "sst2",
                labels: &["negative", "positive"],
                settings: (1e-5, 32, Some(20_935), 1256),
                ..glue
            },
            Self::Cola => Facts {
                name: "cola",
                labels: &["unacceptable", "acceptable"],
                columns: Some(&["source", "label", "mark", "sentence"]),
                metric: "mcc",
                settings: (1e-5, 16, Some(5336), 320),
                ..glue
            },
            Self::Mrpc => Facts {
                name: "mrpc",
                texts: &[&["sentence1", "#1 String"], &["sentence2", "#2 String"]],
                label: &["label", "Quality"],
                labels: &["not_equivalent", "equivalent"],
                metric: "f1",
                settings: (2e-5, 32, Some(800), 200),
                ..glue
            },
            Self::Qqp => Facts {
                name: "qqp",
                texts: &[&["question1"], &["question2"]],
                label: &["label", "is_duplicate"],
                labels: &["not_duplicate", "duplicate"],
                metric: "f1",
                settings: (5e-5, 128, Some(14_000), 1000),
                ..glue
            },
            Self::Stsb => Facts {
                name: "stsb",
                task: Regression,
                texts: SENTENCES,
                label: &["label", "score"],
                columns: Some(&[
                    "genre",
                    "file",
                    "year",
                    "id",
                    "score",
                    "sentence1",
                    "sentence2",
                    "source1",
                    "source2",
                ]),
                metric: "pearson",
                settings: (2e-5, 16, Some(3598), 214),
                ..glue
            },
            Self::Mnli => Facts {
                name: "mnli",
                texts: &[&["premise", "sentence1"], &["hypothesis", "sentence2"]],
                label: &["label", "gold_label"],
                labels: &["entailment", "neutral", "contradiction"],
                settings: (3e-5, 128, Some(10_000), 1000),
                ..glue
            },
            Self::Qnli => Facts {
                name: "qnli",
                texts: &[&["question"], &["sentence"]],
                labels: ENTAILMENT,
                settings: (1e-5, 32, Some(33_112), 1986),
                ..glue
            },
            Self::Rte => Facts {
                name: "rte",
                texts: SENTENCES,
                labels: ENTAILMENT,
                settings: (3e-5, 32, Some(800), 200),
                ..glue
            },
            Self::Wnli => Facts {
                name: "wnli",
                texts: SENTENCES,
                labels: &["not_entailment", "entailment"],
                settings: (2e-5, 16, Some(2000), 250),
                ..glue
            },
            Self::Boolq => Facts {
                name: "boolq",
                texts: &[&["question"], &["passage"]],
                label: &["label", "answer"],
                labels: &["false", "true"],
                ..glue
            },
            Self::Squad => Facts {
                name: "squad",
                task: Answering,
                metric: "f1",
                settings: (5e-5, 48, Some(3649), 365),
                max_length: 384,
                ..glue
            },
            Self::Squad2 => Facts {
                name: "squad2",
                task: Answering,
                metric: "f1",
                settings: (3e-5, 48, Some(8144), 814),
                ..glue
            },
            Self::Race => Facts {
                name: "race",
                task: Choice,
                settings: (1e-5, 32, Some(12_000), 1000),
                ..glue
            },
            Self::Conll2003 => Facts {
                name: "conll2003",
                task: Tagging,
                texts: &[&["tokens"]],
                label: &["tags", "ner_tags"],
                labels: &[
                    "O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC",
                ],
                metric: "f1",
                settings: (5e-5, 32, None, 0),
                max_length: 128,
                ..glue
            },
            Self::Wnut17 => Facts {
                name: "wnut17",
                task: Tagging,
                texts: &[&["tokens"]],
                label: &["tags", "ner_tags"],
                labels: &[
                    "O",
                    "B-corporation",
                    "I-corporation",
                    "B-creative-work",
                    "I-creative-work",
                    "B-group",
                    "I-group",
                    "B-location",
                    "I-location",
                    "B-person",
                    "I-person",
                    "B-product",
                    "I-product",
                ],
                metric: "f1",
                settings: (5e-5, 32, None, 0),
                max_length: 128,
                ..glue
            },
        }
    }

    /// Returns the name in options and recipes.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Returns the task.
    pub fn task(self) -> FineTuneTask {
        self.facts().task
    }

    /// Returns true if the data has examples of a task: its own, or similarity for scored pairs.
    pub fn has_task(self, task: FineTuneTask) -> bool {
        let is_scored = self.score_range().is_some();
        task == self.task() || (is_scored && task == FineTuneTask::Similarity)
    }

    /// Returns the lowest and the highest score, if the data has pairs with scores.
    pub fn score_range(self) -> Option<(f32, f32)> {
        match self {
            Self::Stsb => Some((0.0, 5.0)),
            _ => None,
        }
    }

    /// Returns the metric that selects the best evaluation.
    pub fn metric(self) -> &'static str {
        self.facts().metric
    }

    /// Returns the settings of the run.
    pub fn settings(self) -> PresetSettings {
        let facts = self.facts();
        let (learning_rate, batch_size, steps, warmup_steps) = facts.settings;
        PresetSettings {
            learning_rate,
            batch_size,
            steps,
            epochs: facts.epochs,
            warmup_steps,
            max_length: facts.max_length,
        }
    }

    /// Returns the columns of the original files, if these have no header.
    pub fn columns(self) -> Option<&'static [&'static str]> {
        self.facts().columns
    }

    pub(super) fn texts(self) -> &'static [&'static [&'static str]] {
        self.facts().texts
    }

    pub(super) fn label(self) -> &'static [&'static str] {
        self.facts().label
    }

    /// Returns the name of a label that some files have as an integer.
    pub(super) fn label_name(self, found: String) -> String {
        let labels = self.facts().labels;
        let index = found
            .parse()
            .ok()
            .filter(|index: &usize| *index < labels.len());
        index.map_or(found, |index| labels[index].into())
    }

    /// Returns all labels in their known order, if no others occur.
    pub(super) fn ordered(self, found: &Labels) -> Option<Labels> {
        let known = Labels::new(
            self.facts()
                .labels
                .iter()
                .map(ToString::to_string)
                .collect(),
        );
        let are_known = found.names().iter().all(|name| known.index(name).is_some());
        (!known.is_empty() && are_known).then_some(known)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|preset| preset.name() == text);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name);
            format!("expected one of {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_one_data_set() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse(), Ok(preset));
        }
        assert!("glue".parse::<Preset>().unwrap_err().contains("sst2, cola"));
    }

    #[test]
    fn scored_pairs_are_also_data_of_similarity() {
        assert!(Preset::Stsb.has_task(FineTuneTask::Regression));
        assert!(Preset::Stsb.has_task(FineTuneTask::Similarity));
        assert!(!Preset::Mrpc.has_task(FineTuneTask::Similarity));
    }

    #[test]
    fn integers_are_named_and_the_positive_class_comes_second() {
        assert_eq!(Preset::Mrpc.label_name("1".into()), "equivalent");
        assert_eq!(Preset::Mrpc.label_name("9".into()), "9");
        let found = Labels::from_data(["equivalent", "not_equivalent"]);
        let ordered = Preset::Mrpc.ordered(&found).unwrap();
        assert_eq!(ordered.names(), ["not_equivalent", "equivalent"]);
        assert!(
            Preset::Mrpc
                .ordered(&Labels::from_data(["x", "y"]))
                .is_none()
        );
    }
}

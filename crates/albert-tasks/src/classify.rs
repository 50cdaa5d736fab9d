//! Labels for whole texts.

use std::fmt;
use std::str::FromStr;

use albert_model::{AlbertConfig, AlbertForSequenceClassification, Pretrained as _, ProblemType};
use serde::Serialize;

use crate::batching;
use crate::names;
use crate::options::{Purpose, Setup};
use crate::probability::{sigmoid, softmax};
use crate::runner::{Runner, TEXT_AT_ONCE};
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};

/// From logits to scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScoreFunction {
    /// Probabilities that sum to 1: one label holds.
    Softmax,
    /// A probability for each label by itself: any number of them may hold.
    Sigmoid,
    /// The logits as they are.
    None,
}

impl ScoreFunction {
    /// Every function with its name on the command line.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::Softmax, "softmax"),
        (Self::Sigmoid, "sigmoid"),
        (Self::None, "none"),
    ];

    /// The function that a model's `config.json` asks for: for regression none; for a single label,
    /// or where several may hold, the sigmoid; else softmax.
    ///
    /// Source: transformers 4.46.3, `pipelines/text_classification.py`, `postprocess`.
    pub fn of_model(config: &AlbertConfig) -> Self {
        match config.problem_type {
            Some(ProblemType::Regression) => Self::None,
            Some(ProblemType::MultiLabelClassification) => Self::Sigmoid,
            _ if config.num_labels() == 1 => Self::Sigmoid,
            _ => Self::Softmax,
        }
    }

    fn apply(self, logits: &mut [f32]) {
        match self {
            Self::Softmax => softmax(logits),
            Self::Sigmoid => logits.iter_mut().for_each(|logit| *logit = sigmoid(*logit)),
            Self::None => {}
        }
    }
}

impl fmt::Display for ScoreFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for ScoreFunction {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("function", &Self::ALL, name)
    }
}

/// What to make of a classifier's logits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassifyOptions {
    /// How many labels to give, the best ones; `None` gives all.
    pub top_k: Option<usize>,
    /// The function; `None` is what the model asks for, [`ScoreFunction::of_model`].
    pub function: Option<ScoreFunction>,
}

/// A label and how well it fits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name, from `config.json`; `LABEL_0` and so on where that names none.
    pub label: String,
    /// What the function makes of the label's logit.
    pub score: f32,
}

/// One text's labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// The labels, the best first.
    pub labels: Vec<LabelScore>,
    /// Tokens that entered the model, special tokens included.
    #[serde(skip)]
    pub tokens: usize,
    /// Whether the text was cut to fit.
    #[serde(skip)]
    pub truncated: bool,
}

/// Gives texts the labels that a model was fine-tuned for: sentiment, topic, a grade, whether one
/// text follows from another.
///
/// ```
/// use albert_tasks::{Classifier, ClassifyOptions, ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/sentiment");
/// let classifier = Classifier::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let answers = classifier.classify(&["What a fine day."], &ClassifyOptions::default())?;
/// let best = &answers[0].labels[0];
/// assert!(best.score > 1.0 / 3.0);
/// assert!(["NEGATIVE", "NEUTRAL", "POSITIVE"].contains(&best.label.as_str()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Classifier {
    model: AlbertForSequenceClassification,
    tokenizer: Tokenizer,
    max_length: usize,
    runner: Runner,
}

impl Classifier {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sequence classification head.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForSequenceClassification::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        Ok(Self {
            model,
            tokenizer,
            max_length,
            runner,
        })
    }

    /// The longest text in tokens, special ones included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The labels of each text, in order.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails.
    pub fn classify<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        options: &ClassifyOptions,
    ) -> Result<Vec<Classification>> {
        let inputs: Vec<(&str, Option<&str>)> =
            texts.iter().map(|text| (text.as_ref(), None)).collect();
        self.classify_pairs(&inputs, options)
    }

    /// The labels of each text together with its second one, where it has one; in order.
    ///
    /// # Errors
    /// As [`classify`](Self::classify).
    pub fn classify_pairs<S: AsRef<str> + Sync, P: AsRef<str> + Sync>(
        &self,
        inputs: &[(S, Option<P>)],
        options: &ClassifyOptions,
    ) -> Result<Vec<Classification>> {
        let size = |(text, pair): &(S, Option<P>)| {
            text.as_ref().len() + pair.as_ref().map_or(0, |pair| pair.as_ref().len())
        };
        self.runner
            .in_portions(inputs, TEXT_AT_ONCE, size, |inputs| {
                self.classify_portion(inputs, options)
            })
    }

    fn classify_portion<S: AsRef<str> + Sync, P: AsRef<str> + Sync>(
        &self,
        inputs: &[(S, Option<P>)],
        options: &ClassifyOptions,
    ) -> Result<Vec<Classification>> {
        let rows = batching::encode(&self.tokenizer, inputs, self.max_length)?;
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            Ok(self
                .model
                .forward(&batching::model_input(rows, device)?)?
                .logits)
        })?;
        let function = options
            .function
            .unwrap_or_else(|| ScoreFunction::of_model(self.config()));
        let finish = |(row, mut logits): (&crate::tokenizer::TokenIds, Vec<f32>)| {
            function.apply(&mut logits);
            let names = (0..).map(|index| self.config().label(index));
            let mut labels = best_first(names.zip(logits));
            labels.truncate(options.top_k.unwrap_or(labels.len()));
            Classification {
                labels,
                tokens: row.ids.len(),
                truncated: row.truncated,
            }
        };
        Ok(rows.iter().zip(logits).map(finish).collect())
    }
}

/// Labels with their scores, the best first; of equals the first.
pub(crate) fn best_first(scores: impl Iterator<Item = (String, f32)>) -> Vec<LabelScore> {
    let mut labels: Vec<LabelScore> = scores
        .map(|(label, score)| LabelScore { label, score })
        .collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(problem_type: Option<ProblemType>, labels: usize) -> AlbertConfig {
        let id2label = (0..labels).map(|id| (id, id.to_string())).collect();
        AlbertConfig {
            problem_type,
            id2label,
            ..AlbertConfig::base_v2()
        }
    }

    #[test]
    fn the_problem_type_decides_then_the_number_of_labels() {
        let of = |problem_type, labels| ScoreFunction::of_model(&config(problem_type, labels));
        assert_eq!(of(None, 3), ScoreFunction::Softmax);
        assert_eq!(of(None, 1), ScoreFunction::Sigmoid);
        assert_eq!(
            of(Some(ProblemType::SingleLabelClassification), 2),
            ScoreFunction::Softmax
        );
        assert_eq!(
            of(Some(ProblemType::MultiLabelClassification), 3),
            ScoreFunction::Sigmoid
        );
        assert_eq!(of(Some(ProblemType::Regression), 1), ScoreFunction::None);
    }

    #[test]
    fn names_go_both_ways() {
        for (function, name) in ScoreFunction::ALL {
            assert_eq!(name.parse::<ScoreFunction>().unwrap(), function);
            assert_eq!(function.to_string(), name);
        }
        assert!("relu".parse::<ScoreFunction>().is_err());
    }

    #[test]
    fn the_best_label_comes_first_and_of_equals_the_first() {
        let scores =
            [("a", 0.2), ("b", 0.4), ("c", 0.4)].map(|(label, score)| (label.to_string(), score));
        let labels: Vec<String> = best_first(scores.into_iter())
            .into_iter()
            .map(|it| it.label)
            .collect();
        assert_eq!(labels, ["b", "c", "a"]);
    }
}

//! Text classification: labels for whole texts and for pairs of texts.

mod score_function;

use albert_model::AlbertForSequenceClassification;
use rayon::prelude::*;
use serde::Serialize;

use crate::engine::batching;
use crate::engine::runner::CHUNK_BYTES;
use crate::pipeline::{Pipeline, Purpose};
use crate::task::{impl_access, impl_loading};
use crate::windowed::Windowed;
use crate::{Error, Result, SharedModel, TextInput, input};
pub use score_function::ScoreFunction;
use score_function::{activation_function, cross_encoder_activation};

/// Options for [`Classifier::classify`].
///
/// ```
/// use albert_tasks::{ClassifyOptions, ScoreFunction};
///
/// let options = ClassifyOptions::default().with_top_k(1).with_function(ScoreFunction::Sigmoid);
/// assert_eq!(options.top_k, Some(1));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClassifyOptions {
    /// The number of labels to keep, best first; `None` keeps all.
    pub top_k: Option<usize>,
    /// Turns logits into scores; `None` takes the model's function,
    /// [`Classifier::score_function`].
    pub function: Option<ScoreFunction>,
    /// Reads a text that is too long in windows that share this many tokens, and averages their
    /// scores, weighted by the number of the text's tokens in each. `None` truncates the text.
    pub stride: Option<usize>,
}

impl ClassifyOptions {
    /// Keeps the `top_k` best labels.
    pub fn with_top_k(mut self, top_k: impl Into<Option<usize>>) -> Self {
        self.top_k = top_k.into();
        self
    }

    /// Turns logits into scores with `function`.
    pub fn with_function(mut self, function: impl Into<Option<ScoreFunction>>) -> Self {
        self.function = function.into();
        self
    }

    /// Reads long texts in windows that share `stride` tokens.
    pub fn with_stride(mut self, stride: impl Into<Option<usize>>) -> Self {
        self.stride = stride.into();
        self
    }
}

/// A label with its score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelScore {
    /// The label's name, from `config.json`; `LABEL_0` and so on if that file has no names.
    pub label: String,
    /// The score that the function of the options computes.
    pub score: f32,
}

impl LabelScore {
    /// Creates a label with its score.
    pub fn new(label: impl Into<String>, score: f32) -> Self {
        Self {
            label: label.into(),
            score,
        }
    }
}

/// The labels of one text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Classification {
    /// The labels, best first.
    pub labels: Vec<LabelScore>,
    /// Tokens that entered the network, special tokens included, over all windows.
    pub tokens: usize,
    /// True if the text was truncated.
    pub truncated: bool,
}

/// Text classification: gives texts the labels that a model was fine-tuned for, such as sentiment,
/// topic, a rating, or whether one text follows from another.
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
#[doc(alias = "text classification")]
#[doc(alias = "sentiment analysis")]
#[doc(alias = "AlbertForSequenceClassification")]
#[derive(Debug)]
pub struct Classifier {
    pipeline: Pipeline<AlbertForSequenceClassification>,
    function: ScoreFunction,
}

impl_loading!(Classifier);
impl_access!(Classifier);

impl Classifier {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sequence classification head.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Texts)?;
        let config = model.checkpoint().config();
        if let Some((key, found)) = cross_encoder_activation(config)
            && activation_function(found).is_none()
        {
            return Err(Error::Field {
                file: "config.json".to_string(),
                field: key.to_string(),
                expected: "Identity, Sigmoid or Softmax of torch.nn".to_string(),
                found: found.to_string(),
            });
        }
        Ok(Self {
            pipeline,
            function: ScoreFunction::from_config(config),
        })
    }

    /// Returns the maximum length of a text in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Returns the function that the model's files imply.
    pub fn score_function(&self) -> ScoreFunction {
        self.function
    }

    /// Scores the labels of each text, or of each pair of texts, in order.
    ///
    /// # Errors
    /// If the tokenizer refuses a text or the computation fails; with a stride also if the second
    /// text of a pair or the stride leaves no room for the first.
    pub fn classify<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        options: &ClassifyOptions,
    ) -> Result<Vec<Classification>> {
        let function = options.function.unwrap_or(self.function);
        let answers = self.scores(inputs, function, options.stride)?;
        let finish = |(scores, read): (Vec<f32>, Windowed)| {
            let names = (0..).map(|index| self.config().label(index));
            let mut labels = best_first(names.zip(scores));
            labels.truncate(options.top_k.unwrap_or(labels.len()));
            Classification {
                labels,
                tokens: read.tokens(),
                truncated: read.truncated(),
            }
        };
        Ok(answers.into_iter().map(finish).collect())
    }

    /// Scores all labels of each input, in the order of the labels.
    pub(crate) fn scores<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        function: ScoreFunction,
        stride: Option<usize>,
    ) -> Result<Vec<(Vec<f32>, Windowed)>> {
        self.pipeline
            .runner
            .in_chunks(inputs, CHUNK_BYTES, input::bytes, |inputs| {
                self.scores_chunk(inputs, function, stride)
            })
    }

    fn scores_chunk<I: TextInput + Sync>(
        &self,
        inputs: &[I],
        function: ScoreFunction,
        stride: Option<usize>,
    ) -> Result<Vec<(Vec<f32>, Windowed)>> {
        let Pipeline {
            model,
            tokenizer,
            max_length,
            runner,
        } = &self.pipeline;
        let read: Vec<Windowed> = inputs
            .par_iter()
            .map(|input| Windowed::new(tokenizer, input, *max_length, stride))
            .collect::<Result<_>>()?;
        let rows: Vec<_> = read.iter().flat_map(|input| &input.rows).collect();
        let mut scores =
            batching::row_logits(&rows, runner, |input| Ok(model.forward(input)?.logits))?;
        scores.iter_mut().for_each(|scores| function.apply(scores));
        let mut scores = scores.into_iter();
        let finish = |input: Windowed| {
            let by_window: Vec<Vec<f32>> = scores.by_ref().take(input.rows.len()).collect();
            (input.average(&by_window), input)
        };
        Ok(read.into_iter().map(finish).collect())
    }
}

/// Sorts labels by their scores, best first; equal scores keep their order.
pub(crate) fn best_first(scores: impl Iterator<Item = (String, f32)>) -> Vec<LabelScore> {
    let mut labels: Vec<LabelScore> = scores
        .map(|(label, score)| LabelScore::new(label, score))
        .collect();
    labels.sort_by(|a, b| b.score.total_cmp(&a.score));
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_label_comes_first_and_equal_scores_keep_their_order() {
        let scores =
            [("a", 0.2), ("b", 0.4), ("c", 0.4)].map(|(label, score)| (label.to_string(), score));
        let labels: Vec<String> = best_first(scores.into_iter())
            .into_iter()
            .map(|it| it.label)
            .collect();
        assert_eq!(labels, ["b", "c", "a"]);
    }
}

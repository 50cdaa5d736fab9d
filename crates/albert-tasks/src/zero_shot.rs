//! Zero-shot classification: scores labels that a model was not trained on, by whether the text
//! entails them.
//!
//! A natural language inference model reads the text and, as the second text, a hypothesis that
//! names the label. Source: transformers 4.46.3, `pipelines/zero_shot_classification.py`.

use albert_model::{AlbertConfig, AlbertForSequenceClassification};
use rayon::prelude::*;

use crate::classify::{Classification, best_first};
use crate::engine::batching;
use crate::pipeline::{Pipeline, Purpose};
use crate::probability::softmax;
use crate::sequence::{Owner, Sequence};
use crate::task::{impl_access, impl_loading};
use crate::windowed::{Windowed, room};
use crate::{Error, Result, SharedModel};

/// The hypothesis of transformers' pipeline.
pub const DEFAULT_HYPOTHESIS: &str = "This example is {}.";

/// Rows, texts times labels, that are prepared together.
const CHUNK_ROWS: usize = 4096;

/// Options for [`ZeroShotClassifier::classify`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ZeroShotOptions {
    /// The sentence that should follow from the text; each `{}` becomes the label.
    pub hypothesis: String,
    /// True to score each label independently, as entailment against contradiction, so that several
    /// may apply; otherwise the scores of all labels sum to 1.
    pub multi_label: bool,
    /// Reads a text that is too long in windows that share this many tokens, and averages their
    /// scores, weighted by the number of the text's tokens in each. `None` truncates the text.
    pub stride: Option<usize>,
}

impl Default for ZeroShotOptions {
    fn default() -> Self {
        Self {
            hypothesis: DEFAULT_HYPOTHESIS.to_string(),
            multi_label: false,
            stride: None,
        }
    }
}

impl ZeroShotOptions {
    /// Sets the hypothesis; each `{}` becomes the label.
    pub fn with_hypothesis(mut self, hypothesis: impl Into<String>) -> Self {
        self.hypothesis = hypothesis.into();
        self
    }

    /// Sets whether labels are scored independently or against each other.
    pub fn with_multi_label(mut self, multi_label: bool) -> Self {
        self.multi_label = multi_label;
        self
    }

    /// Reads long texts in windows that share `stride` tokens.
    pub fn with_stride(mut self, stride: impl Into<Option<usize>>) -> Self {
        self.stride = stride.into();
        self
    }
}

/// Zero-shot classification: labels texts with labels of the caller's choice, using a natural
/// language inference model.
///
/// ```
/// use albert_tasks::{ModelFiles, RunOptions, ZeroShotClassifier, ZeroShotOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/nli");
/// let classifier = ZeroShotClassifier::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let texts = ["A man is playing a guitar."];
/// let answers = classifier.classify(&texts, &["music", "the weather"], &ZeroShotOptions::default())?;
/// let sum: f32 = answers[0].labels.iter().map(|label| label.score).sum();
/// assert!((sum - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[doc(alias = "zero-shot")]
#[doc(alias = "NLI")]
#[doc(alias = "natural language inference")]
#[derive(Debug)]
pub struct ZeroShotClassifier {
    pipeline: Pipeline<AlbertForSequenceClassification>,
    entailment: usize,
}

impl_loading!(ZeroShotClassifier);
impl_access!(ZeroShotClassifier);

impl ZeroShotClassifier {
    /// Creates the task on a model that other tasks may share.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sequence classification head with at least two labels.
    pub fn from_model(model: &SharedModel) -> Result<Self> {
        let pipeline = Pipeline::from_model(model, Purpose::Texts)?;
        let config = model.checkpoint().config();
        let labels = config.num_labels();
        if labels < 2 {
            return Err(Error::NotInference { labels });
        }
        let entailment = named_entailment(config).unwrap_or(labels - 1);
        Ok(Self {
            pipeline,
            entailment,
        })
    }

    /// Returns the maximum length of a text with a hypothesis in tokens, special tokens included.
    pub fn max_length(&self) -> usize {
        self.pipeline.max_length
    }

    /// Returns the label that means entailment, and true if its name says so: the first whose name
    /// begins with `entail`, in any case, else the last one.
    pub fn entailment(&self) -> (String, bool) {
        (
            self.config().label(self.entailment),
            named_entailment(self.config()).is_some(),
        )
    }

    /// Scores the labels of each text, in order; the labels of each text are sorted, best first.
    ///
    /// A text too long for the network is truncated or read in windows; the hypothesis never is.
    ///
    /// # Errors
    /// If there are no labels, the hypothesis has no `{}` or is itself too long for the network,
    /// the stride leaves no room, or the computation fails.
    pub fn classify<S: AsRef<str> + Sync, L: AsRef<str>>(
        &self,
        texts: &[S],
        labels: &[L],
        options: &ZeroShotOptions,
    ) -> Result<Vec<Classification>> {
        if labels.is_empty() {
            return Err(Error::Empty { what: "labels" });
        }
        if !options.hypothesis.contains("{}") {
            return Err(Error::Hypothesis(options.hypothesis.clone()));
        }
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let hypotheses: Vec<String> = labels
            .iter()
            .map(|label| options.hypothesis.replace("{}", label))
            .collect();
        self.pipeline.runner.in_chunks(
            texts,
            CHUNK_ROWS,
            |_| labels.len(),
            |texts| self.classify_chunk(texts, &labels, &hypotheses, options),
        )
    }

    fn classify_chunk<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        labels: &[&str],
        hypotheses: &[String],
        options: &ZeroShotOptions,
    ) -> Result<Vec<Classification>> {
        let read: Vec<Vec<Windowed>> = texts
            .par_iter()
            .map(|text| self.read(text.as_ref(), hypotheses, options.stride))
            .collect::<Result<_>>()?;
        let rows: Vec<_> = read.iter().flatten().flat_map(|it| &it.rows).collect();
        let model = &self.pipeline.model;
        let logits = batching::row_logits(&rows, &self.pipeline.runner, |input| {
            Ok(model.forward(input)?.logits)
        })?;
        let mut logits = logits.into_iter();
        let finish = |hypotheses: Vec<Windowed>| {
            // All hypotheses of a text have the same windows.
            let windows = hypotheses[0].rows.len();
            let by_label: Vec<Vec<Vec<f32>>> = hypotheses
                .iter()
                .map(|_| logits.by_ref().take(windows).collect())
                .collect();
            let by_window: Vec<Vec<f32>> = (0..windows)
                .map(|window| {
                    let logits: Vec<&[f32]> = by_label.iter().map(|it| &*it[window]).collect();
                    self.scores(&logits, options.multi_label)
                })
                .collect();
            let names = labels.iter().map(|label| label.to_string());
            Classification {
                labels: best_first(names.zip(hypotheses[0].average(&by_window))),
                tokens: hypotheses.iter().map(Windowed::tokens).sum(),
                truncated: hypotheses.iter().any(Windowed::truncated),
            }
        };
        Ok(read.into_iter().map(finish).collect())
    }

    /// Returns the rows of each hypothesis, with the text before it. With a stride all hypotheses
    /// have the same windows; otherwise the text is truncated to fit each of them.
    fn read(
        &self,
        text: &str,
        hypotheses: &[String],
        stride: Option<usize>,
    ) -> Result<Vec<Windowed>> {
        let Pipeline {
            tokenizer,
            max_length,
            ..
        } = &self.pipeline;
        let text = match stride {
            None => tokenizer.beginning(text, *max_length)?,
            Some(_) => text,
        };
        let tokens = Sequence::tokens_alone(tokenizer, text)?;
        let sequences: Vec<Sequence> = hypotheses
            .iter()
            .map(|hypothesis| Sequence::with_first(tokenizer, text, Some(hypothesis), tokens))
            .collect::<Result<_>>()?;
        let rooms: Vec<usize> = sequences
            .iter()
            .map(|sequence| {
                let fixed = sequence.special() + sequence.count(Owner::Second);
                room(*max_length, fixed, "hypothesis")
            })
            .collect::<Result<_>>()?;
        let least = rooms.iter().copied().min().unwrap_or(0);
        let read = |(sequence, room): (&Sequence, usize)| match stride {
            Some(stride) if tokens > least => Windowed::from_sequence(sequence, least, stride),
            _ => Ok(Windowed::truncated_to(sequence, room)),
        };
        sequences.iter().zip(rooms).map(read).collect()
    }

    /// Scores each label from the logits of its hypothesis.
    fn scores(&self, logits: &[&[f32]], multi_label: bool) -> Vec<f32> {
        if multi_label || logits.len() == 1 {
            // If entailment is the first label, the last one means contradiction.
            let contradiction = |logits: &[f32]| {
                if self.entailment == 0 {
                    logits.len() - 1
                } else {
                    0
                }
            };
            let score = |logits: &&[f32]| {
                let mut two = [logits[contradiction(logits)], logits[self.entailment]];
                softmax(&mut two);
                two[1]
            };
            return logits.iter().map(score).collect();
        }
        let mut scores: Vec<f32> = logits
            .iter()
            .map(|logits| logits[self.entailment])
            .collect();
        softmax(&mut scores);
        scores
    }
}

/// Returns the first label whose name begins with `entail`.
fn named_entailment(config: &AlbertConfig) -> Option<usize> {
    (0..config.num_labels()).find(|&index| config.label(index).to_lowercase().starts_with("entail"))
}

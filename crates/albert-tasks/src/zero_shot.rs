//! Labels that a model was never trained on, by asking whether the text entails them.
//!
//! A model of natural language inference reads the text and, as a second one, a hypothesis that
//! names the label. Source: transformers 4.46.3, `pipelines/zero_shot_classification.py`.

use albert_model::{AlbertConfig, AlbertForSequenceClassification, Pretrained as _};
use rayon::prelude::*;

use crate::batching;
use crate::classify::{Classification, best_first};
use crate::options::{Purpose, Setup};
use crate::probability::softmax;
use crate::runner::Runner;
use crate::sequence::{Owner, Sequence};
use crate::tokenizer::TokenIds;
use crate::{Error, ModelFiles, Result, RunOptions, Tokenizer};

/// The hypothesis of transformers' pipeline.
pub const DEFAULT_HYPOTHESIS: &str = "This example is {}.";

/// Texts times labels that are prepared at a time.
const ROWS_AT_ONCE: usize = 4096;

/// How labels are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZeroShotOptions {
    /// The sentence that is to follow from the text; each `{}` becomes the label.
    pub hypothesis: String,
    /// Whether several labels may hold. If so a label's score is its own probability of entailment
    /// against contradiction; if not the scores of all labels sum to 1.
    pub multi_label: bool,
}

impl Default for ZeroShotOptions {
    fn default() -> Self {
        Self {
            hypothesis: DEFAULT_HYPOTHESIS.to_string(),
            multi_label: false,
        }
    }
}

/// Gives texts labels of the caller's choosing, with a model of natural language inference.
///
/// ```
/// use albert_tasks::{ModelFiles, RunOptions, ZeroShot, ZeroShotOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/pipelines/nli");
/// let zero_shot = ZeroShot::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
/// let texts = ["A man is playing a guitar."];
/// let answers = zero_shot.classify(&texts, &["music", "the weather"], &ZeroShotOptions::default())?;
/// let sum: f32 = answers[0].labels.iter().map(|label| label.score).sum();
/// assert!((sum - 1.0).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ZeroShot {
    model: AlbertForSequenceClassification,
    tokenizer: Tokenizer,
    entailment: usize,
    max_length: usize,
    runner: Runner,
}

impl ZeroShot {
    /// Loads a model with its tokenizer.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, or the model
    /// has no sequence classification head with at least two labels.
    pub fn load(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let Setup {
            checkpoint,
            tokenizer,
            max_length,
        } = Setup::new(files, options, Purpose::Tokens)?;
        let (model, _) = AlbertForSequenceClassification::load(&checkpoint, &options.load)?;
        let runner = Runner::new(checkpoint.config(), options)?;
        let labels = model.config().num_labels();
        if labels < 2 {
            return Err(Error::NotInference { labels });
        }
        let entailment = named_entailment(model.config()).unwrap_or(labels - 1);
        Ok(Self {
            model,
            tokenizer,
            entailment,
            max_length,
            runner,
        })
    }

    /// The network's configuration.
    pub fn config(&self) -> &AlbertConfig {
        self.model.config()
    }

    /// The label that stands for entailment: the first whose name begins with `entail`, in any
    /// case, else the last one. The flag tells whether it has the name.
    pub fn entailment(&self) -> (String, bool) {
        (
            self.config().label(self.entailment),
            named_entailment(self.config()).is_some(),
        )
    }

    /// The labels of each text, the best first; in order.
    ///
    /// Of a text too long for the model the end is cut off, never the hypothesis.
    ///
    /// # Errors
    /// If there are no labels, the hypothesis has no `{}` or is itself too long for the model, or
    /// the computation fails.
    pub fn classify<S: AsRef<str> + Sync, L: AsRef<str>>(
        &self,
        texts: &[S],
        labels: &[L],
        options: &ZeroShotOptions,
    ) -> Result<Vec<Classification>> {
        if labels.is_empty() {
            return Err(Error::NoLabels);
        }
        if !options.hypothesis.contains("{}") {
            return Err(Error::Hypothesis(options.hypothesis.clone()));
        }
        let labels: Vec<&str> = labels.iter().map(AsRef::as_ref).collect();
        let hypotheses: Vec<String> = labels
            .iter()
            .map(|label| options.hypothesis.replace("{}", label))
            .collect();
        self.runner.in_portions(
            texts,
            ROWS_AT_ONCE,
            |_| labels.len(),
            |texts| self.classify_portion(texts, &labels, &hypotheses, options.multi_label),
        )
    }

    fn classify_portion<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        labels: &[&str],
        hypotheses: &[String],
        multi_label: bool,
    ) -> Result<Vec<Classification>> {
        let rows: Vec<TokenIds> = texts
            .par_iter()
            .map(|text| self.rows(text.as_ref(), hypotheses))
            .collect::<Result<Vec<_>>>()?
            .concat();
        let logits = batching::logits(&rows, &self.runner, |rows, device| {
            Ok(self
                .model
                .forward(&batching::model_input(rows, device)?)?
                .logits)
        })?;
        let of_text = rows.chunks(labels.len()).zip(logits.chunks(labels.len()));
        let finish = |(rows, logits): (&[TokenIds], &[Vec<f32>])| {
            let scores = self.scores(logits, multi_label);
            let names = labels.iter().map(|label| label.to_string());
            Classification {
                labels: best_first(names.zip(scores)),
                tokens: rows.iter().map(|row| row.ids.len()).sum(),
                truncated: rows.iter().any(|row| row.truncated),
            }
        };
        Ok(of_text.map(finish).collect())
    }

    /// A row for each hypothesis, with the text in front of it.
    fn rows(&self, text: &str, hypotheses: &[String]) -> Result<Vec<TokenIds>> {
        let tokens = Sequence::tokens_alone(&self.tokenizer, text)?;
        hypotheses
            .iter()
            .map(|hypothesis| self.row(text, tokens, hypothesis))
            .collect()
    }

    /// Text and hypothesis as one row, the text, of so many tokens, cut to fit.
    fn row(&self, text: &str, tokens: usize, hypothesis: &str) -> Result<TokenIds> {
        let sequence = Sequence::of_pair(&self.tokenizer, text, Some(hypothesis), tokens)?;
        let fixed = sequence.special() + sequence.count(Owner::Second);
        let room = self.max_length.saturating_sub(fixed);
        if room == 0 {
            let max_length = self.max_length;
            return Err(Error::NoRoom {
                what: "hypothesis",
                tokens: fixed,
                max_length,
            });
        }
        let kept = sequence.count(Owner::First).min(room);
        Ok(sequence.tokens(&sequence.window(0..kept, 0..sequence.count(Owner::Second))))
    }

    /// A score for each label from the logits of its hypothesis.
    fn scores(&self, logits: &[Vec<f32>], multi_label: bool) -> Vec<f32> {
        if multi_label || logits.len() == 1 {
            // Where entailment is the first label, the last one is taken for contradiction.
            let contradiction = |logits: &[f32]| {
                if self.entailment == 0 {
                    logits.len() - 1
                } else {
                    0
                }
            };
            let score = |logits: &Vec<f32>| {
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

/// The first label whose name begins with `entail`.
fn named_entailment(config: &AlbertConfig) -> Option<usize> {
    (0..config.num_labels()).find(|&index| config.label(index).to_lowercase().starts_with("entail"))
}

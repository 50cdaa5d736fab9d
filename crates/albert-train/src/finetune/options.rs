//! The options of reading examples.

use albert_data::Field;
use albert_tasks::albert_model::AlbertConfig;

use super::preset::Preset;
use super::task::FineTuneTask;
use super::texts::fields;
use crate::error::{Error, Result};

/// The tokens that windows of a long context share.
///
/// Source: transformers 4.46.3, `run_qa.py`.
const STRIDE: usize = 128;

/// The weight of each class in the loss.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum ClassWeights {
    /// 1 for each.
    #[default]
    Equal,
    /// `n / (C n_c)`, so that each class counts as much as any other.
    ///
    /// Source: scikit-learn, `compute_class_weight("balanced")`.
    Balanced,
    /// A weight by the label's name; others have 1.
    Given(Vec<(String, f32)>),
}

/// The options that turn rows into examples.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ExampleOptions {
    /// The fields of the texts; `None` for the task's usual names.
    pub fields: Option<Vec<Field>>,
    /// The field of the label; `None` for `label`, or `tags`, `answers`, `score`.
    pub label: Option<Field>,
    /// Known data, which has names of fields and labels of its own.
    pub preset: Option<Preset>,
    /// The maximum length in tokens, special tokens included; `None` for the task's usual one, or for
    /// all positions of a model that has fewer.
    pub max_length: Option<usize>,
    /// The tokens that windows of a long context share; `None` for 128, or a third of a shorter
    /// maximum length.
    pub stride: Option<usize>,
    /// The longest answer in tokens that is looked for.
    pub max_answer_tokens: usize,
    /// The lowest and the highest score of scored pairs, which become 0 and 1; `None` for those of
    /// the preset, else for 0 and 1 if all scores of the training data lie between them, else for
    /// its lowest and highest score.
    pub score_range: Option<(f32, f32)>,
    /// The range of the training data's scores, by which evaluation data is scaled.
    pub(super) training_scores: Option<(f32, f32)>,
    /// Weights in the loss of classification and tagging.
    pub class_weights: ClassWeights,
    /// The part of each label that is spread over all labels, in [0, 1).
    pub label_smoothing: f32,
}

impl Default for ExampleOptions {
    fn default() -> Self {
        Self {
            fields: None,
            label: None,
            preset: None,
            max_length: None,
            stride: None,
            max_answer_tokens: 30,
            score_range: None,
            training_scores: None,
            class_weights: ClassWeights::Equal,
            label_smoothing: 0.0,
        }
    }
}

impl ExampleOptions {
    /// Returns these options with the maximum length for a task and a model.
    ///
    /// # Errors
    /// If a length was set that the model has no positions for.
    pub(super) fn resolved(&self, task: FineTuneTask, config: &AlbertConfig) -> Result<Self> {
        let positions = config.max_position_embeddings;
        let usual = self.preset.map(|preset| preset.settings().max_length);
        let usual = usual.unwrap_or(task.max_length()).min(positions);
        let max_length = self.max_length.unwrap_or(usual);
        if max_length > positions {
            return Err(Error::Setting {
                name: "max_length",
                expected: format!("at most the model's {positions} positions"),
                found: max_length.to_string(),
            });
        }
        Ok(Self {
            max_length: Some(max_length),
            stride: Some(self.stride.unwrap_or(STRIDE.min(max_length / 3))),
            ..self.clone()
        })
    }

    /// Returns the tokens that windows share, of resolved options.
    pub(super) fn shared(&self) -> usize {
        self.stride.unwrap_or(STRIDE)
    }

    /// Returns the maximum length of resolved options.
    pub(super) fn length(&self) -> usize {
        self.max_length.unwrap_or(usize::MAX)
    }

    /// Returns the range of scores that was set, or that of the preset.
    pub(super) fn known_scores(&self) -> Option<(f32, f32)> {
        self.score_range
            .or_else(|| self.preset.and_then(Preset::score_range))
    }

    /// Returns the columns of known files without a header.
    pub(super) fn columns(&self) -> Option<&'static [&'static str]> {
        self.preset.and_then(Preset::columns)
    }

    /// Returns for each text the names that its field may have.
    pub(super) fn text_fields(&self, usual: &[&[&str]]) -> Vec<Vec<Field>> {
        if let Some(given) = &self.fields {
            return given.iter().map(|field| vec![field.clone()]).collect();
        }
        let names = self.preset.map(|preset| preset.texts());
        let names = names.filter(|names| !names.is_empty()).unwrap_or(usual);
        names.iter().map(|names| fields(names)).collect()
    }

    /// Returns the names that the field of the label may have.
    pub(super) fn label_fields(&self, usual: &[&str]) -> Vec<Field> {
        if let Some(given) = &self.label {
            return vec![given.clone()];
        }
        let names = self.preset.map(|preset| preset.label());
        fields(names.filter(|names| !names.is_empty()).unwrap_or(usual))
    }
}

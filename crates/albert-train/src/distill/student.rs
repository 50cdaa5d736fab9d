//! A model before its training.

use std::sync::Arc;

use albert_tasks::ModelFiles;
use albert_tasks::albert_model::train::{FlatLayout, FlatParameters};
use albert_tasks::albert_model::{AlbertConfig, Head};

use crate::error::Result;
use crate::layer_groups::with_groups;
use crate::output::{Output, kept_start};
use crate::snapshot::Snapshot;

/// A model that will be trained to imitate another one.
#[derive(Debug)]
#[non_exhaustive]
pub struct Student {
    /// The weights.
    pub parameters: FlatParameters,
    /// The files of the tokenizer and of sentence-transformers, which are copied next to the model.
    pub files: ModelFiles,
    /// The tensors that were drawn, because the start lacks them.
    pub new_tensors: Vec<String>,
    /// True if the model takes time to make, so that a run keeps what its snapshots lack of it.
    pub(crate) is_kept: bool,
}

impl Student {
    pub(crate) fn new(
        parameters: FlatParameters,
        files: ModelFiles,
        new_tensors: Vec<String>,
    ) -> Self {
        Self {
            parameters,
            files,
            new_tensors,
            is_kept: false,
        }
    }

    /// Returns the compressed model of a run that is resumed, without making it again: its weights
    /// are those of the snapshot. `None` if the run did not keep its configuration and tokenizer,
    /// as that of a model which was not compressed.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn resumed(snapshot: &Snapshot) -> Result<Option<Self>> {
        let training = snapshot.path().parent().unwrap_or(snapshot.path());
        let Some(files) = kept_start(training)? else {
            return Ok(None);
        };
        let bytes = files.read("config.json")?.unwrap_or_default();
        let config = AlbertConfig::from_json(&String::from_utf8_lossy(&bytes))?;
        let is_own = |head: &Head| {
            let mut classes = config.architectures.iter();
            classes.any(|class| head.is_architecture(class))
        };
        let head = Head::ALL.into_iter().find(is_own).unwrap_or(Head::Encoder);
        let layout = Arc::new(FlatLayout::new(&config, head)?);
        // The trainer replaces the values by those of the snapshot.
        let parameters = FlatParameters::random(layout, 0);
        Ok(Some(Self {
            is_kept: true,
            ..Self::new(parameters, files, Vec::new())
        }))
    }

    /// Loads a model, and gives it a head; tensors of the head that it lacks are drawn. With
    /// `groups`, its single layer group is copied to this many.
    ///
    /// # Errors
    /// If a file is missing or wrong, or the model has several groups already.
    pub fn load(files: ModelFiles, head: Head, groups: Option<usize>, seed: u64) -> Result<Self> {
        let checkpoint = files.checkpoint()?;
        let mut config = checkpoint.config().clone();
        config.architectures = vec![head.architecture().into()];
        let layout = Arc::new(FlatLayout::new(&config, head)?);
        let (parameters, new) = FlatParameters::from_checkpoint(&checkpoint, layout, seed)?;
        let parameters = match groups {
            Some(groups) => with_groups(&parameters, groups)?,
            None => parameters,
        };
        Ok(Self::new(parameters, files, new))
    }

    /// Writes the model without training it.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, output: &Output) -> Result<()> {
        write(output, &self.parameters, &self.files)
    }
}

/// Writes a model with its tokenizer and the modules of sentence-transformers after it.
pub(super) fn write(
    output: &Output,
    parameters: &FlatParameters,
    files: &ModelFiles,
) -> Result<()> {
    // First, as the files of a resumed run are in its folder until the model is written.
    output.copy_modules(files, parameters.layout().config().hidden_size)?;
    output.write_model(parameters, files)
}

/// Returns the widest head of pretraining that a model has.
pub fn pretraining_head(heads: &[Head]) -> Head {
    [Head::PreTraining, Head::MaskedLm]
        .into_iter()
        .find(|head| heads.contains(head))
        .unwrap_or(Head::Encoder)
}

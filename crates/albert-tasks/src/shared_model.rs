//! A model that several tasks share.

use std::sync::{Arc, Mutex, PoisonError};

use albert_model::{Checkpoint, SharedEncoder};

use crate::{ModelFiles, Result, RunOptions, Tokenizer, TokenizerOptions};

/// A model whose tasks share one copy of the encoder's weights and one tokenizer.
///
/// Both are loaded with the first task. Each task has a head of its own, and the results of a task
/// that was loaded alone.
///
/// ```
/// use albert_tasks::{Embedder, FillOptions, MaskFiller, ModelFiles, RunOptions, SharedModel};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let model = SharedModel::new(&ModelFiles::builtin()?, &RunOptions::default())?;
/// let embedder = Embedder::from_model(&model)?;
/// let filler = MaskFiller::from_model(&model)?;
/// let filled = filler.fill(&["A [MASK] text."], &FillOptions::default())?;
/// let embeddings = embedder.embed(&[&filled[0].masks[0].candidates[0].text])?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SharedModel {
    files: ModelFiles,
    options: RunOptions,
    encoder: SharedEncoder,
    /// A model has a second one if its embeddings lowercase texts that other tasks do not.
    tokenizers: Mutex<Vec<(TokenizerOptions, Arc<Tokenizer>)>>,
}

impl SharedModel {
    /// Opens a model. No weights are loaded yet.
    ///
    /// # Errors
    /// See [`ModelFiles::checkpoint`].
    pub fn new(files: &ModelFiles, options: &RunOptions) -> Result<Self> {
        let encoder = SharedEncoder::new(files.checkpoint()?, options.load.clone());
        Ok(Self {
            files: files.clone(),
            options: options.clone(),
            encoder,
            tokenizers: Mutex::default(),
        })
    }

    /// Returns the files.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// Returns the options that all tasks have.
    pub fn options(&self) -> &RunOptions {
        &self.options
    }

    /// Returns the checkpoint, with the configuration and the heads of the model.
    pub fn checkpoint(&self) -> &Checkpoint {
        self.encoder.checkpoint()
    }

    /// Returns the encoder, to load models of albert-model with it.
    pub fn encoder(&self) -> &SharedEncoder {
        &self.encoder
    }

    /// Returns the tokenizer with these options, loaded if it is the first use of them.
    pub(crate) fn tokenizer(&self, options: &TokenizerOptions) -> Result<Arc<Tokenizer>> {
        // A thread that panicked while it loaded left complete tokenizers.
        let mut tokenizers = self
            .tokenizers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((_, tokenizer)) = tokenizers.iter().find(|(of, _)| of == options) {
            return Ok(Arc::clone(tokenizer));
        }
        let tokenizer = Arc::new(Tokenizer::load(&self.files, options)?);
        tokenizers.push((options.clone(), Arc::clone(&tokenizer)));
        Ok(tokenizer)
    }
}

#[cfg(test)]
mod tests {
    use albert_model::{AlbertForMaskedLM, AlbertModel};

    use super::*;
    use crate::pipeline::{Pipeline, Purpose};

    #[test]
    fn the_networks_of_a_model_have_the_same_tensors() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        let shared = SharedModel::new(&files, &RunOptions::default()).unwrap();
        let embedder: Pipeline<AlbertModel> =
            Pipeline::from_model(&shared, Purpose::Embedding).unwrap();
        let filler: Pipeline<AlbertForMaskedLM> =
            Pipeline::from_model(&shared, Purpose::Texts).unwrap();
        let table = |albert: &AlbertModel| albert.embeddings().word_embeddings().unwrap().id();
        assert_eq!(table(&embedder.model), table(filler.model.albert()));
    }
}

//! The remedies that are suggested for errors.

use albert_model::{Error as ModelError, Head};

use super::{Error, is_out_of_memory};

impl Error {
    /// Suggests a remedy, if one is known: one line without a period, in terms of the Rust API.
    ///
    /// ```
    /// let error = albert_tasks::ModelFiles::resolve("./albert-base-v2").unwrap_err();
    /// assert!(error.hint().unwrap().contains("owner/model"));
    /// ```
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            #[cfg(feature = "hub")]
            Error::Hub(error) => return error.hint(),
            Error::NoHub(_) => {
                "build with the feature `hub`, or download the model's files to a folder and pass it"
            }
            Error::UnknownModel(_) => {
                "check the path; a model on the Hub is named owner/model, as on its page"
            }
            Error::NoTokenizer(_) => {
                "put the model's spiece.model next to config.json; most model pages offer it for download"
            }
            Error::LfsPointer(_) => "run `git lfs pull` in the model's folder",
            Error::NoMask(mask) => {
                return Some(format!("write {mask} where a token is to be filled in"));
            }
            Error::MaskTruncated { .. } => "shorten the text before the mask",
            Error::UnknownTarget(_) => "`Tokenizer::encode` shows the pieces of a text",
            Error::NoPooler => "choose another `PoolingMode`, such as `Mean` or `Cls`",
            Error::OutOfMemory { .. } => {
                "set `RunOptions::max_length`, load the weights as bf16, or free GPU memory (`nvidia-smi` lists the processes that hold it)"
            }
            Error::Compute(error) | Error::Model(ModelError::Candle(error))
                if is_out_of_memory(error) =>
            {
                "free GPU memory (`nvidia-smi` lists the processes that hold it), or compute on the CPU"
            }
            Error::VectorWidth { .. } => "use embeddings of this model, made with the same options",
            Error::Model(ModelError::MissingHead { served, .. }) => {
                let tasks: Vec<&str> = served
                    .iter()
                    .flat_map(|&head| tasks(head))
                    .copied()
                    .collect();
                return Some(format!("this model can be loaded as {}", tasks.join(", ")));
            }
            Error::Model(ModelError::OtherClassifier { found, .. }) => {
                let tasks = tasks(*found).join(", ");
                return Some(format!("this model can be loaded as {tasks}"));
            }
            Error::Model(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_string())
    }
}

/// Returns the types of this crate that can be loaded from a model with this head.
fn tasks(head: Head) -> &'static [&'static str] {
    match head {
        Head::Encoder => &["`Embedder`", "`SimilarityScorer`", "`Searcher`"],
        Head::MaskedLm => &["`MaskFiller`"],
        Head::PreTraining | Head::NextSentence => &["`Orderer`"],
        Head::SequenceClassification => &["`Classifier`", "`ZeroShotClassifier`"],
        Head::TokenClassification => &["`Tagger`"],
        Head::QuestionAnswering => &["`Answerer`"],
        Head::MultipleChoice => &["`Chooser`"],
        _ => &[],
    }
}

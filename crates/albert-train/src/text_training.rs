//! The text that pretraining and distillation train on, with the settings that they share.

use std::sync::Arc;

use albert_tasks::albert_model::train::TrainingPass;
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde_json::{Value, json};

use crate::error::Result;
use crate::examples::{Corpus, PretrainingText};
use crate::pass_settings::PassSettings;

/// The default sequence length: longer sequences take too much time on a CPU.
const MAX_LENGTH: usize = 128;

/// The default seed.
const SEED: u64 = 42;

/// Text to train on, with its settings, for [`Pretrain`](crate::pretrain::Pretrain) and
/// [`Distill`](crate::distill::Distill). A [`Corpus`] alone has the default settings.
///
/// ```no_run
/// use albert_train::TextTraining;
/// use albert_train::examples::Corpus;
///
/// # fn main() -> Result<(), albert_train::Error> {
/// let text = TextTraining::new(Corpus::open(&["corpus"])?)
///     .with_eval(Corpus::open(&["held-out.txt"])?)
///     .with_pass(|pass| pass.dropout = Some(0.1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct TextTraining {
    pub(crate) train: Corpus,
    pub(crate) eval: Option<Corpus>,
    pub(crate) text: PretrainingText,
    pub(crate) tokenizer: TokenizerOptions,
    pub(crate) pass: PassSettings,
}

impl TextTraining {
    /// Creates settings to train on a corpus, with sequences of 128 tokens and without evaluation.
    pub fn new(train: Corpus) -> Self {
        Self {
            train,
            eval: None,
            text: PretrainingText::new(MAX_LENGTH, SEED),
            tokenizer: TokenizerOptions::default(),
            pass: PassSettings::default(),
        }
    }

    /// Evaluates on this corpus.
    #[must_use]
    pub fn with_eval(mut self, corpus: Corpus) -> Self {
        self.eval = Some(corpus);
        self
    }

    /// Sets how text is turned into examples. In a distillation, `sequences` are those of the
    /// objective [`Pretraining`](crate::distill::DistillObjective::Pretraining).
    #[must_use]
    pub fn with_text(mut self, text: PretrainingText) -> Self {
        self.text = text;
        self
    }

    /// Overrides how the tokenizer normalizes text. Special tokens in a corpus are literal text.
    #[must_use]
    pub fn with_tokenizer(mut self, options: TokenizerOptions) -> Self {
        self.tokenizer = options;
        self
    }

    /// Changes the settings of the forward and backward pass: engine, dropout, frozen parts.
    #[must_use]
    pub fn with_pass(mut self, change: impl FnOnce(&mut PassSettings)) -> Self {
        change(&mut self.pass);
        self
    }

    /// Loads the tokenizer of a model.
    pub(crate) fn load_tokenizer(&self, files: &ModelFiles) -> Result<Arc<Tokenizer>> {
        let options = TokenizerOptions {
            // In a corpus, `[MASK]` is literal text.
            special_tokens_as_text: true,
            ..self.tokenizer.clone()
        };
        Ok(Arc::new(Tokenizer::load(files, &options)?))
    }

    /// Returns all that the losses depend on, apart from the model.
    pub(crate) fn fingerprint(&self, pass: &TrainingPass) -> Value {
        let mut data = json!({
            "files": self.train.files(),
            "evaluation": self.eval.as_ref().map(Corpus::files),
        });
        self.pass.add_to_fingerprint(pass, &mut data);
        data
    }
}

impl From<Corpus> for TextTraining {
    fn from(train: Corpus) -> Self {
        Self::new(train)
    }
}

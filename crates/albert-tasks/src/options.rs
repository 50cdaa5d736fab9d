//! What every pipeline over a model needs before its own work: options, length, and the checks that
//! tokenizer and network belong together.

use albert_model::{AlbertConfig, Checkpoint, LoadOptions};

use crate::json::JsonObject;
use crate::{ModelFiles, Result, Tokenizer, TokenizerOptions};

/// Tokens in a batch, padding included, unless [`RunOptions::batch_tokens`] says otherwise.
///
/// From about 1,024 rows on, the matrix products run at full speed; more only moves the activations
/// out of the caches (2,048 tokens of ALBERT base are 24 MB in the feed-forward layer).
pub const DEFAULT_BATCH_TOKENS: usize = 2048;

/// How to load and run a model.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// Device and dtype.
    pub load: LoadOptions,
    /// Overrides of the tokenizer.
    pub tokenizer: TokenizerOptions,
    /// The longest text in tokens, special ones included; the model's own limit holds besides.
    pub max_length: Option<usize>,
    /// Tokens in a batch, padding included. A single text may be longer.
    pub batch_tokens: usize,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            load: LoadOptions::default(),
            tokenizer: TokenizerOptions::default(),
            max_length: None,
            batch_tokens: DEFAULT_BATCH_TOKENS,
        }
    }
}

/// A model's files, read and checked against each other, with no weights loaded yet.
pub(crate) struct Setup {
    pub(crate) checkpoint: Checkpoint,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) max_length: usize,
}

/// What a model's limit on length is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Sentence embeddings, which `sentence_bert_config.json` limits further.
    Embedding,
    /// Anything else.
    Tokens,
}

impl Setup {
    pub(crate) fn new(files: &ModelFiles, options: &RunOptions, purpose: Purpose) -> Result<Self> {
        let checkpoint = files.checkpoint()?;
        let mut tokenizer_options = options.tokenizer.clone();
        if purpose == Purpose::Embedding && tokenizer_options.lowercase.is_none() {
            let sentence_bert = sentence_bert_config(files)?;
            let lowercase =
                sentence_bert.as_ref().map(|config| config.bool("do_lower_case")).transpose()?.flatten();
            // `false` means: as the tokenizer has it.
            tokenizer_options.lowercase = lowercase.filter(|&lowercase| lowercase);
        }
        let tokenizer = Tokenizer::load(files, &tokenizer_options)?;
        tokenizer.check_vocabulary(checkpoint.config().vocab_size)?;
        let (max_length, _) = max_length(files, checkpoint.config(), options.max_length, purpose)?;
        tokenizer.room(max_length, false)?;
        Ok(Self { checkpoint, tokenizer, max_length })
    }
}

/// The least of the limits on a text's length, and which one it is.
pub(crate) fn max_length(
    files: &ModelFiles,
    config: &AlbertConfig,
    asked: Option<usize>,
    purpose: Purpose,
) -> Result<(usize, String)> {
    let mut least =
        (config.max_position_embeddings, "`max_position_embeddings` in `config.json`".to_string());
    let mut consider = |length: usize, why: String| {
        if length < least.0 {
            least = (length, why);
        }
    };
    if purpose == Purpose::Embedding
        && let Some(sentence_bert) = sentence_bert_config(files)?
        && let Some(length) = sentence_bert.usize("max_seq_length")?
    {
        consider(length, format!("`max_seq_length` in `{}`", sentence_bert.file()));
    }
    if let Some(tokenizer) = JsonObject::read(files, "tokenizer_config.json")? {
        // `max_len` is the old name. "No limit" is written as a number near 1e30.
        for key in ["model_max_length", "max_len"] {
            if let Some(length) =
                tokenizer.number(key)?.filter(|length| (1.0..f64::from(u32::MAX)).contains(length))
            {
                consider(length as usize, format!("`{key}` in `tokenizer_config.json`"));
            }
        }
    }
    if let Some(length) = asked {
        consider(length, "the option".to_string());
    }
    Ok(least)
}

/// sentence-transformers' settings of the tokenizer, under either name that ALBERT models have.
fn sentence_bert_config(files: &ModelFiles) -> Result<Option<JsonObject>> {
    match JsonObject::read(files, "sentence_bert_config.json")? {
        Some(config) => Ok(Some(config)),
        None => JsonObject::read(files, "sentence_albert_config.json"),
    }
}

//! What every pipeline over a model needs before its own work: options, length, and the checks that
//! tokenizer and network belong together.

use albert_model::{AlbertConfig, Checkpoint, LoadOptions};

use crate::json::JsonObject;
use crate::{ModelFiles, Result, Tokenizer, TokenizerOptions};

/// Tokens in a batch, padding included, unless [`RunOptions::batch_tokens`] says otherwise or CUDA
/// computes.
///
/// From about 1,024 rows on, the matrix products run at full speed; more only moves the activations
/// out of the caches (2,048 tokens of ALBERT base are 24 MB in the feed-forward layer).
pub const DEFAULT_BATCH_TOKENS: usize = 2048;

/// The most tokens in a batch on CUDA, padding included, however much memory there is: more fill no
/// GPU any better, and their states have to be copied and held on the CPU.
pub const MOST_BATCH_TOKENS: usize = 32_768;

/// How to load and run a model.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Device and dtype.
    pub load: LoadOptions,
    /// Overrides of the tokenizer.
    pub tokenizer: TokenizerOptions,
    /// The longest text in tokens, special ones included; the model's own limit holds besides.
    pub max_length: Option<usize>,
    /// Tokens in a batch, padding included. A single text may be longer.
    ///
    /// `None` is [`DEFAULT_BATCH_TOKENS`]; on CUDA as many as half of the memory that is free once
    /// the weights are loaded has room for, by
    /// [`activation_bytes`](AlbertConfig::activation_bytes), and at most [`MOST_BATCH_TOKENS`].
    pub batch_tokens: Option<usize>,
    /// Called once for each task whose batches are more than a GPU's memory takes, with a batch's
    /// rows and the tokens of the longest: the batch is computed in halves, and so are those that
    /// follow.
    pub on_smaller_batches: Option<fn(usize, usize)>,
}

impl RunOptions {
    /// The most tokens that a batch can have, unless a single text has more.
    pub fn most_batch_tokens(&self) -> usize {
        let of_device = if self.load.device.is_cuda() {
            MOST_BATCH_TOKENS
        } else {
            DEFAULT_BATCH_TOKENS
        };
        self.batch_tokens.unwrap_or(of_device)
    }

    /// How many portions of a stream to have under way ([`overlap`](crate::overlap())): on a GPU
    /// three, one that is computed, one that is ready and one that is cut into tokens; on the CPU,
    /// whose cores do all of it, one.
    pub fn portions_at_once(&self) -> usize {
        if self.load.device.is_cpu() { 1 } else { 3 }
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
            let lowercase = sentence_bert
                .as_ref()
                .map(|config| config.bool("do_lower_case"))
                .transpose()?
                .flatten();
            // `false` means: as the tokenizer has it.
            tokenizer_options.lowercase = lowercase.filter(|&lowercase| lowercase);
        }
        let tokenizer = Tokenizer::load(files, &tokenizer_options)?;
        tokenizer.check_vocabulary(checkpoint.config().vocab_size)?;
        let (max_length, _) = max_length(files, checkpoint.config(), options.max_length, purpose)?;
        tokenizer.room(max_length, false)?;
        Ok(Self {
            checkpoint,
            tokenizer,
            max_length,
        })
    }
}

/// The least of the limits on a text's length, and which one it is.
pub(crate) fn max_length(
    files: &ModelFiles,
    config: &AlbertConfig,
    asked: Option<usize>,
    purpose: Purpose,
) -> Result<(usize, String)> {
    let mut least = (
        config.max_position_embeddings,
        "`max_position_embeddings` in `config.json`".to_string(),
    );
    let mut consider = |length: usize, why: String| {
        if length < least.0 {
            least = (length, why);
        }
    };
    if purpose == Purpose::Embedding
        && let Some(sentence_bert) = sentence_bert_config(files)?
        && let Some(length) = sentence_bert.usize("max_seq_length")?
    {
        consider(
            length,
            format!("`max_seq_length` in `{}`", sentence_bert.file()),
        );
    }
    if let Some(tokenizer) = JsonObject::read(files, "tokenizer_config.json")? {
        // `max_len` is the old name. "No limit" is written as a number near 1e30.
        for key in ["model_max_length", "max_len"] {
            if let Some(length) = tokenizer
                .number(key)?
                .filter(|length| (1.0..f64::from(u32::MAX)).contains(length))
            {
                consider(
                    length as usize,
                    format!("`{key}` in `tokenizer_config.json`"),
                );
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

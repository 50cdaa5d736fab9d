//! Loads what every task needs: the network, its tokenizer, the maximum length, and the runner.

use std::sync::Arc;

use albert_model::{AlbertConfig, Pretrained};

use crate::engine::runner::Runner;
use crate::json::JsonObject;
use crate::{ModelFiles, Result, RunOptions, SharedModel, Tokenizer, TokenizerOptions};

/// A network `M` with all that a task needs to run it.
#[derive(Debug)]
pub(crate) struct Pipeline<M> {
    pub(crate) model: M,
    pub(crate) tokenizer: Arc<Tokenizer>,
    /// The maximum number of tokens that enter the network, special tokens included.
    pub(crate) max_length: usize,
    pub(crate) runner: Runner,
}

/// The use that determines the maximum length of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Sentence embeddings, which `sentence_bert_config.json` limits further.
    Embedding,
    /// Single texts for any other task.
    Texts,
    /// Pairs of texts, which have more special tokens.
    Pairs,
}

impl<M: Pretrained> Pipeline<M> {
    /// Loads the network `M` and the tokenizer of a model, and checks that the two belong together
    /// before any weights are read.
    ///
    /// # Errors
    /// If a file is missing or wrong, the tokenizer does not belong to the network, the model has
    /// no head for `M`, or the longest text has no room for a token of text.
    pub(crate) fn from_model(shared: &SharedModel, purpose: Purpose) -> Result<Self> {
        let (files, options) = (shared.files(), shared.options());
        let config = shared.checkpoint().config();
        let tokenizer = shared.tokenizer(&tokenizer_options(files, options, purpose)?)?;
        tokenizer.check_vocabulary(config.vocab_size)?;
        let (max_length, _) = max_length(files, config, options.max_length, purpose)?;
        tokenizer.room(max_length, purpose == Purpose::Pairs)?;
        Ok(Self {
            model: shared.encoder().load()?,
            tokenizer,
            max_length,
            runner: Runner::new(config, options)?,
        })
    }
}

fn tokenizer_options(
    files: &ModelFiles,
    options: &RunOptions,
    purpose: Purpose,
) -> Result<TokenizerOptions> {
    let mut tokenizer_options = options.tokenizer.clone();
    if purpose == Purpose::Embedding && tokenizer_options.lowercase.is_none() {
        let sentence_bert = sentence_bert_config(files)?;
        let lowercase = sentence_bert
            .as_ref()
            .map(|config| config.bool("do_lower_case"))
            .transpose()?
            .flatten();
        // `false` leaves the choice to the tokenizer.
        tokenizer_options.lowercase = lowercase.filter(|&lowercase| lowercase);
    }
    Ok(tokenizer_options)
}

/// Returns the maximum length of a text and its reason: the minimum of the limits of the network,
/// of the tokenizer and of the caller. `max_seq_length` of sentence-transformers replaces that of
/// the tokenizer, even if it is larger.
///
/// Source: sentence-transformers 5.7, `models/Transformer.py`, `__init__`.
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
    let sentence = match purpose {
        Purpose::Embedding => sentence_limit(files)?,
        Purpose::Texts | Purpose::Pairs => None,
    };
    let stated = match sentence {
        Some(limit) => Some(limit),
        None => tokenizer_limit(files)?,
    };
    let asked = asked.map(|length| (length, "the option".to_string()));
    for limit in stated.into_iter().chain(asked) {
        if limit.0 < least.0 {
            least = limit;
        }
    }
    Ok(least)
}

fn sentence_limit(files: &ModelFiles) -> Result<Option<(usize, String)>> {
    let Some(config) = sentence_bert_config(files)? else {
        return Ok(None);
    };
    let length = config.usize("max_seq_length")?;
    let why = format!("`max_seq_length` in `{}`", config.file());
    Ok(length.map(|length| (length, why)))
}

fn tokenizer_limit(files: &ModelFiles) -> Result<Option<(usize, String)>> {
    let Some(tokenizer) = JsonObject::read(files, "tokenizer_config.json")? else {
        return Ok(None);
    };
    let mut least: Option<(usize, String)> = None;
    // `max_len` is the old name. No limit is written as a number near 1e30.
    for key in ["model_max_length", "max_len"] {
        let length = tokenizer
            .number(key)?
            .filter(|length| (1.0..f64::from(u32::MAX)).contains(length))
            .map(|length| length as usize);
        if let Some(length) = length
            && least.as_ref().is_none_or(|(least, _)| length < *least)
        {
            least = Some((length, format!("`{key}` in `tokenizer_config.json`")));
        }
    }
    Ok(least)
}

/// Reads sentence-transformers' settings of the tokenizer, under either name that ALBERT models
/// use.
fn sentence_bert_config(files: &ModelFiles) -> Result<Option<JsonObject>> {
    match JsonObject::read(files, "sentence_bert_config.json")? {
        Some(config) => Ok(Some(config)),
        None => JsonObject::read(files, "sentence_albert_config.json"),
    }
}

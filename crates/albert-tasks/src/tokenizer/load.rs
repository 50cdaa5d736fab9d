//! The choice of a tokenizer by a model's files.

use super::engine::Engine;
use super::hugging_face::HuggingFace;
use super::sentencepiece::AlbertTokenizer;
use super::{Tokenizer, TokenizerOptions, word_piece};
use crate::files::SPIECE_MODELS;
use crate::json::JsonObject;
use crate::{Error, ModelFiles, Result};

impl Tokenizer {
    /// Reads the tokenizer of a model: from `spiece.model`, else `tokenizer.json`, else
    /// `vocab.txt`, each also under the names of Google's archives.
    ///
    /// # Errors
    /// If there is none, if a file is invalid or unsupported, if the vocabulary lacks `[CLS]`,
    /// `[SEP]` or an additional special token, or if the normalizer of a `tokenizer.json` cannot be
    /// changed as `options` require.
    pub fn load(files: &ModelFiles, options: &TokenizerOptions) -> Result<Self> {
        if let Some((file, bytes)) = files.read_first(&SPIECE_MODELS)? {
            check_class(files)?;
            let engine = AlbertTokenizer::read(&bytes, file, Some(files), options)?;
            let mut source = format!("{file}, cut as transformers' slow AlbertTokenizer does");
            if files.has("tokenizer.json") {
                source.push_str(
                    "; of `tokenizer.json` next to it the added tokens alone are used, as it need not \
                     give the same ids",
                );
            }
            return Ok(Self::new(Box::new(engine), file, source));
        }
        if let Some(engine) = HuggingFace::from_json(files, options)? {
            let source =
                "tokenizer.json, as the tokenizers crate reads it; there is no `spiece.model`";
            return Ok(Self::new(
                Box::new(engine),
                "tokenizer.json",
                source.to_string(),
            ));
        }
        if let Some((file, engine)) = word_piece::read(files, options)? {
            let source = format!(
                "{file}, cut as transformers' BertTokenizer does; there is neither `spiece.model` nor \
                 `tokenizer.json`"
            );
            return Ok(Self::new(Box::new(engine), file, source));
        }
        Err(Error::NoTokenizer(files.name().to_string()))
    }

    /// Creates a tokenizer from only a `spiece.model`, with the settings of transformers'
    /// `AlbertTokenizer`.
    ///
    /// # Errors
    /// If the bytes are not a SentencePiece model, or are a word model, or the vocabulary lacks
    /// `[CLS]` or `[SEP]`.
    pub fn from_spiece_model(bytes: &[u8], options: &TokenizerOptions) -> Result<Self> {
        let file = SPIECE_MODELS[0];
        let engine = AlbertTokenizer::read(bytes, file, None, options)?;
        Ok(Self::new(
            Box::new(engine),
            file,
            "spiece.model alone".to_string(),
        ))
    }

    fn new(engine: Box<dyn Engine>, file: &'static str, source: String) -> Self {
        let mask_token = engine.role("mask_token").unwrap_or("[MASK]").to_string();
        let (mask_token_id, highest_id) = (engine.token_to_id(&mask_token), engine.highest_id());
        Self {
            engine,
            file,
            source,
            highest_id,
            mask_token,
            mask_token_id,
        }
    }
}

/// Refuses a `spiece.model` of another family, which is cut by other rules.
fn check_class(files: &ModelFiles) -> Result<()> {
    const CLASSES: [&str; 4] = [
        "AlbertTokenizer",
        "AlbertTokenizerFast",
        "PreTrainedTokenizerFast",
        // The same class by transformers 5's name.
        "TokenizersBackend",
    ];
    let Some(config) = JsonObject::read(files, "tokenizer_config.json")? else {
        return Ok(());
    };
    match config.str("tokenizer_class")? {
        Some(class) if !CLASSES.contains(&class) => Err(config.unexpected(
            "tokenizer_class",
            "`AlbertTokenizer`, as there is a `spiece.model`",
            &class.into(),
        )),
        _ => Ok(()),
    }
}

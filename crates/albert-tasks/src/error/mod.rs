//! The errors of this crate.

mod hint;
mod predicates;

use std::path::PathBuf;

pub(crate) use predicates::is_out_of_memory;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error inside [`Error::Tokenizer`] and [`Error::Tokenize`], as the tokenizers crate gives it.
pub type TokenizerSource = Box<dyn std::error::Error + Send + Sync>;

/// An error of a model's files, an option or a text.
///
/// Its message names the file or value, what was expected and what was found; [`Error::hint`] says
/// what to do about it. Callers rarely need to match on a variant: the predicates
/// [`is_input`](Self::is_input), [`is_missing_head`](Self::is_missing_head),
/// [`is_out_of_memory`](Self::is_out_of_memory) and [`is_missing_model`](Self::is_missing_model)
/// identify who can act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network, its configuration or its weights.
    #[error(transparent)]
    Model(#[from] albert_model::Error),
    /// The computation itself.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),

    /// The Hub, its cache, or the connection.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::HubError),

    /// Not a built-in name, a folder, or a possible name on the Hub.
    #[error("no model `{0}`: expected a folder, the built-in name `{builtin}` or a model on the Hub as `owner/model`", builtin = crate::BUILTIN)]
    UnknownModel(String),
    /// The program was built without the feature `hub`.
    #[error(
        "no folder `{0}`, and this build cannot load models from the Hub: expected the feature \
         `hub`"
    )]
    NoHub(String),
    /// The program was built without the feature `builtin`.
    #[error(
        "the built-in model `{}` is not part of this build: expected the feature `builtin`",
        crate::BUILTIN
    )]
    NoBuiltin,
    /// A path that is not a folder.
    #[error("`{}` is not a folder: expected the folder that holds `config.json` and the weights", .0.display())]
    NotAFolder(PathBuf),
    /// A file that exists but cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A folder, a pipe or a device in place of a small file, or a file that is implausibly large.
    #[error(transparent)]
    SmallFile(#[from] albert_formats::small_file::FileError),
    /// A file that cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// A required file is missing.
    #[error("no `{file}` in `{model}`")]
    MissingFile {
        /// The model's name or folder.
        model: String,
        /// The file.
        file: &'static str,
    },
    /// A Git LFS pointer in place of a file that was not fetched.
    #[error("`{0}` is a Git LFS pointer: expected the file itself")]
    LfsPointer(String),
    /// A path inside a model's files that leads out of its folder.
    #[error("path `{path}` in `{file}` leaves the model's folder")]
    OutsideFolder {
        /// The file that names the path.
        file: String,
        /// The path.
        path: String,
    },
    /// A file that is not JSON.
    #[error("`{file}` is not valid JSON")]
    Json {
        /// The file.
        file: String,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// A value in a JSON file of the wrong type or meaning.
    #[error("`{field}` in `{file}`: expected {expected}, found {found}")]
    Field {
        /// The file.
        file: String,
        /// The key.
        field: String,
        /// The values that are allowed.
        expected: String,
        /// The value found.
        found: String,
    },
    /// A module of sentence-transformers that is not supported.
    #[error("module `{module}` in `modules.json` is not supported: {why}")]
    UnsupportedModule {
        /// The module's type, as the file has it.
        module: String,
        /// The reason.
        why: String,
    },

    /// A folder without any tokenizer file.
    #[error("no tokenizer in `{0}`: expected `spiece.model`, `tokenizer.json` or `vocab.txt`")]
    NoTokenizer(String),
    /// A `spiece.model` that is broken or not supported.
    #[error("`{file}` cannot be used: {why}")]
    SentencePiece {
        /// The file.
        file: String,
        /// The reason.
        why: String,
    },
    /// A text file that is not UTF-8.
    #[error("`{file}` is not UTF-8")]
    NotUtf8 {
        /// The file.
        file: String,
        /// Where.
        source: std::str::Utf8Error,
    },
    /// A special token that has no id.
    #[error(
        "special token `{0}` has no id: expected it in the vocabulary or in `added_tokens.json`"
    )]
    UnknownSpecialToken(String),
    /// An added token whose id does not follow the vocabulary's.
    #[error(
        "added token `{token}` has the id {id}: expected ids that continue the vocabulary's at {next}"
    )]
    AddedTokenId {
        /// The token.
        token: String,
        /// Its id in the files.
        id: u32,
        /// The next free id.
        next: usize,
    },
    /// An added token that matches whole words only.
    #[error("added token `{0}` has `single_word`, which is not supported with `spiece.model`")]
    SingleWordToken(String),
    /// A token id that the vocabulary does not have.
    #[error("no token has the id {id}: expected ids below {vocab_size}")]
    TokenId {
        /// The id.
        id: u32,
        /// The number of rows of the embedding table.
        vocab_size: usize,
    },
    /// A prompt for a text that is given as token ids.
    #[error("a text given as token ids takes no prompt: expected ids that begin with the prompt's")]
    PromptBeforeIds,
    /// A `tokenizer.json` or `vocab.txt` that the tokenizers crate refuses.
    #[error("`{file}` does not describe a tokenizer")]
    Tokenizer {
        /// The file.
        file: String,
        /// The reason.
        source: TokenizerSource,
    },
    /// `lowercase` or `keep_accents` for a normalizer that cannot change it.
    #[error("the normalizer of `tokenizer.json` does not allow `{option}`: {why}")]
    NormalizerOverride {
        /// The option with its value.
        option: String,
        /// The reason.
        why: String,
    },
    /// A vocabulary without a token that ALBERT needs.
    #[error("no `{token}` in the vocabulary of `{file}`")]
    MissingToken {
        /// The token.
        token: String,
        /// The tokenizer's file.
        file: String,
    },
    /// Ids beyond the embedding table.
    #[error(
        "`{file}` has ids up to {highest}: expected ids below {rows}, the `vocab_size` of `config.json`"
    )]
    VocabularyTooLarge {
        /// The tokenizer's file.
        file: String,
        /// The highest id.
        highest: u32,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// A maximum length without room for text.
    #[error(
        "max length {max_length} leaves no room for text: expected more than the {special} special tokens"
    )]
    MaxLength {
        /// The requested length.
        max_length: usize,
        /// The special tokens that are added.
        special: usize,
    },
    /// A text that the tokenizer refuses.
    #[error("the text cannot be tokenized")]
    Tokenize(#[source] TokenizerSource),

    /// Pooling by the pooler of a model that has none.
    #[error("pooling `pooler`: the model has no pooler")]
    NoPooler,
    /// A width to truncate to that is zero or larger than the embedding's.
    #[error("embeddings cannot be cut to {asked} dimensions: expected 1 to {dim}")]
    TruncateDim {
        /// The requested width.
        asked: usize,
        /// The model's width.
        dim: usize,
    },
    /// A prompt that leaves no room for text, or no token to pool.
    #[error("the prompt takes {prompt} tokens of at most {max_length}: expected room for the text")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },

    /// A text without a mask to fill.
    #[error("no `{0}` in the text: expected at least one")]
    NoMask(String),
    /// A text with a mask beyond the maximum length.
    #[error(
        "{lost} of {masks} `{mask_token}` lie beyond the first {max_length} tokens of the text"
    )]
    MaskTruncated {
        /// The mask token.
        mask_token: String,
        /// The number of masks that were cut off.
        lost: usize,
        /// Masks in the whole text.
        masks: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },
    /// A target that the vocabulary cannot spell.
    #[error("target `{0}` is outside the vocabulary")]
    UnknownTarget(String),
    /// An empty list where a task needs at least one element.
    #[error("no {what}: expected at least one")]
    Empty {
        /// The things that are missing.
        what: &'static str,
    },
    /// A prompt name for a model without prompts.
    #[error("the model has no prompts, and none named `{0}`")]
    NoPrompts(String),
    /// A target of several pieces that makes the text too long.
    #[error("target `{target}` makes the text {tokens} tokens long: expected at most {max_length}")]
    TargetTooLong {
        /// The target.
        target: String,
        /// Tokens with the target in place.
        tokens: usize,
        /// Tokens that the model takes.
        max_length: usize,
    },

    /// A mask token that is in the vocabulary but is not matched in texts.
    #[error("`{0}` is not among the `added_tokens` of the tokenizer, so no text can hold it")]
    MaskNotAdded(String),

    /// Results with NaN or an infinity.
    #[error(
        "the model computes values that are not finite: its weights are damaged, or its values \
         overflow this type"
    )]
    NotFinite,

    /// A text for which the device has no memory, even in a batch of one.
    #[error("the device has no memory for a text of {tokens} tokens")]
    OutOfMemory {
        /// Its tokens.
        tokens: usize,
        /// The device's error.
        source: candle_core::Error,
    },

    /// Zero-shot classification with a classifier that has a single label.
    #[error(
        "zero-shot needs a natural language inference model: expected at least 2 labels, found {labels}"
    )]
    NotInference {
        /// The model's labels.
        labels: usize,
    },
    /// Reranking with a classifier that has several labels.
    #[error("reranking needs a cross-encoder: expected a single label, found {labels}")]
    NotCrossEncoder {
        /// The model's labels.
        labels: usize,
    },
    /// A hypothesis without a place for the label.
    #[error("hypothesis `{0}`: expected `{{}}` where the label goes, found none")]
    Hypothesis(String),
    /// A text that must not be truncated and leaves no room for the other.
    #[error(
        "the {what} takes {tokens} tokens, special tokens included: expected fewer than \
         {max_length}, to leave room for text"
    )]
    NoRoom {
        /// The kind of text.
        what: &'static str,
        /// Its tokens with the special ones.
        tokens: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },
    /// A stride with an aggregation that cannot join windows.
    #[error(
        "a stride needs an aggregation: with `none` the tokens of two windows cannot be joined"
    )]
    StrideWithoutAggregation,
    /// A stride with which windows would have no new tokens.
    #[error("stride {stride}: expected less than the {room} tokens of text in a window")]
    Stride {
        /// Tokens that windows share.
        stride: usize,
        /// Tokens of text in a window.
        room: usize,
    },
    /// A pair to embed in windows.
    #[error("pairs are not read in windows: expected single texts")]
    PairInWindows,
    /// A text with too many sentences to sort.
    #[error("{found} sentences: expected at most {limit}")]
    TooManySentences {
        /// The text's sentences.
        found: usize,
        /// The maximum number of sentences.
        limit: usize,
    },
    /// An embedding of another model.
    #[error("expected embeddings of {expected} values, found {found}")]
    VectorWidth {
        /// The model's.
        expected: usize,
        /// The embedding's.
        found: usize,
    },

    /// A comparison of two different models.
    #[error("text {index}: expected {expected}, found {found}; the models differ")]
    NotTheSameModel {
        /// The text's number.
        index: usize,
        /// The tokens or the width of the first model.
        expected: String,
        /// Those of the second model.
        found: String,
    },

    /// An id beyond its table.
    #[error("{what} {value} is outside the model's {limit}: expected at most {}", limit - 1)]
    InputValue {
        /// The kind of id.
        what: &'static str,
        /// The id.
        value: u32,
        /// The rows of the table.
        limit: usize,
    },

    /// Token ids, types, a mask or rows of the wrong length.
    #[error("{what}: expected {expected} values, found {found}")]
    InputLength {
        /// The values.
        what: &'static str,
        /// The length they must have.
        expected: String,
        /// Their length.
        found: usize,
    },

    /// An output that the model cannot compute.
    #[error("output `{output}`: {why}")]
    MissingOutput {
        /// The output's name.
        output: String,
        /// The reason.
        why: &'static str,
    },
    /// A name that is not in a fixed list.
    #[error("unknown {what} `{name}`: expected one of {expected}")]
    UnknownName {
        /// The kind of name.
        what: &'static str,
        /// The name.
        name: String,
        /// The list.
        expected: String,
    },
}

//! What can go wrong between a model's files, a text and an answer.

use std::path::PathBuf;

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The error inside [`Error::Tokenizer`] and [`Error::Tokenize`], as the tokenizers crate gives it.
pub type TokenizerSource = Box<dyn std::error::Error + Send + Sync>;

/// A model folder, an option or a text that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network, its configuration or its weights.
    #[error(transparent)]
    Model(#[from] albert_model::Error),
    /// The computation itself.
    #[error(transparent)]
    Compute(#[from] candle_core::Error),

    /// The Hub, its cache, or the way there.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] crate::HubError),

    /// Neither a built-in name, nor a folder, nor a name that the Hub could have.
    #[error("no model `{0}`: expected a folder, the built-in name `{builtin}` or a model of the Hub as `owner/model`", builtin = crate::BUILTIN)]
    UnknownModel(String),
    /// The program was built without the feature `hub`.
    #[error(
        "no folder `{0}`, and models of the Hub are not part of this build: expected the feature `hub`"
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
    /// A file that exists and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that every model needs.
    #[error("no `{file}` in `{model}`")]
    MissingFile {
        /// The model's name or folder.
        model: String,
        /// The file.
        file: &'static str,
    },
    /// A placeholder that Git LFS leaves where the file was not fetched.
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
        /// Where and why.
        source: serde_json::Error,
    },
    /// A value of a JSON file that has another type or meaning than it must have.
    #[error("`{field}` in `{file}`: expected {expected}, found {found}")]
    Field {
        /// The file.
        file: String,
        /// The key.
        field: String,
        /// What may stand there.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A module of sentence-transformers that is not computed here.
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
    /// A `spiece.model` that is broken, or wants what is not supported.
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
        "added token `{token}` has the id {id}: expected ids that go on from the vocabulary's {next}"
    )]
    AddedTokenId {
        /// The token.
        token: String,
        /// Its id in the files.
        id: u32,
        /// Where ids go on.
        next: usize,
    },
    /// An added token that is found between spaces only.
    #[error("added token `{0}` has `single_word`, which is not supported beside `spiece.model`")]
    SingleWordToken(String),
    /// A `tokenizer.json` or `vocab.txt` that the tokenizers crate refuses.
    #[error("`{file}` does not describe a tokenizer")]
    Tokenizer {
        /// The file.
        file: String,
        /// The reason.
        source: TokenizerSource,
    },
    /// `lowercase` or `keep_accents` where the normalizer cannot follow.
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
    /// Ids that the embedding table does not have.
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
    /// A length that leaves no room for text.
    #[error(
        "max length {max_length} leaves no room for text: expected more than the {special} special tokens"
    )]
    MaxLength {
        /// The length asked for.
        max_length: usize,
        /// How many special tokens are added.
        special: usize,
    },
    /// A text that the tokenizer refuses.
    #[error("the text cannot be tokenized")]
    Tokenize(#[source] TokenizerSource),

    /// Pooling by the pooler of a model that has none.
    #[error("pooling `pooler`: the model has no pooler")]
    NoPooler,
    /// A cut longer than the embedding, or to nothing.
    #[error("embeddings cannot be cut to {asked} dimensions: expected 1 to {dim}")]
    TruncateDim {
        /// The width asked for.
        asked: usize,
        /// The model's width.
        dim: usize,
    },
    /// A prompt that leaves nothing to pool where the model leaves the prompt out.
    #[error("the prompt takes {prompt} tokens of at most {max_length}: expected room for the text")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },

    /// A text to fill without a mask.
    #[error("no `{0}` in the text: expected at least one")]
    NoMask(String),
    /// A text whose mask lies beyond the model's length.
    #[error(
        "{lost} of {masks} `{mask_token}` lie beyond the first {max_length} tokens of the text"
    )]
    MaskTruncated {
        /// The mask token.
        mask_token: String,
        /// Masks that were cut off.
        lost: usize,
        /// Masks in the whole text.
        masks: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },
    /// A target that no sequence of pieces of the vocabulary spells.
    #[error("target `{0}` is outside the vocabulary")]
    UnknownTarget(String),
    /// A list of targets without any.
    #[error("no targets: expected at least one")]
    NoTargets,
    /// A target of several pieces that makes the text longer than the model takes.
    #[error("target `{target}` makes the text {tokens} tokens long: expected at most {max_length}")]
    TargetTooLong {
        /// The target.
        target: String,
        /// Tokens with the target in place.
        tokens: usize,
        /// Tokens that the model takes.
        max_length: usize,
    },

    /// The mask token is a piece of the vocabulary, but text that names it is cut apart.
    #[error("`{0}` is not among the `added_tokens` of the tokenizer, so no text can hold it")]
    MaskNotAdded(String),

    /// The network's results hold NaN or an infinity.
    #[error(
        "the model computes numbers that are not finite: its weights are broken, or overflow in this dtype"
    )]
    NotFinite,

    /// A text that the device has no memory for, even alone.
    #[error("the device has no memory for a text of {tokens} tokens")]
    OutOfMemory {
        /// Its tokens.
        tokens: usize,
        /// What the device says.
        source: candle_core::Error,
    },

    /// Labels asked of a classifier that has a single one.
    #[error(
        "zero-shot needs a model of natural language inference: expected at least 2 labels, found {labels}"
    )]
    NotInference {
        /// The model's labels.
        labels: usize,
    },
    /// No labels to choose from.
    #[error("no labels: expected at least one")]
    NoLabels,
    /// A hypothesis that does not say where the label goes.
    #[error("hypothesis `{0}`: expected `{{}}` where the label goes, found none")]
    Hypothesis(String),
    /// A text that may not be cut, and leaves no room for the one beside it.
    #[error(
        "the {what} takes {tokens} tokens with the special ones: expected room for text within {max_length}"
    )]
    NoRoom {
        /// What the text is.
        what: &'static str,
        /// Its tokens with the special ones.
        tokens: usize,
        /// Tokens that enter the model.
        max_length: usize,
    },
    /// Windows whose tokens are to stay as they are, though they overlap.
    #[error(
        "a stride needs an aggregation: with `none` the tokens of two windows cannot be joined"
    )]
    StrideWithoutAggregation,
    /// Windows that would not move on.
    #[error("stride {stride}: expected less than the {room} tokens of text in a window")]
    Stride {
        /// Tokens that windows were to have in common.
        stride: usize,
        /// Tokens of text in a window.
        room: usize,
    },
    /// Windows of a pair.
    #[error("pairs are not read in windows: expected single texts")]
    PairInWindows,
    /// A calibration without an embedding to take ranges from.
    #[error("the calibration has no embeddings: expected at least one")]
    NoCalibration,
    /// A text without any choice.
    #[error("no choices: expected at least one")]
    NoChoices,
    /// A text too long to be sorted.
    #[error("{found} sentences: expected at most {limit}")]
    TooManySentences {
        /// The text's sentences.
        found: usize,
        /// The most that are sorted.
        limit: usize,
    },
    /// An embedding that another model has made.
    #[error("expected embeddings of {expected} numbers, found {found}")]
    VectorWidth {
        /// The model's.
        expected: usize,
        /// What was handed over.
        found: usize,
    },

    /// Two computations that were to be compared, and are not of the same model.
    #[error("text {index}: expected {expected}, found {found}: not the same model")]
    NotTheSameModel {
        /// The text's number.
        index: usize,
        /// What the one side has.
        expected: String,
        /// What the other has there.
        found: String,
    },

    /// An id that its table does not have.
    #[error("{what} {value} is outside the model's {limit}: expected at most {}", limit - 1)]
    InputValue {
        /// Which kind of id.
        what: &'static str,
        /// The id.
        value: u32,
        /// The rows of the table.
        limit: usize,
    },

    /// Token ids, types or a mask of the wrong length.
    #[error("{what}: expected {expected} values, found {found}")]
    InputLength {
        /// Which of the three.
        what: &'static str,
        /// How many there must be.
        expected: String,
        /// How many there are.
        found: usize,
    },

    /// An output that the model does not have.
    #[error("output `{output}`: {why}")]
    MissingOutput {
        /// The output's name.
        output: String,
        /// The reason.
        why: &'static str,
    },
    /// A name that is none of a fixed list.
    #[error("unknown {what} `{name}`: expected one of {expected}")]
    UnknownName {
        /// What is named.
        what: &'static str,
        /// The name.
        name: String,
        /// The list.
        expected: String,
    },
}

impl Error {
    /// What a person can do about it, where that is known: one line without a final period.
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
                "build with `--features hub`, or download the model's files into a folder and pass it"
            }
            Error::UnknownModel(_) => {
                "check the path; a model of the Hub is named owner/model, as its page is"
            }
            Error::NoTokenizer(_) => {
                "put the model's spiece.model beside config.json; most model pages offer it for download"
            }
            Error::LfsPointer(_) => "run `git lfs pull` in the model's folder",
            Error::NoMask(mask) => {
                return Some(format!("write {mask} where a token is to be filled in"));
            }
            Error::MaskTruncated { .. } => "shorten the text before the mask",
            Error::UnknownTarget(_) => "see with `tokenize` how the tokenizer cuts it",
            Error::NoPooler => "choose another pooling, such as mean or cls",
            Error::OutOfMemory { .. } => {
                "cut texts with `--max-length`, say `--dtype bf16`, or free memory: `nvidia-smi` shows who has it"
            }
            Error::Compute(error) | Error::Model(albert_model::Error::Candle(error))
                if is_out_of_memory(error) =>
            {
                "free the device's memory, of which `nvidia-smi` shows who has it, or use `--device cpu`"
            }
            Error::VectorWidth { .. } => "use embeddings of this model, made with the same options",
            Error::Model(albert_model::Error::MissingHead { served, .. }) => {
                let commands: Vec<&str> = served
                    .iter()
                    .flat_map(|&head| commands(head))
                    .copied()
                    .collect();
                return Some(format!("this model serves {}", commands.join(", ")));
            }
            Error::Model(albert_model::Error::OtherClassifier { found, .. }) => {
                return Some(format!("this model serves {}", commands(*found).join(", ")));
            }
            Error::Model(error) => return error.hint(),
            _ => return None,
        };
        Some(hint.to_string())
    }
}

/// Whether a device had no memory for a tensor or for a library's workspace, by the status that
/// CUDA's libraries answer with and cudarc's errors name.
pub(crate) fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = error.to_string();
    ["CUDA_ERROR_OUT_OF_MEMORY", "CUBLAS_STATUS_ALLOC_FAILED"]
        .iter()
        .any(|status| text.contains(status))
}

/// The tasks that a model with this head does, as the command line names them.
fn commands(head: albert_model::Head) -> &'static [&'static str] {
    use albert_model::Head;
    match head {
        Head::Encoder => &["embed", "similarity", "search"],
        Head::MaskedLm => &["fill-mask", "score"],
        Head::PreTraining => &["order"],
        Head::SequenceClassification => &["classify", "zero-shot"],
        Head::TokenClassification => &["tag"],
        Head::QuestionAnswering => &["answer"],
        Head::MultipleChoice => &["choose"],
        _ => &[],
    }
}

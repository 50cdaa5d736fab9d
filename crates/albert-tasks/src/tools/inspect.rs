//! Describes a model's files and their use, without loading weights.

use std::error::Error as _;

use albert_model::{AlbertConfig, Checkpoint, Head, HiddenAct, ModelType, WeightFormat};
use serde::Serialize;

use crate::pipeline::{Purpose, max_length};
use crate::{Error, ModelFiles, Pooling, Result, RunOptions, Tokenizer};

/// A model's description.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// The model's name or folder.
    pub model: String,
    /// The first of `architectures` in `config.json`, else that of the most complete head in the
    /// file.
    pub architecture: String,
    /// The network and how its layers share weights, such as `a BERT: 12 groups, nothing shared`.
    pub network: String,
    /// Parameters of a model of that architecture; tied ones count once.
    pub parameters: usize,
    /// The heads whose weights are in the file.
    pub heads: Vec<String>,
    /// The types in which the weights are stored.
    pub dtypes: Vec<String>,
    /// The network's sizes.
    pub shape: Shape,
    /// The use of each tensor.
    pub tensors: TensorNames,
    /// The tokenizer.
    pub tokenizer: Section<TokenizerInfo>,
    /// The pooling of embeddings.
    pub pooling: Section<Pooling>,
    /// The activation in the feed-forward layers.
    pub activation: Activation,
}

/// The sizes in `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names are those of config.json")]
pub struct Shape {
    pub vocab_size: usize,
    pub embedding_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_hidden_groups: usize,
    pub inner_group_num: usize,
    pub num_attention_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
    pub type_vocab_size: usize,
}

/// The names of tensors in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TensorNames {
    /// Used by at least one head in the file.
    pub used: Vec<String>,
    /// Part of the architecture, but not in the file.
    pub missing: Vec<String>,
    /// In the file, but not used.
    pub unused: Vec<String>,
    /// Used under another name.
    pub renamed: Vec<Renamed>,
    /// Not loaded, because another tensor has the same values.
    pub tied: Vec<Tied>,
    /// The chosen files and formats, the prefixes removed from names, and the reasons.
    pub choices: Vec<String>,
    /// Other remarks about the tensors.
    pub notes: Vec<String>,
}

/// A tensor with an old or foreign name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Renamed {
    /// The name in the file.
    pub stored: String,
    /// The canonical name.
    pub name: String,
}

/// A tensor that shares another's values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tied {
    /// The tensor.
    pub name: String,
    /// The tensor to which it is tied.
    pub source: String,
}

/// A part of a model that may be missing or unusable, such as a tokenizer.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Section<T> {
    /// The part.
    Found(T),
    /// The reason why it cannot be used.
    Unusable {
        /// The error with its causes.
        error: String,
    },
}

/// Information about a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenizerInfo {
    /// The file, and the reason for it.
    pub why: String,
    /// The model: `Unigram`, `WordPiece`, `WordLevel` or `BPE`.
    pub model: String,
    /// Pieces, added tokens included.
    pub vocab_size: usize,
    /// True if text is lowercased.
    pub lowercase: bool,
    /// True if accents are kept.
    pub keep_accents: bool,
    /// The mask token.
    pub mask_token: String,
    /// The id of the mask token.
    pub mask_token_id: Option<u32>,
    /// The maximum length of a text to embed, in tokens.
    pub max_length: usize,
    /// The origin of that limit.
    pub max_length_why: String,
}

/// Information about the activation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// Hugging Face's name.
    pub name: String,
    /// The source of the choice, and its exact form.
    pub why: String,
}

/// Returns the types that weights are stored in, by the names of [`WeightFormat`].
fn dtypes(checkpoint: &Checkpoint) -> Vec<String> {
    let in_bytes = checkpoint
        .is_quantized()
        .then(|| WeightFormat::Int8.to_string());
    let floats = checkpoint
        .stored_dtypes()
        .into_iter()
        .map(|dtype| dtype.as_str().to_string());
    in_bytes.into_iter().chain(floats).collect()
}

/// Describes a model from its files.
///
/// ```
/// use albert_tasks::tools::inspect;
/// use albert_tasks::{ModelFiles, RunOptions};
/// # fn main() -> albert_tasks::Result<()> {
/// # if cfg!(not(feature = "builtin")) { return Ok(()) }
/// let inspection = inspect(&ModelFiles::builtin()?, &RunOptions::default())?;
/// assert!(inspection.tensors.missing.is_empty());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// If configuration or weights cannot be read. A tokenizer or a pooling that cannot be used is part
/// of the description.
pub fn inspect(files: &ModelFiles, options: &RunOptions) -> Result<Inspection> {
    let checkpoint = files.checkpoint()?;
    let config = checkpoint.config();
    let head = described_head(&checkpoint);
    let report = checkpoint.report()?;
    let mut parameters = config.parameter_count(head);
    if head == Head::Encoder && !checkpoint.has_pooler() {
        parameters = parameters.saturating_sub(config.hidden_size * (config.hidden_size + 1));
    }
    Ok(Inspection {
        model: files.name().to_string(),
        architecture: config
            .architectures
            .first()
            .cloned()
            .unwrap_or_else(|| head.class(config.model_type)),
        network: network(config),
        parameters,
        heads: checkpoint
            .heads()
            .iter()
            .map(|head| head.class(config.model_type))
            .collect(),
        dtypes: dtypes(&checkpoint),
        shape: Shape::new(config),
        tensors: TensorNames {
            used: report.used,
            missing: report.missing,
            unused: report.unused,
            renamed: report
                .renamed
                .into_iter()
                .map(|(stored, name)| Renamed { stored, name })
                .collect(),
            tied: report
                .tied
                .into_iter()
                .map(|(name, source)| Tied { name, source })
                .collect(),
            choices: report.choices,
            notes: report.notes,
        },
        tokenizer: section(tokenizer_info(files, options, config)),
        pooling: section(Pooling::from_files(files).and_then(|pooling| {
            pooling.check_width(config.hidden_size)?;
            Ok(pooling)
        })),
        activation: activation(&checkpoint),
    })
}

impl Shape {
    fn new(config: &AlbertConfig) -> Self {
        Self {
            vocab_size: config.vocab_size,
            embedding_size: config.embedding_size,
            hidden_size: config.hidden_size,
            num_hidden_layers: config.num_hidden_layers,
            num_hidden_groups: config.num_hidden_groups,
            inner_group_num: config.inner_group_num,
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            max_position_embeddings: config.max_position_embeddings,
            type_vocab_size: config.type_vocab_size,
        }
    }
}

/// Describes the network and how its layers share weights.
fn network(config: &AlbertConfig) -> String {
    let article = if config.model_type == ModelType::Albert {
        "an"
    } else {
        "a"
    };
    let (groups, layers) = (config.num_hidden_groups, config.num_hidden_layers);
    let plural = if groups == 1 { "" } else { "s" };
    let shared = if groups >= layers {
        "nothing shared".to_string()
    } else {
        format!("shared by {layers} layers")
    };
    format!(
        "{article} {}: {groups} group{plural}, {shared}",
        config.model_type
    )
}

/// Returns the head that `architectures` names, else the most complete one in the file.
fn described_head(checkpoint: &Checkpoint) -> Head {
    let named = |head: &Head| {
        checkpoint
            .config()
            .architectures
            .first()
            .is_some_and(|name| head.is_architecture(name))
    };
    let heads = checkpoint.heads();
    let fullest = || heads.iter().copied().find(|head| *head != Head::Encoder);
    Head::ALL
        .into_iter()
        .find(named)
        .or_else(fullest)
        .unwrap_or(Head::Encoder)
}

fn tokenizer_info(
    files: &ModelFiles,
    options: &RunOptions,
    config: &AlbertConfig,
) -> Result<TokenizerInfo> {
    let tokenizer = Tokenizer::load(files, &options.tokenizer)?;
    tokenizer.check_vocabulary(config.vocab_size)?;
    let (max_length, max_length_why) =
        max_length(files, config, options.max_length, Purpose::Embedding)?;
    Ok(TokenizerInfo {
        why: tokenizer.source().to_string(),
        model: tokenizer.model_name().to_string(),
        vocab_size: tokenizer.vocab_size(),
        lowercase: tokenizer.lowercases()?,
        keep_accents: tokenizer.keeps_accents()?,
        mask_token: tokenizer.mask_token().to_string(),
        mask_token_id: tokenizer.mask_token_id(),
        max_length,
        max_length_why,
    })
}

fn activation(checkpoint: &Checkpoint) -> Activation {
    let act = checkpoint.config().hidden_act;
    let form = match act {
        HiddenAct::Gelu | HiddenAct::GeluPython => "; the exact form with erf, not tanh",
        HiddenAct::GeluNew => "; the tanh form, as ALBERT v2 was trained",
        _ => "",
    };
    Activation {
        name: act.to_string(),
        why: format!("{}{form}", checkpoint.activation_source()),
    }
}

fn section<T>(result: Result<T>) -> Section<T> {
    result.map_or_else(
        |error| Section::Unusable {
            error: with_causes(&error),
        },
        Section::Found,
    )
}

fn with_causes(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusable_section_names_every_cause() {
        let broken = serde_json::from_str::<u8>("x").unwrap_err();
        let message = broken.to_string();
        let error = Error::Json {
            file: "modules.json".to_string(),
            source: broken,
        };
        let json = serde_json::to_value(section::<u8>(Err(error))).unwrap();
        assert_eq!(
            json["error"],
            format!("`modules.json` is not valid JSON: {message}")
        );
    }
}

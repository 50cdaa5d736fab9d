//! Compression: any ALBERT or BERT becomes an ALBERT with fewer groups, a narrower embedding, fewer
//! layers or fewer pieces.
//!
//! The start keeps as much of the original as can be kept without training; then
//! [`Distillation`](crate::distill::Distillation) trains it to imitate the original.
//!
//! Source: Nouriborji et al. 2023, "MiniALBERT: Model Distillation via Parameter-Efficient Recursive
//! Transformers"; Bae et al. 2025, "Relaxed Recursive Transformers", section 2.2 for the starts of
//! shared layers.

mod embeddings;
mod layers;
mod principal;
mod vocabulary;

use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, FlatParameters};
use albert_tasks::albert_model::{AlbertConfig, Head, ModelType};
use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use serde_json::json;

pub use layers::GroupInit;
pub use vocabulary::piece_counts;

use crate::distill::{Student, pretraining_head};
use crate::error::{Error, Result};

/// Files that a compressed model takes from the original as they are; the configuration has the
/// width that the modules are for.
const COPIED: [&str; 11] = [
    "config.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// The sizes of a compressed model; `None` keeps those of the original.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compression {
    /// G, the number of groups of layers.
    pub groups: Option<usize>,
    /// E, the width of the embeddings.
    pub embedding_size: Option<usize>,
    /// L, the number of layers.
    pub layers: Option<usize>,
    /// V, the number of pieces.
    pub vocabulary: Option<usize>,
    /// The initial weights of a group, from the layers that it replaces.
    pub group_init: GroupInit,
}

impl Compression {
    /// Sets the number of groups of layers.
    #[must_use]
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = Some(groups);
        self
    }

    /// Compresses a model with the head of pretraining that it has. `counts` has the occurrences of
    /// each piece in the text that the result is for; see [`piece_counts`].
    ///
    /// # Errors
    /// If a size is not possible, a file is missing or wrong, or pieces are to be removed without
    /// `counts`.
    pub fn apply(
        &self,
        original: &ModelFiles,
        counts: Option<&[u64]>,
        seed: u64,
    ) -> Result<Student> {
        let head = pretraining_head(&original.checkpoint()?.heads());
        self.apply_with_head(original, head, counts, seed)
    }

    /// Compresses a model, and gives it a head. Tensors of the head that the original lacks are
    /// drawn.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_with_head(
        &self,
        original: &ModelFiles,
        head: Head,
        counts: Option<&[u64]>,
        seed: u64,
    ) -> Result<Student> {
        let checkpoint = original.checkpoint()?.with_model_type(ModelType::Albert)?;
        let own_head = pretraining_head(&checkpoint.heads());
        let layout = Arc::new(FlatLayout::new(checkpoint.config(), own_head)?);
        let (weights, drawn) = FlatParameters::from_checkpoint(&checkpoint, layout, seed)?;
        self.check(checkpoint.config())?;
        let (pieces, files) = match self.vocabulary {
            None => {
                let pieces = (0..checkpoint.config().vocab_size as u32).collect();
                (pieces, self.files(original, Vec::new())?)
            }
            Some(size) => {
                let tokenizer = Tokenizer::load(original, &TokenizerOptions::default())?;
                let counts = counts.ok_or_else(|| Error::Setting {
                    name: "vocabulary",
                    expected: "a text in which to count pieces".into(),
                    found: "none".into(),
                })?;
                let added = vocabulary::added_tokens(original)?;
                let pieces = vocabulary::remaining(&tokenizer, &added, counts, size)?;
                let reduced = vocabulary::reduced(original, &pieces)?;
                (pieces, self.files(original, reduced)?)
            }
        };
        let config = self.config(checkpoint.config(), head, &pieces);
        let layout = Arc::new(FlatLayout::new(&config, head)?);
        let mut student = FlatParameters::random(layout, seed);
        layers::merge(&weights, &mut student, self.group_init);
        let is_narrower = config.embedding_size != checkpoint.config().embedding_size;
        if is_narrower {
            embeddings::factorize(&weights, &mut student, &pieces)
                .map_err(albert_tasks::albert_model::train::TrainError::from)?;
        }
        let new_tensors = copy_others(&weights, &drawn, &mut student, &pieces, is_narrower);
        if new_tensors.iter().any(|name| name == MASKED_LM_BIAS)
            && let Some(counts) = counts
        {
            start_masked_lm(&mut student, &pieces, counts);
        }
        Ok(Student {
            is_kept: true,
            ..Student::new(student, files, new_tensors)
        })
    }

    fn check(&self, original: &AlbertConfig) -> Result<()> {
        let setting = |name, expected: String, found: usize| {
            Err(Error::Setting {
                name,
                expected,
                found: found.to_string(),
            })
        };
        if original.inner_group_num != 1 {
            return setting(
                "inner_group_num",
                "groups of a single layer".into(),
                original.inner_group_num,
            );
        }
        let most = original.num_hidden_layers;
        let layers = self.layers.unwrap_or(most);
        if !(1..=most).contains(&layers) {
            return setting("layers", format!("1 to the model's {most} layers"), layers);
        }
        let groups = self.groups.unwrap_or(1);
        if !(1..=layers).contains(&groups) {
            return setting("groups", format!("1 to the {layers} layers"), groups);
        }
        let (least, most) = (4, original.embedding_size);
        let embedding = self.embedding_size.unwrap_or(most);
        if !(least..=most).contains(&embedding) {
            let expected = format!("{least} to {most}, the model's width");
            return setting("embedding_size", expected, embedding);
        }
        Ok(())
    }

    /// Returns the configuration of the result.
    fn config(&self, original: &AlbertConfig, head: Head, pieces: &[u32]) -> AlbertConfig {
        let mut config = original.clone();
        config.architectures = vec![head.architecture().into()];
        config.num_hidden_layers = self.layers.unwrap_or(config.num_hidden_layers);
        let groups = config.num_hidden_groups.min(config.num_hidden_layers);
        config.num_hidden_groups = self.groups.unwrap_or(groups);
        config.embedding_size = self.embedding_size.unwrap_or(config.embedding_size);
        config.vocab_size = pieces.len();
        let new_id = |id: u64| pieces.binary_search(&u32::try_from(id).ok()?).ok();
        for key in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            if let Some(id) = config.other.get(key).and_then(serde_json::Value::as_u64) {
                config.other.insert(key.into(), json!(new_id(id)));
            }
        }
        config
    }

    fn files(&self, original: &ModelFiles, reduced: Vec<(String, Vec<u8>)>) -> Result<ModelFiles> {
        let mut files = Vec::new();
        for name in COPIED {
            let is_reduced = reduced.iter().any(|(file, _)| file == name);
            // A removed piece would still be in SentencePiece's model.
            let is_stale = name == "spiece.model" && !reduced.is_empty();
            if !is_reduced
                && !is_stale
                && let Some(bytes) = original.read(name)?
            {
                files.push((name.to_string(), bytes.into_owned()));
            }
        }
        files.extend(reduced);
        Ok(ModelFiles::from_bytes("the compressed model", files))
    }
}

const MASKED_LM_BIAS: &str = "predictions.bias";
const MASKED_LM_GAMMA: &str = "predictions.LayerNorm.weight";

/// Copies embeddings that keep their width, the pooler and the heads. Returns the tensors for which
/// the original has nothing.
fn copy_others(
    original: &FlatParameters,
    drawn: &[String],
    student: &mut FlatParameters,
    pieces: &[u32],
    is_narrower: bool,
) -> Vec<String> {
    let layout = student.layout().clone();
    let mut new = Vec::new();
    for tensor in layout.tensors() {
        let name = &tensor.name;
        let is_embedding = name.starts_with("albert.embeddings.")
            || name.contains(".embedding_hidden_mapping_in.");
        if name.contains(".albert_layer_groups.") || (is_embedding && is_narrower) {
            continue;
        }
        let own = original.tensor(name).filter(|_| !drawn.contains(name));
        let width = tensor.shape.get(1).copied().unwrap_or(1);
        let is_of_pieces = tensor.shape[0] == pieces.len();
        let values = match own {
            Some(own) if own.len() == tensor.range.len() => own.to_vec(),
            Some(own) if is_of_pieces && own.len() % width == 0 => pieces
                .iter()
                .filter_map(|piece| own.get(*piece as usize * width..(*piece as usize + 1) * width))
                .flatten()
                .copied()
                .collect(),
            _ => Vec::new(),
        };
        if values.len() == tensor.range.len() {
            student.values_mut()[tensor.range.clone()].copy_from_slice(&values);
        } else {
            new.push(name.clone());
        }
    }
    new
}

/// Starts a masked-LM head at the frequencies of pieces: the bias is the logarithm of each, and the
/// norm keeps the other part of the logits below 1 in deviation.
fn start_masked_lm(student: &mut FlatParameters, pieces: &[u32], counts: &[u64]) {
    let layout = student.layout().clone();
    let total: u64 = pieces.iter().map(|piece| counts[*piece as usize] + 1).sum();
    let logarithms = pieces.iter().map(|piece| {
        let share = (counts[*piece as usize] + 1) as f64 / total as f64;
        share.ln() as f32
    });
    let gamma = (layout.config().embedding_size as f32).sqrt().recip();
    for (name, values) in [
        (MASKED_LM_BIAS, logarithms.collect::<Vec<_>>()),
        (MASKED_LM_GAMMA, vec![gamma; layout.config().embedding_size]),
    ] {
        if let Some(tensor) = layout.tensor(name) {
            student.values_mut()[tensor.range.clone()].copy_from_slice(&values);
        }
    }
}

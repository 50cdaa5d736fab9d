//! What became of each tensor of a checkpoint.

use crate::checkpoint::{Checkpoint, names};
use crate::error::Result;
use crate::parameters::Head;

const WORD_EMBEDDINGS: &str = "albert.embeddings.word_embeddings.weight";
const DECODER_WEIGHT: &str = "predictions.decoder.weight";
const DECODER_BIAS: &str = "predictions.decoder.bias";
const MASKED_LM_BIAS: &str = "predictions.bias";

/// What loading does with each tensor of a file. Names are the file's own, except where the file
/// has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Tensors that go into the model.
    pub used: Vec<String>,
    /// Tensors that the model can do without and has to.
    pub missing: Vec<String>,
    /// Tensors that the model has no place for.
    pub unused: Vec<String>,
    /// Tensors under an old name, with the name they go by.
    pub renamed: Vec<(String, String)>,
    /// Tensors of the model that share another's values, with that other.
    pub tied: Vec<(String, String)>,
    /// What a careful reader should know, such as a copy that differs from what it is tied to.
    pub notes: Vec<String>,
}

impl LoadReport {
    pub(super) fn new(
        checkpoint: &Checkpoint,
        head: Head,
        used: Vec<String>,
        missing: Vec<String>,
    ) -> Result<Self> {
        let mut report = Self { used, missing, ..Self::default() };
        if matches!(head, Head::MaskedLm | Head::PreTraining) {
            report.tie_decoder(checkpoint)?;
        }
        report.renamed = checkpoint
            .names
            .iter()
            .filter(|(name, stored)| report.used.contains(stored) && names::is_renamed(stored, name))
            .map(|(name, stored)| (stored.clone(), name.clone()))
            .collect();
        let all = checkpoint.files.tensors().map(|(name, _)| name.to_string());
        report.unused = all.filter(|name| !report.has_place(name)).collect();
        Ok(report)
    }

    /// The decoder shares the word embeddings and the head's bias. Files may hold copies of both.
    fn tie_decoder(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let is_tied = checkpoint.config.tie_word_embeddings;
        let pairs = [(DECODER_WEIGHT, WORD_EMBEDDINGS, is_tied), (DECODER_BIAS, MASKED_LM_BIAS, true)];
        for (copy, original, _) in pairs.iter().filter(|(_, _, tied)| *tied) {
            let stored = |name| checkpoint.files.get(name);
            let original_is_stored = checkpoint.names.get(*original).map(String::as_str);
            match (stored(copy), original_is_stored.and_then(stored)) {
                (Some(_), _) if original_is_stored == Some(copy) => {}
                (Some(a), Some(b)) if !a.holds_the_same(b) => self.notes.push(format!(
                    "`{copy}` differs from `{original}`, which it is tied to; `{original}` is used, as transformers does"
                )),
                _ => self.tied.push((copy.to_string(), original.to_string())),
            }
        }
        Ok(())
    }

    fn has_place(&self, stored: &String) -> bool {
        self.used.contains(stored) || self.tied.iter().any(|(copy, _)| copy == stored)
    }

    /// Joins the report of another head of the same file.
    pub(super) fn add(&mut self, other: Self) {
        let extend = |to: &mut Vec<String>, from: Vec<String>| {
            for name in from {
                if !to.contains(&name) {
                    to.push(name);
                }
            }
        };
        extend(&mut self.used, other.used);
        extend(&mut self.notes, other.notes);
        for (to, from) in [(&mut self.renamed, other.renamed), (&mut self.tied, other.tied)] {
            for pair in from {
                if !to.contains(&pair) {
                    to.push(pair);
                }
            }
        }
        let unused = std::mem::take(&mut self.unused);
        self.unused = unused.into_iter().filter(|name| !self.has_place(name)).collect();
    }
}

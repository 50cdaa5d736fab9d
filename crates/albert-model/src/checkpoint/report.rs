//! The report on the tensors of a checkpoint.

use std::collections::HashSet;
use std::hash::Hash;

use crate::checkpoint::{Checkpoint, names};
use crate::error::Result;
use crate::parameters::{DECODER_BIAS, DECODER_WEIGHT, Head, MASKED_LM_BIAS, WORD_EMBEDDINGS};

/// The use of each tensor of a file in loading. Names are those in the file, for tensors that it
/// has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Tensors that are loaded into the model.
    pub used: Vec<String>,
    /// Optional tensors of the model that the file lacks.
    pub missing: Vec<String>,
    /// Tensors that the model does not have.
    pub unused: Vec<String>,
    /// Tensors under another name, with their canonical name.
    pub renamed: Vec<(String, String)>,
    /// Tensors of the model that share the values of another, with that other tensor.
    pub tied: Vec<(String, String)>,
    /// The choices made, with reasons: the file, its format, the prefix removed from its names, the
    /// origin of the configuration.
    pub choices: Vec<String>,
    /// Remarks, such as on a copy that differs from the tensor to which it is tied.
    pub notes: Vec<String>,
}

impl LoadReport {
    pub(super) fn new(
        checkpoint: &Checkpoint,
        head: Head,
        used: Vec<String>,
        missing: Vec<String>,
    ) -> Result<Self> {
        let mut report = Self {
            used,
            missing,
            choices: checkpoint.choices.clone(),
            ..Self::default()
        };
        if matches!(head, Head::MaskedLm | Head::PreTraining) {
            report.tie_decoder(checkpoint)?;
        }
        let used: HashSet<&String> = report.used.iter().collect();
        let renamed = checkpoint.names.iter().filter(|(name, stored)| {
            used.contains(stored) && names::is_renamed(stored, name, checkpoint.has_bert_names)
        });
        report.renamed = renamed
            .map(|(name, stored)| (stored.clone(), name.clone()))
            .collect();
        let unused = checkpoint.files.tensors().map(|(name, _)| name.to_string());
        report.unused = report.without_place(unused.collect());
        Ok(report)
    }

    /// Records that the decoder shares the word embeddings and the head's bias, of which files may
    /// hold copies.
    fn tie_decoder(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let is_tied = checkpoint.config.tie_word_embeddings;
        let pairs = [
            (
                DECODER_WEIGHT,
                WORD_EMBEDDINGS,
                is_tied,
                "as in transformers",
            ),
            (
                DECODER_BIAS,
                MASKED_LM_BIAS,
                true,
                "as in transformers 5; transformers 4 uses the other one",
            ),
        ];
        for (copy, original, _, as_who) in pairs.into_iter().filter(|(_, _, tied, _)| *tied) {
            // The names in the file, if it has the tensors.
            let copied = checkpoint.copies.get(copy).map_or(copy, String::as_str);
            let (original, tensor) = match checkpoint.stored(original) {
                Some((stored, tensor)) => (stored, Some(tensor)),
                None => (original, None),
            };
            match (checkpoint.files.get(copied), tensor) {
                // The file has only one of the two names, which serves for both.
                _ if copied == original => {}
                (Some(a), Some(b)) if !a.holds_the_same(b)? => self.notes.push(format!(
                    "`{copied}` differs from `{original}`, to which it is tied; `{original}` is used, {as_who}"
                )),
                _ => self.tied.push((copied.to_string(), original.to_string())),
            }
        }
        Ok(())
    }

    /// Returns the tensors of the file that are not used.
    fn without_place(&self, mut stored: Vec<String>) -> Vec<String> {
        let placed: HashSet<&String> = self
            .used
            .iter()
            .chain(self.tied.iter().map(|(copy, _)| copy))
            .collect();
        stored.retain(|name| !placed.contains(name));
        stored
    }

    /// Merges the report of another head of the same file.
    pub(super) fn add(&mut self, other: Self) {
        extend(&mut self.used, other.used);
        extend(&mut self.notes, other.notes);
        extend(&mut self.renamed, other.renamed);
        extend(&mut self.tied, other.tied);
        let unused = std::mem::take(&mut self.unused);
        self.unused = self.without_place(unused);
    }
}

/// Appends the elements that the list lacks.
fn extend<T: Clone + Eq + Hash>(list: &mut Vec<T>, more: Vec<T>) {
    let known: HashSet<T> = list.iter().cloned().collect();
    list.extend(more.into_iter().filter(|item| !known.contains(item)));
}

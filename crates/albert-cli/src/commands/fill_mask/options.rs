//! The options of `fill-mask` that its interactive mode can change.

use albert_tasks::FillOptions;
use clap::Args;

use crate::failure::usage;
use crate::options::number;

/// The maximum width of the beam. Each filling is a row of a batch and keeps --top-k candidates for
/// each mask.
pub(super) const MAX_BEAM: usize = 100;

/// The candidates to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Candidates")]
pub(super) struct MaskArgs {
    /// Candidates for each mask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: usize,

    /// Consider only these words
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    targets: Option<Vec<String>>,

    /// Fill several masks jointly instead of independently
    ///
    /// The most confident mask is filled first, then the others are predicted again.
    #[arg(long)]
    joint: bool,

    /// Fillings of the text to keep while masks are filled jointly [default: 1]
    ///
    /// Each row then also has `fillings`, best first: the whole text and the product of the
    /// probabilities in the order of filling.
    #[arg(long, value_name = "N", requires = "joint", value_parser = number(1..=MAX_BEAM), allow_negative_numbers = true)]
    pub(super) beam: Option<usize>,
}

impl MaskArgs {
    /// Returns the options of the task.
    pub(super) fn options(&self) -> anyhow::Result<FillOptions> {
        let targets = self
            .targets
            .as_deref()
            .map(targets)
            .transpose()
            .map_err(usage)?;
        let mut options = FillOptions::default()
            .with_top_k(self.top_k)
            .with_beam(self.beam.unwrap_or(1))
            .with_joint(self.joint);
        options.targets = targets;
        Ok(options)
    }
}

/// Trims the words of a list.
pub(super) fn targets<S: AsRef<str>>(words: &[S]) -> Result<Vec<String>, String> {
    let words: Vec<_> = words
        .iter()
        .map(|word| word.as_ref().trim().to_string())
        .collect();
    if words.iter().any(String::is_empty) {
        return Err("targets: expected words separated by commas, found an empty one".to_string());
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_trimmed_and_none_may_be_empty() {
        assert_eq!(
            targets(&["cat", " dog "]),
            Ok(vec!["cat".to_string(), "dog".to_string()])
        );
        assert!(targets(&["cat", ""]).is_err());
        assert!(targets(&[""]).is_err());
    }
}

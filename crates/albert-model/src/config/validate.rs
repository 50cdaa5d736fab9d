//! The checks of a configuration's values.

use super::fields::Fields;
use super::{AlbertConfig, ModelType};
use crate::error::Result;

/// The maximum of each size, more than any ALBERT has: bounds what a hostile file can request.
const MAX_SIZE: usize = 1 << 24;
const MAX_LAYERS: usize = 4096;

impl AlbertConfig {
    /// Checks that the sizes are consistent.
    ///
    /// # Errors
    /// Names the first field that is not, and a value that would be.
    pub fn validate(&self) -> Result<()> {
        self.validate_in("config.json")
    }

    /// Checks that the sizes are consistent; errors name `file`.
    pub(super) fn validate_in(&self, file: &str) -> Result<()> {
        let error = |field: &str, expected: &str, found: String| {
            Err(Fields::error(file, field, expected, found))
        };
        for (field, size) in [
            ("vocab_size", self.vocab_size),
            ("embedding_size", self.embedding_size),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_hidden_groups", self.num_hidden_groups),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("inner_group_num", self.inner_group_num),
            ("max_position_embeddings", self.max_position_embeddings),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if size == 0 {
                return error(field, "a whole number above 0", "0".into());
            }
            let counts_layers = matches!(
                field,
                "num_hidden_layers" | "num_hidden_groups" | "inner_group_num"
            );
            let most = if counts_layers { MAX_LAYERS } else { MAX_SIZE };
            if size > most {
                return error(field, &format!("at most {most}"), size.to_string());
            }
        }
        if self.model_type == ModelType::Bert {
            for (field, expected, found) in [
                ("embedding_size", self.hidden_size, self.embedding_size),
                (
                    "num_hidden_groups",
                    self.num_hidden_layers,
                    self.num_hidden_groups,
                ),
                ("inner_group_num", 1, self.inner_group_num),
            ] {
                if found != expected {
                    return error(field, &format!("{expected} in a BERT"), found.to_string());
                }
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            let nearest = nearest_divisor(self.hidden_size, self.num_attention_heads);
            return error(
                "num_attention_heads",
                &format!(
                    "a divisor of `hidden_size` {}, such as {nearest}",
                    self.hidden_size
                ),
                self.num_attention_heads.to_string(),
            );
        }
        for (field, probability) in [
            ("hidden_dropout_prob", self.hidden_dropout_prob),
            (
                "attention_probs_dropout_prob",
                self.attention_probs_dropout_prob,
            ),
            (
                "classifier_dropout_prob",
                self.classifier_dropout_prob.unwrap_or(0.0),
            ),
        ] {
            if !(0.0..1.0).contains(&probability) {
                return error(
                    field,
                    "a probability, at least 0 and below 1",
                    probability.to_string(),
                );
            }
        }
        for (field, number) in [
            ("layer_norm_eps", self.layer_norm_eps),
            ("initializer_range", self.initializer_range),
        ] {
            if !(0.0..1.0).contains(&number) {
                return error(
                    field,
                    "a small number, at least 0 and below 1",
                    number.to_string(),
                );
            }
        }
        Ok(())
    }
}

/// Returns the divisor of `size` that is nearest to `heads`.
fn nearest_divisor(size: usize, heads: usize) -> usize {
    let heads = heads.min(size);
    let below = (1..=heads)
        .rev()
        .find(|n| size.is_multiple_of(*n))
        .unwrap_or(1);
    let above = (heads..=heads.saturating_mul(2))
        .find(|n| size.is_multiple_of(*n))
        .unwrap_or(below);
    if above - heads < heads - below {
        above
    } else {
        below
    }
}

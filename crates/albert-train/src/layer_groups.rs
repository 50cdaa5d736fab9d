//! Layer groups with separate weights, from a model whose layers share theirs.

use std::sync::Arc;

use albert_tasks::albert_model::train::{FlatLayout, FlatParameters};

use crate::error::{Error, Result};

/// Copies the single layer group to `groups` groups with separate weights.
pub(crate) fn with_groups(one: &FlatParameters, groups: usize) -> Result<FlatParameters> {
    let mut config = one.layout().config().clone();
    let found = config.num_hidden_groups;
    if found != 1 || groups > config.num_hidden_layers {
        return Err(Error::Setting {
            name: "layer groups",
            expected: format!(
                "a model with one group, and at most its {} layers",
                config.num_hidden_layers
            ),
            found: format!("{groups} for a model with {found}"),
        });
    }
    config.num_hidden_groups = groups;
    let layout = Arc::new(FlatLayout::new(&config, one.layout().head())?);
    let mut parameters = FlatParameters::random(Arc::clone(&layout), 0);
    for tensor in layout.tensors() {
        let name = in_first_group(&tensor.name);
        let values = one
            .tensor(&name)
            .expect("both models have the same tensors");
        parameters.values_mut()[tensor.range.clone()].copy_from_slice(values);
    }
    Ok(parameters)
}

/// Returns the name of a tensor's counterpart in group 0.
fn in_first_group(name: &str) -> String {
    const GROUPS: &str = ".albert_layer_groups.";
    match name
        .split_once(GROUPS)
        .and_then(|(start, rest)| Some((start, rest.split_once('.')?.1)))
    {
        Some((start, rest)) => format!("{start}{GROUPS}0.{rest}"),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use albert_tasks::albert_model::{AlbertConfig, Head};

    use super::*;

    #[test]
    fn one_group_is_copied_to_others() {
        let config = AlbertConfig {
            num_hidden_layers: 4,
            hidden_size: 8,
            num_attention_heads: 2,
            intermediate_size: 16,
            vocab_size: 20,
            ..AlbertConfig::base_v2()
        };
        let layout = Arc::new(FlatLayout::new(&config, Head::MaskedLm).unwrap());
        let one = FlatParameters::random(layout, 3);
        let two = with_groups(&one, 2).unwrap();
        let name = |group| {
            format!("albert.encoder.albert_layer_groups.{group}.albert_layers.0.ffn.weight")
        };
        assert_eq!(two.tensor(&name(0)), one.tensor(&name(0)));
        assert_eq!(two.tensor(&name(1)), one.tensor(&name(0)));
        assert!(with_groups(&two, 4).is_err());
        assert!(with_groups(&one, 5).is_err());
    }
}

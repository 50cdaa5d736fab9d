//! Learning rates that fall from the head down to the embeddings.

use albert_tasks::albert_model::train::{FlatLayout, FlatTensor, ModelPart};

/// Returns the factor of each tensor's learning rate: 1 for head and pooler, `decay` for the last
/// group of layers, and that of the group above times `decay` for each other one and the embeddings.
///
/// Source: Howard and Ruder 2018, "Universal Language Model Fine-tuning"; google-research/electra,
/// `layerwise_lr_decay`.
pub(super) fn layer_rates(layout: &FlatLayout, decay: f64) -> Vec<f64> {
    let groups = layout.config().num_hidden_groups;
    let rate = |tensor: &FlatTensor| decay.powi(depth(tensor, groups) as i32);
    layout.tensors().iter().map(rate).collect()
}

/// Returns the number of parts between a tensor and the head.
fn depth(tensor: &FlatTensor, groups: usize) -> usize {
    match tensor.part {
        ModelPart::Embeddings => groups + 1,
        ModelPart::Encoder => match group(&tensor.name) {
            Some(group) => groups - group,
            // The projection from the embeddings.
            None => groups + 1,
        },
        _ => 0,
    }
}

/// Returns the group in a tensor's name.
fn group(name: &str) -> Option<usize> {
    let (_, rest) = name.split_once(".albert_layer_groups.")?;
    rest.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use albert_tasks::albert_model::{AlbertConfig, Head};

    #[test]
    fn rates_fall_from_the_head_to_the_embeddings() {
        let config = AlbertConfig {
            vocab_size: 20,
            num_hidden_groups: 2,
            num_hidden_layers: 4,
            ..AlbertConfig::base_v2()
        };
        let layout = FlatLayout::new(&config, Head::SequenceClassification).unwrap();
        let rates = layer_rates(&layout, 0.5);
        let rate = |part: &str| {
            let named = layout.tensors().iter().zip(&rates);
            let mut found = named.filter(|(tensor, _)| tensor.name.contains(part));
            *found.next().unwrap().1
        };
        assert_eq!(rate("classifier"), 1.0);
        assert_eq!(rate("pooler"), 1.0);
        assert_eq!(rate("groups.1."), 0.5);
        assert_eq!(rate("groups.0."), 0.25);
        assert_eq!(rate("mapping_in"), 0.125);
        assert_eq!(rate("word_embeddings"), 0.125);
    }
}

//! Parts that Google's checkpoints of ALBERT leave out: the projection if E = H, and the labels.

use std::sync::Arc;

use super::Checkpoint;
use super::stored::StoredTensor;
use crate::parameters::{CLASSIFIER, Product, bias, layer_prefix, projection, weight};

/// The maximum number of labels, more than any classifier has.
const MOST_LABELS: usize = 1 << 16;

impl Checkpoint {
    /// Adds the identity as projection to a checkpoint of Google's network, which has no projection
    /// if E = H, while Hugging Face's always has one.
    ///
    /// Source: google-research/albert, `modeling.py`, `transformer_model`.
    pub(super) fn imply_projection(&mut self) {
        let (h, projection) = (self.config.hidden_size, projection());
        let query = weight(&format!("{}.{}", layer_prefix(0, 0), Product::Query.name()));
        let (weight, bias) = (weight(&projection), bias(&projection));
        let absent = !self.names.contains_key(&weight) && !self.names.contains_key(&bias);
        // The file must hold a matrix of the same size, so that a configuration alone cannot
        // request a large one.
        let is_possible = self
            .stored(&query)
            .is_some_and(|(_, tensor)| tensor.shape == [h, h]);
        if absent && self.config.has_projection() && self.config.embedding_size == h && is_possible
        {
            let file = self.files.name();
            let implied = Arc::make_mut(&mut self.implied);
            implied.insert(bias, StoredTensor::identity(&file, vec![h]));
            implied.insert(weight, StoredTensor::identity(&file, vec![h, h]));
            let choice =
                format!("identity for `{projection}`, which Google's network lacks if E = H");
            self.choices.push(choice);
        }
    }

    /// Sets the number of labels to the number of rows of the classifier, because Google's
    /// configurations do not name labels.
    pub(super) fn count_labels(&mut self) {
        let Some((stored, tensor)) = self.stored(&weight(CLASSIFIER)) else {
            return;
        };
        let [labels, width] = tensor.shape[..] else {
            return;
        };
        if width == self.config.hidden_size
            && labels != self.config.num_labels()
            && labels <= MOST_LABELS
        {
            let choice = format!(
                "labels: {labels}, the rows of `{stored}`, because Google's configuration does not name them"
            );
            self.config.id2label = (0..labels)
                .map(|label| (label, format!("LABEL_{label}")))
                .collect();
            self.choices.push(choice);
        }
    }
}

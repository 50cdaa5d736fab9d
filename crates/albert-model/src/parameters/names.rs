//! The names of a model's modules and tensors, as in Hugging Face's checkpoints.

/// The encoder module that every head contains, and the first part of its tensors' names.
pub(crate) const ALBERT: &str = "albert";

/// The embedding tables and their norm, in [`ALBERT`].
pub(crate) const EMBEDDINGS: &str = "embeddings";

/// The encoder, in [`ALBERT`].
pub(crate) const ENCODER: &str = "encoder";

/// The projection from E to H, in [`ENCODER`].
pub(crate) const PROJECTION: &str = "embedding_hidden_mapping_in";

/// The groups of layers, in [`ENCODER`], and the layers of a group.
pub(crate) const GROUPS: &str = "albert_layer_groups";
pub(crate) const LAYERS: &str = "albert_layers";

/// The parts of a layer: attention, the norm in it, and the norm after the feed-forward network.
pub(crate) const ATTENTION: &str = "attention";
pub(crate) const ATTENTION_NORM: &str = "LayerNorm";
pub(crate) const LAYER_NORM: &str = "full_layer_layer_norm";
/// The norm in attention by its name in the layer.
pub(crate) const ATTENTION_OUTPUT_NORM: &str = "attention.LayerNorm";

/// The pooler, in [`ALBERT`].
pub(crate) const POOLER: &str = "pooler";

/// The masked-LM head, its first product and the norm after it.
pub(crate) const MASKED_LM: &str = "predictions";
pub(crate) const MASKED_LM_DENSE: &str = "dense";
pub(crate) const MASKED_LM_NORM: &str = "LayerNorm";

/// The sentence-order head.
pub(crate) const SENTENCE_ORDER: &str = "sop_classifier.classifier";

/// The classifier of sequences, tokens or choices.
pub(crate) const CLASSIFIER: &str = "classifier";

/// The head that scores the first and last tokens of answers.
pub(crate) const SPANS: &str = "qa_outputs";

/// The norm of the embeddings, in [`EMBEDDINGS`].
pub(crate) const EMBEDDING_NORM: &str = "LayerNorm";
/// The word embeddings, which the masked-LM decoder is tied to.
pub(crate) const WORD_EMBEDDINGS: &str = "albert.embeddings.word_embeddings.weight";
/// The decoder, in [`MASKED_LM`], and its weight unless it is tied.
pub(crate) const DECODER: &str = "decoder";
pub(crate) const DECODER_WEIGHT: &str = "predictions.decoder.weight";

/// The bias of the masked-LM head, under its own name and under that of the decoder.
pub(crate) const MASKED_LM_BIAS: &str = "predictions.bias";
pub(crate) const DECODER_BIAS: &str = "predictions.decoder.bias";

/// Returns the name of a module in the model, such as `albert.pooler`.
pub(crate) fn in_model(module: &str) -> String {
    format!("{ALBERT}.{module}")
}

/// Returns the name of the projection from E to H.
pub(crate) fn projection() -> String {
    format!("{ALBERT}.{ENCODER}.{PROJECTION}")
}

/// Returns the name of a module's weight.
pub(crate) fn weight(module: &str) -> String {
    format!("{module}.weight")
}

/// Returns the name of a module's bias.
pub(crate) fn bias(module: &str) -> String {
    format!("{module}.bias")
}

/// Returns the name of an embedding table: `word`, `position` or `token_type`.
pub(crate) fn embedding_table(kind: &str) -> String {
    format!("{ALBERT}.{EMBEDDINGS}.{kind}_embeddings.weight")
}

/// Returns the name of the norm of the embeddings.
pub(crate) fn embedding_norm() -> String {
    format!("{ALBERT}.{EMBEDDINGS}.{EMBEDDING_NORM}")
}

/// Returns the name of a module of the masked-LM head.
pub(crate) fn in_masked_lm(module: &str) -> String {
    format!("{MASKED_LM}.{module}")
}

/// Returns the name of a layer: its group, and its place in the group.
pub(crate) fn layer_prefix(group: usize, inner: usize) -> String {
    format!("{ALBERT}.{ENCODER}.{GROUPS}.{group}.{LAYERS}.{inner}")
}

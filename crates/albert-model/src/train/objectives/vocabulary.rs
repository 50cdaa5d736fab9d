//! The masked-LM head: from hidden states to logits over the vocabulary, and back.

use albert_kernels::Epilogue;
use albert_kernels::training::{
    NormGradients, activate, activate_backward, column_sums, layer_norm, layer_norm_backward,
};
use candle_core::Tensor;

use crate::train::candle::{Place, TensorHead};
use crate::train::error::Result;
use crate::train::head_pass::HeadPass;
use crate::train::network::MaskedLmHead;

/// Computes the logits of some rows without the decoder's bias, `(rows, V)`, and goes back from the
/// gradients that `loss` leaves in their place. The logits of one bundle exist at a time.
pub(super) fn vocabulary_pass(
    head: &mut HeadPass<'_>,
    layers: &MaskedLmHead,
    rows: &[usize],
    loss: impl FnOnce(&mut [f32]),
) {
    let step = head.step;
    let (count, e) = (rows.len(), step.shape.e);
    let MaskedLmHead {
        dense,
        norm,
        decoder,
        is_tied,
    } = layers;
    let states = head.gather(rows);
    let mut inner = vec![0.0; count * e];
    step.dense_without_bias(dense, &states, count, &mut inner);
    let bias = &step.parameters[dense.bias.clone()];
    let mut activated = vec![0.0; count * e];
    activate(
        step.instructions,
        step.shape.activation,
        &inner,
        bias,
        &mut activated,
    );
    let (mut normed, mut deviations) = (vec![0.0; count * e], vec![0.0; count]);
    let mut transformed = vec![0.0; count * e];
    layer_norm(
        step.instructions,
        step.norm(norm),
        &activated,
        None,
        &mut normed,
        &mut deviations,
        &mut transformed,
    );
    head.logits.resize(count * decoder.out);
    step.dense_without_bias(decoder, &transformed, count, head.logits);
    loss(head.logits);
    if !step.is_training {
        return;
    }

    column_sums(
        step.instructions,
        head.logits,
        &mut head.gradients[decoder.bias.clone()],
    );
    if !(*is_tied && step.frozen.freezes_embeddings()) {
        head.scratch.pack(&transformed, count, e);
        head.scratch.weight(decoder, head.logits, head.gradients);
    }
    let mut d_inner = transformed;
    step.dense_backward(decoder, head.logits, count, &mut d_inner, Epilogue::Store);
    let ranges = [norm.gamma.clone(), norm.beta.clone()];
    let [gamma, beta] = head
        .gradients
        .get_disjoint_mut(ranges)
        .expect("parameters do not overlap");
    layer_norm_backward(
        step.instructions,
        &step.parameters[norm.gamma.clone()],
        &normed,
        &deviations,
        &mut d_inner,
        NormGradients {
            gamma,
            beta,
            bias: None,
        },
    );
    activate_backward(
        step.instructions,
        step.shape.activation,
        &mut inner,
        &step.parameters[dense.bias.clone()],
        &mut d_inner,
        &mut head.gradients[dense.bias.clone()],
    );
    head.scratch.pack(&states, count, dense.input);
    head.scratch.weight(dense, &d_inner, head.gradients);
    let mut d_states = states;
    step.dense_backward(dense, &d_inner, count, &mut d_states, Epilogue::Store);
    head.scatter(rows, &d_states);
}

/// Returns the logits of some tokens, `(P, V)`.
pub(super) fn vocabulary_logits(
    head: &TensorHead<'_>,
    layers: &MaskedLmHead,
    places: &[Place],
) -> Result<Tensor> {
    let states = head.select(places, None)?;
    let inner = head.activate(&head.dense(&layers.dense, &states)?)?; // (P, E)
    head.dense(&layers.decoder, &head.norm(&layers.norm, &inner)?)
}

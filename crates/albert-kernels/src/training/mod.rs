//! The arithmetic of training on the CPU: what the backward pass and the optimizers need in
//! addition to inference, on plain slices and on one thread.
//!
//! A dense layer `Y = X Wᵀ` has two gradients. `dX = dY W` uses the GEMM of inference, with the
//! weights packed without transposition ([`PackedMatrix::refill`](crate::PackedMatrix::refill));
//! `dW += dYᵀ X` is [`outer_product`]. Attention recomputes its probabilities in the backward pass,
//! so that nothing of size T×T is stored. Dropout is a [hash of counters](DropoutKey), so that the
//! backward pass can recompute the masks.
//!
//! Every function computes on the calling thread and sums in a fixed order: equal input gives equal
//! bits, however the caller divides its work.

mod activation;
mod attention;
mod cross_entropy;
mod dropout;
mod elementwise;
mod layer_norm;
mod newton_schulz;
mod optimizer;
mod outer;
mod panels;
mod split_mix;
mod strided;

pub use activation::{activate, activate_backward};
pub use attention::{AttentionDropout, AttentionScratch, TrainingAttention};
pub use cross_entropy::{CrossEntropy, cross_entropy};
pub use dropout::DropoutKey;
pub use elementwise::{add, add_bias, add_scaled, column_sums, scale, square_sum};
pub use layer_norm::{NormGradients, layer_norm, layer_norm_backward};
pub use newton_schulz::NewtonSchulz;
pub use optimizer::{Adam, adamw, lamb_update};
pub use outer::{OuterScratch, outer_product};
pub use split_mix::{SPLIT_MIX_STEP, split_mix};

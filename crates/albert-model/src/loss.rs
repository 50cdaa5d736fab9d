//! The objectives of training as functions of tensors, differentiable by Candle's autograd on any
//! device.
//!
//! [`train`](crate::train) computes the same objectives on the CPU without autograd; tests compare
//! the two. Every loss is a scalar.

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::log_softmax;

/// Returns the mean cross-entropy of masked tokens.
///
/// # Shapes
/// - `logits`: `(P, V)`, of the masked positions only
/// - `tokens`: `(P)`, u32
///
/// # Errors
/// If the shapes differ.
pub fn masked_lm(logits: &Tensor, tokens: &Tensor) -> Result<Tensor> {
    classification(logits, tokens, None, 0.0)
}

/// Returns the cross-entropy of one label per row, averaged with the weights of the labels.
///
/// ```text
/// loss = Σ [-(1 - ε) w_y ln p_y - ε / C Σ w_c ln p_c] / Σ w_y
/// ```
///
/// # Shapes
/// - `logits`: `(B, C)`
/// - `labels`: `(B)`, u32
/// - `class_weights`: `(C)`
///
/// # Errors
/// If the shapes differ.
///
/// Source: `torch.nn.functional.cross_entropy`.
pub fn classification(
    logits: &Tensor,
    labels: &Tensor,
    class_weights: Option<&Tensor>,
    label_smoothing: f64,
) -> Result<Tensor> {
    let sum = classification_sum(logits, labels, class_weights, label_smoothing)?;
    if logits.dim(0)? == 0 {
        return Ok(sum);
    }
    let weights = match class_weights {
        Some(weights) => weights.to_dtype(logits.dtype())?,
        None => Tensor::ones(logits.dim(1)?, logits.dtype(), logits.device())?,
    };
    sum.div(&weights.index_select(labels, 0)?.sum_all()?)
}

/// Returns the numerator of [`classification`]: the sum over rows, for a mean over several batches.
///
/// # Shapes
/// As [`classification`].
///
/// # Errors
/// If the shapes differ.
pub fn classification_sum(
    logits: &Tensor,
    labels: &Tensor,
    class_weights: Option<&Tensor>,
    label_smoothing: f64,
) -> Result<Tensor> {
    let (_, classes) = logits.dims2()?;
    let log_p = log_softmax(logits, D::Minus1)?;
    let weights = match class_weights {
        Some(weights) => weights.to_dtype(logits.dtype())?,
        None => Tensor::ones(classes, logits.dtype(), logits.device())?,
    };
    let weighted = log_p.broadcast_mul(&weights)?; // (B, C)
    let own = weighted.gather(&labels.unsqueeze(1)?, 1)?.sum_all()?;
    let spread = (weighted.sum_all()? * (label_smoothing / classes as f64))?;
    ((own * (1.0 - label_smoothing))? + spread)?.neg()
}

/// Returns the mean binary cross-entropy of a sigmoid for each label.
///
/// # Shapes
/// - `logits` and `targets`: `(B, C)`, targets from 0 to 1
///
/// # Errors
/// If the shapes differ.
pub fn multi_label(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    binary_cross_entropies(logits, targets)?.mean_all()
}

/// Returns the binary cross-entropy of each label, `max(x, 0) - t x + ln(1 + e^-|x|)`, `(B, C)`.
pub(crate) fn binary_cross_entropies(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let softplus = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    softplus - (logits * targets)?
}

/// Returns the mean squared error.
///
/// # Shapes
/// - `values` and `targets`: the same shape
///
/// # Errors
/// If the shapes differ.
pub fn mean_squared_error(values: &Tensor, targets: &Tensor) -> Result<Tensor> {
    (values - targets)?.sqr()?.mean_all()
}

/// Returns the mean of the cross-entropies of an answer's first and last token.
///
/// # Shapes
/// - `start_logits` and `end_logits`: `(B, T)`, very negative at padding
/// - `starts` and `ends`: `(B)`, u32
///
/// # Errors
/// If the shapes differ.
pub fn spans(
    start_logits: &Tensor,
    end_logits: &Tensor,
    starts: &Tensor,
    ends: &Tensor,
) -> Result<Tensor> {
    let start = classification(start_logits, starts, None, 0.0)?;
    (start + classification(end_logits, ends, None, 0.0)?)? * 0.5
}

/// Returns the cosine of each row of `a` with each row of `b`.
///
/// # Shapes
/// - `a`: `(M, H)`, `b`: `(N, H)`
/// - returns `(M, N)`
///
/// # Errors
/// If the widths differ.
pub fn cosines(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    normalized(a)?.matmul(&normalized(b)?.t()?)
}

/// Returns the cosine of each row of `a` with the same row of `b`, `(B)`.
///
/// # Errors
/// If the shapes differ.
pub fn pairwise_cosines(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    (normalized(a)? * normalized(b)?)?.sum(1)
}

fn normalized(vectors: &Tensor) -> Result<Tensor> {
    vectors.broadcast_div(&vectors.sqr()?.sum_keepdim(1)?.sqrt()?)
}

/// Returns the cross-entropy of the right candidate of each query among all candidates, with
/// `scale` times the cosine as logit: candidate i is the right one for query i.
///
/// # Shapes
/// - `queries`: `(M, H)`
/// - `candidates`: `(N, H)`, N ≥ M; those after the first M are hard negatives
///
/// # Errors
/// If the widths differ.
///
/// Source: sentence-transformers 5, `MultipleNegativesRankingLoss`.
pub fn in_batch_negatives(queries: &Tensor, candidates: &Tensor, scale: f64) -> Result<Tensor> {
    let scores = (cosines(queries, candidates)? * scale)?;
    let own = Tensor::arange(0u32, queries.dim(0)? as u32, queries.device())?;
    classification(&scores, &own, None, 0.0)
}

/// Returns `ln(1 + Σ e^(scale (cosᵢ - cosⱼ)))` over all i and j with score i < score j.
///
/// # Shapes
/// - `a` and `b`: `(B, H)`, the two texts of each pair
/// - `scores`: `(B)`
///
/// # Errors
/// If the shapes differ.
///
/// Source: sentence-transformers 5, `CoSENTLoss`.
pub fn cosent(a: &Tensor, b: &Tensor, scores: &Tensor, scale: f64) -> Result<Tensor> {
    let cosines = (pairwise_cosines(a, b)? * scale)?;
    let differences = cosines
        .unsqueeze(1)?
        .broadcast_sub(&cosines.unsqueeze(0)?)?; // (B, B)
    let scores = scores.to_dtype(DType::F64)?;
    let is_less = scores.unsqueeze(1)?.broadcast_lt(&scores.unsqueeze(0)?)?;
    let ruled_out = differences.ones_like()?.affine(-1e30, 0.0)?;
    let exponents = is_less
        .where_cond(&differences, &ruled_out)?
        .flatten_all()?;
    let zero = Tensor::zeros(1, exponents.dtype(), exponents.device())?;
    Tensor::cat(&[exponents, zero], 0)?.log_sum_exp(0)
}

/// Returns the mean squared error between the cosines of all pairs of rows and those of a teacher.
///
/// # Shapes
/// - `vectors`: `(B, H)`, `teacher`: `(B, B)`
///
/// # Errors
/// If the shapes differ.
pub fn similarities(vectors: &Tensor, teacher: &Tensor) -> Result<Tensor> {
    mean_squared_error(&cosines(vectors, vectors)?, teacher)
}

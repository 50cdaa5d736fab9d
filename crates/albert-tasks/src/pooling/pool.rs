//! The arithmetic of pooling: accumulates the vectors of a text's tokens into one vector.
//!
//! A text that is too long for the model has several passes, which may share tokens. Each
//! occurrence of a token has a weight, and the weights of a token sum to 1, so that every token of
//! the text counts once, however many passes contain it. Each pass is first
//! [reduced](super::Reduction) separately: this keeps the accuracy of sums over thousands of
//! tokens, and memory does not grow with the text.

use super::PoolingMode;

/// A text, or a window of it, in one pass through the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Pass {
    /// The position of each of its tokens in the whole text, and the weight of this occurrence.
    pub(crate) occurrences: Vec<Occurrence>,
    /// The weight of the pass as a whole, for the pooler; the shares of all passes sum to 1.
    pub(crate) share: f32,
    /// T, the tokens of the whole text.
    pub(crate) tokens: usize,
    /// s: tokens at the start of the whole text that are not pooled.
    pub(crate) skipped: usize,
}

/// A token of a text within one pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Occurrence {
    pub(crate) position: usize,
    pub(crate) weight: f32,
}

/// The partial vector of a text, for one mode.
///
/// With the tokens at positions `s ≤ p < T`, their weights `w` and vectors `h`, sums over all
/// occurrences:
///
/// ```text
/// mean           Σ w h / (T − s)              cls     Σ w h of position s
/// mean-sqrt-len  Σ w h / √(T − s)             last    Σ w h of position T − 1
/// weighted-mean  Σ w (p + 1) h / Σ (p + 1)    pooler  Σ share · pooler
/// max            max h
/// ```
///
/// Source: sentence-transformers 6.2, `modules/pooling.py`, for a single pass.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    mode: PoolingMode,
    /// T, the tokens of the whole text.
    tokens: usize,
    /// s: tokens at the start that are not pooled; fewer than T.
    skipped: usize,
    /// `(H)`
    sum: Vec<f32>,
}

impl Pool {
    pub(crate) fn new(
        mode: PoolingMode,
        hidden_size: usize,
        tokens: usize,
        skipped: usize,
    ) -> Self {
        let start = if mode == PoolingMode::Max {
            f32::NEG_INFINITY
        } else {
            0.0
        };
        Self {
            mode,
            tokens,
            skipped,
            sum: vec![start; hidden_size],
        }
    }

    /// Adds the reduced vector of a pass, `(H)`.
    pub(crate) fn add(&mut self, vector: &[f32]) {
        let sums = self.sum.iter_mut().zip(vector);
        match self.mode {
            PoolingMode::Max => sums.for_each(|(max, value)| *max = max.max(*value)),
            _ => sums.for_each(|(sum, value)| *sum += value),
        }
    }

    /// Returns the text's vector, `(H)`.
    pub(crate) fn finish(self) -> Vec<f32> {
        // 1 + 2 + … + n, exact for any text.
        let up_to = |n: usize| n as f64 * (n + 1) as f64 / 2.0;
        let count = (self.tokens - self.skipped) as f32;
        let divisor = match self.mode {
            PoolingMode::Mean => count,
            PoolingMode::MeanSqrtLen => count.sqrt(),
            PoolingMode::WeightedMean => (up_to(self.tokens) - up_to(self.skipped)) as f32,
            _ => return self.sum,
        };
        self.sum.into_iter().map(|value| value / divisor).collect()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::Reduction;
    use super::*;

    /// Three tokens, two dimensions.
    const TOKENS: [f32; 6] = [1.0, -2.0, 3.0, 4.0, 5.0, -6.0];

    fn pool(
        mode: PoolingMode,
        skipped: usize,
        passes: &[(&[f32], f32, &[Occurrence])],
    ) -> Vec<f32> {
        let mut pool = Pool::new(mode, 2, 3, skipped);
        for (states, share, occurrences) in passes {
            let pass = Pass {
                occurrences: occurrences.to_vec(),
                share: *share,
                tokens: 3,
                skipped,
            };
            let pooler = Tensor::from_slice(&states[..2], (1, 2), &Device::Cpu).unwrap();
            let states = Tensor::from_slice(states, (occurrences.len(), 2), &Device::Cpu).unwrap();
            let reduction = Reduction { modes: &[mode] };
            pool.add(&reduction.reduce(&states, Some(&pooler), &[pass]).unwrap()[0]);
        }
        pool.finish()
    }

    fn at(position: usize, weight: f32) -> Occurrence {
        Occurrence { position, weight }
    }

    fn once(mode: PoolingMode, skipped: usize) -> Vec<f32> {
        pool(
            mode,
            skipped,
            &[(&TOKENS, 1.0, &[at(0, 1.0), at(1, 1.0), at(2, 1.0)])],
        )
    }

    #[test]
    fn each_mode_is_its_formula() {
        assert_eq!(once(PoolingMode::Cls, 0), [1.0, -2.0]);
        assert_eq!(once(PoolingMode::Last, 0), [5.0, -6.0]);
        assert_eq!(once(PoolingMode::Max, 0), [5.0, 4.0]);
        assert_eq!(once(PoolingMode::Pooler, 0), [1.0, -2.0]);
        assert_eq!(once(PoolingMode::Mean, 0), [3.0, -4.0 / 3.0]);
        assert_eq!(
            once(PoolingMode::MeanSqrtLen, 0),
            [9.0 / 3f32.sqrt(), -4.0 / 3f32.sqrt()]
        );
        assert_eq!(
            once(PoolingMode::WeightedMean, 0),
            [22.0 / 6.0, -12.0 / 6.0]
        );
    }

    #[test]
    fn a_skipped_prompt_keeps_its_weights() {
        assert_eq!(once(PoolingMode::Cls, 1), [3.0, 4.0]);
        assert_eq!(once(PoolingMode::Mean, 1), [4.0, -1.0]);
        assert_eq!(
            once(PoolingMode::WeightedMean, 1),
            [21.0 / 5.0, -10.0 / 5.0]
        );
    }

    #[test]
    fn a_token_in_two_passes_counts_once() {
        let halves = |mode| {
            // The middle token is in both, with the mean of its two vectors (3, 4).
            let first: &[f32] = &[1.0, -2.0, 2.0, 4.0];
            let second: &[f32] = &[4.0, 4.0, 5.0, -6.0];
            pool(
                mode,
                0,
                &[
                    (first, 0.25, &[at(0, 1.0), at(1, 0.5)]),
                    (second, 0.75, &[at(1, 0.5), at(2, 1.0)]),
                ],
            )
        };
        for mode in [
            PoolingMode::Cls,
            PoolingMode::Last,
            PoolingMode::Max,
            PoolingMode::Mean,
            PoolingMode::MeanSqrtLen,
            PoolingMode::WeightedMean,
        ] {
            assert_eq!(halves(mode), once(mode, 0), "{mode}");
        }
        assert_eq!(
            halves(PoolingMode::Pooler),
            [0.25 * 1.0 + 0.75 * 4.0, 0.25 * -2.0 + 0.75 * 4.0]
        );
    }
}

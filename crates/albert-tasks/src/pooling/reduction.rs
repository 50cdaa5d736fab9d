//! Reduces a batch of passes to one vector per pass and mode.
//!
//! On the CPU a pass is summed token by token, independently of the rest of its batch. On a GPU all
//! passes are padded and reduced in one product, and only the result is copied back.

use albert_model::TokensRead;
use candle_core::{DType, Device, Tensor};

use super::{Occurrence, Pass, PoolingMode};
use crate::engine::batching::to_f32;
use crate::{Error, Result};

/// The sums kept of a pass. With the weights `w` of its tokens, their positions `p` from `s` on and
/// their vectors `h`:
///
/// ```text
/// mean, mean-sqrt-len  Σ w h              cls     Σ w h of position s
/// weighted-mean        Σ w (p + 1) h      last    Σ w h of position T − 1
/// max                  max h              pooler  share · pooler
/// ```
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reduction<'a> {
    pub(crate) modes: &'a [PoolingMode],
}

impl Reduction<'_> {
    /// Returns each pass's vectors, mode after mode, `(M H)`.
    ///
    /// # Shapes
    /// - `states`: `(ΣT, H)`
    /// - `pooler`: `(B, H)`, if a mode needs it
    ///
    /// # Errors
    /// If the computation fails, or a token's vector is not finite.
    pub(crate) fn reduce(
        &self,
        states: &Tensor,
        pooler: Option<&Tensor>,
        passes: &[Pass],
    ) -> Result<Vec<Vec<f32>>> {
        let pooler = match pooler {
            Some(pooler) if self.modes.contains(&PoolingMode::Pooler) => to_f32(pooler)?,
            _ => vec![],
        };
        match states.device() {
            Device::Cpu => self.token_by_token(states, &pooler, passes),
            _ => self.as_product(states, &pooler, passes),
        }
    }

    /// Returns the tokens of a ragged batch of passes whose vectors are added up.
    pub(crate) fn tokens_read(&self, passes: &[Pass]) -> TokensRead {
        let reads_few = |mode: &PoolingMode| {
            matches!(
                mode,
                PoolingMode::Cls | PoolingMode::Last | PoolingMode::Pooler
            )
        };
        if !self.modes.iter().all(reads_few) {
            return TokensRead::All;
        }
        let mut tokens = Vec::new();
        let mut token = 0;
        for pass in passes {
            for at in &pass.occurrences {
                let is_read = |&mode: &PoolingMode| {
                    mode != PoolingMode::Pooler && self.weight(mode, at, pass) != 0.0
                };
                if self.modes.iter().any(is_read) {
                    tokens.push(token);
                }
                token += 1;
            }
        }
        TokensRead::At(tokens)
    }

    fn token_by_token(
        &self,
        states: &Tensor,
        pooler: &[f32],
        passes: &[Pass],
    ) -> Result<Vec<Vec<f32>>> {
        let (_, hidden_size) = states.dims2()?;
        let states = to_f32(states)?;
        finite(&states)?;
        let mut rest = &states[..];
        let of_pass = |(row, pass): (usize, &Pass)| {
            let states;
            (states, rest) = rest.split_at(pass.occurrences.len() * hidden_size);
            let tokens = || {
                pass.occurrences
                    .iter()
                    .zip(states.chunks_exact(hidden_size))
            };
            let mut vectors = Vec::with_capacity(self.modes.len() * hidden_size);
            for &mode in self.modes {
                match mode {
                    PoolingMode::Pooler => {
                        vectors.extend(scaled_row(pooler, row, hidden_size, pass.share))
                    }
                    PoolingMode::Max => {
                        let mut largest = vec![f32::NEG_INFINITY; hidden_size];
                        for (_, vector) in tokens().filter(|(at, _)| at.position >= pass.skipped) {
                            largest
                                .iter_mut()
                                .zip(vector)
                                .for_each(|(max, x)| *max = max.max(*x));
                        }
                        vectors.extend(largest);
                    }
                    _ => {
                        let mut sum = vec![0f32; hidden_size];
                        for (at, vector) in tokens() {
                            match self.weight(mode, at, pass) {
                                0.0 => {}
                                weight => add_to(&mut sum, weight, vector),
                            }
                        }
                        vectors.extend(sum);
                    }
                }
            }
            vectors
        };
        Ok(passes.iter().enumerate().map(of_pass).collect())
    }

    /// Computes weighted sums as `(B, M, T) (B, T, H)`, in f32, on passes padded with zeros.
    fn as_product(
        &self,
        states: &Tensor,
        pooler: &[f32],
        passes: &[Pass],
    ) -> Result<Vec<Vec<f32>>> {
        let states = padded(&states.to_dtype(DType::F32)?, passes)?; // (B, T, H)
        let (batch, longest, hidden_size) = states.dims3()?;
        let summed = self
            .modes
            .iter()
            .filter(|mode| !matches!(mode, PoolingMode::Max | PoolingMode::Pooler));
        let summed: Vec<PoolingMode> = summed.copied().collect();
        // The last row is the sum of all tokens, which is finite only if they are.
        let rows = summed.len() + 1;
        let mut weights = vec![0f32; batch * rows * longest];
        let mut hidden = vec![f32::NEG_INFINITY; batch * longest];
        for ((weights, hidden), pass) in weights
            .chunks_exact_mut(rows * longest)
            .zip(hidden.chunks_exact_mut(longest))
            .zip(passes)
        {
            for (column, at) in pass.occurrences.iter().enumerate() {
                for (row, &mode) in summed.iter().enumerate() {
                    weights[row * longest + column] = self.weight(mode, at, pass);
                }
                weights[summed.len() * longest + column] = 1.0;
                if at.position >= pass.skipped {
                    hidden[column] = 0.0;
                }
            }
        }
        let device = states.device();
        let sums = Tensor::from_vec(weights, (batch, rows, longest), device)?.matmul(&states)?;
        let sums = to_f32(&sums)?;
        finite(&sums)?;
        let largest = if self.modes.contains(&PoolingMode::Max) {
            let hidden = Tensor::from_vec(hidden, (batch, longest, 1), device)?;
            to_f32(&states.broadcast_add(&hidden)?.max(1)?)?
        } else {
            vec![]
        };
        let of_pass = |(row, pass): (usize, &Pass)| {
            let sums = &sums[row * rows * hidden_size..][..rows * hidden_size];
            let mut each = sums.chunks_exact(hidden_size);
            let mut vectors = Vec::with_capacity(self.modes.len() * hidden_size);
            for mode in self.modes {
                match mode {
                    PoolingMode::Pooler => {
                        vectors.extend(scaled_row(pooler, row, hidden_size, pass.share))
                    }
                    PoolingMode::Max => vectors.extend(scaled_row(&largest, row, hidden_size, 1.0)),
                    _ => vectors.extend(each.next().expect("a sum for each mode of sums")),
                }
            }
            vectors
        };
        Ok(passes.iter().enumerate().map(of_pass).collect())
    }

    /// Returns the weight of a token in a mode of sums.
    fn weight(&self, mode: PoolingMode, at: &Occurrence, pass: &Pass) -> f32 {
        let factor = match mode {
            PoolingMode::Cls => f32::from(at.position == pass.skipped),
            PoolingMode::Last => f32::from(at.position + 1 == pass.tokens),
            PoolingMode::WeightedMean => (at.position + 1) as f32,
            _ => 1.0,
        };
        if at.position >= pass.skipped {
            at.weight * factor
        } else {
            0.0
        }
    }
}

/// Pads passes with zeros on the right: `(ΣT, H)` → `(B, T, H)`.
fn padded(states: &Tensor, passes: &[Pass]) -> Result<Tensor> {
    /// An index for which Candle's `index_select` returns zeros, the maximum of its type.
    const PADDING: u32 = u32::MAX;
    let lengths = passes.iter().map(|pass| pass.occurrences.len());
    let longest = lengths.clone().max().unwrap_or(0);
    let (tokens, hidden_size) = states.dims2()?;
    let shape = (passes.len(), longest, hidden_size);
    if tokens == passes.len() * longest {
        return Ok(states.contiguous()?.reshape(shape)?);
    }
    let mut places = Vec::with_capacity(passes.len() * longest);
    let mut next = 0;
    for length in lengths {
        places.extend(next..next + length as u32);
        places.resize(places.len() + longest - length, PADDING);
        next += length as u32;
    }
    let places = Tensor::new(places, states.device())?;
    Ok(states.index_select(&places, 0)?.reshape(shape)?)
}

/// Returns a row of `(B, H)`, times a factor.
fn scaled_row(
    rows: &[f32],
    row: usize,
    hidden_size: usize,
    factor: f32,
) -> impl Iterator<Item = f32> {
    rows[row * hidden_size..][..hidden_size]
        .iter()
        .map(move |x| factor * x)
}

/// `sum += weight · vector`
pub(crate) fn add_to(sum: &mut [f32], weight: f32, vector: &[f32]) {
    sum.iter_mut()
        .zip(vector)
        .for_each(|(sum, value)| *sum += weight * value);
}

/// Refuses values that are not finite.
pub(crate) fn finite(values: &[f32]) -> Result<()> {
    if values.iter().all(|x| x.is_finite()) {
        Ok(())
    } else {
        Err(Error::NotFinite)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// f32 sums of up to 9 terms in another order.
    const ROUNDING: f32 = 1e-6;

    /// Three passes of 9, 4 and 1 tokens.
    fn batch() -> (Tensor, Vec<f32>, Vec<Pass>) {
        let (tokens, hidden_size) = (9 + 4 + 1, 3);
        let states: Vec<f32> = (0..tokens * hidden_size)
            .map(|i| ((i * 37 % 101) as f32 / 50.0) - 1.0)
            .collect();
        let pass = |(count, first, tokens): (usize, usize, usize)| {
            let at = |i: usize| Occurrence {
                position: first + i,
                weight: if first + i == 8 { 0.5 } else { 1.0 },
            };
            Pass {
                occurrences: (0..count).map(at).collect(),
                share: 0.5,
                tokens,
                skipped: 0,
            }
        };
        let passes = [(9, 0, 12), (4, 8, 12), (1, 0, 1)].map(pass).to_vec();
        let pooler = (0..9).map(|i| i as f32).collect();
        (
            Tensor::from_vec(states, (tokens, hidden_size), &Device::Cpu).unwrap(),
            pooler,
            passes,
        )
    }

    #[test]
    fn one_product_is_what_adding_up_token_by_token_is() {
        let (states, pooler, mut passes) = batch();
        let modes = PoolingMode::ALL.map(|(mode, _)| mode);
        let two = states.narrow(0, 0, 9 + 4).unwrap();
        let reduction = Reduction { modes: &modes };
        for skipped in [[0, 0], [2, 2], [0, 9]] {
            passes
                .iter_mut()
                .zip(skipped)
                .for_each(|(pass, skipped)| pass.skipped = skipped);
            let expected = reduction
                .token_by_token(&two, &pooler, &passes[..2])
                .unwrap();
            let found = reduction.as_product(&two, &pooler, &passes[..2]).unwrap();
            assert_eq!(expected.len(), found.len());
            for (expected, found) in expected.iter().flatten().zip(found.iter().flatten()) {
                assert!((expected - found).abs() <= ROUNDING, "{expected} {found}");
            }
        }
        let reduction = Reduction { modes: &modes[..1] };
        assert_eq!(
            reduction.token_by_token(&states, &[], &passes).unwrap(),
            reduction.as_product(&states, &[], &passes).unwrap()
        );
    }

    #[test]
    fn vectors_that_are_not_read_change_nothing() {
        let (states, pooler, mut passes) = batch();
        let few = [PoolingMode::Cls, PoolingMode::Last, PoolingMode::Pooler];
        for skipped in [0, 2] {
            passes.iter_mut().for_each(|pass| pass.skipped = skipped);
            let reduction = Reduction { modes: &few };
            let TokensRead::At(read) = reduction.tokens_read(&passes) else {
                panic!("these modes read few tokens");
            };
            let is_read = |token: u32| f32::from(read.contains(&token));
            let kept = Tensor::from_iter((0..14).map(is_read), &Device::Cpu).unwrap();
            let kept = states
                .broadcast_mul(&kept.reshape((14, 1)).unwrap())
                .unwrap();
            assert_eq!(
                reduction
                    .reduce(&states, Some(&pooler_of(&pooler)), &passes)
                    .unwrap(),
                reduction
                    .reduce(&kept, Some(&pooler_of(&pooler)), &passes)
                    .unwrap()
            );
        }
        let mean = Reduction {
            modes: &[PoolingMode::Cls, PoolingMode::Mean],
        };
        assert_eq!(mean.tokens_read(&passes), TokensRead::All);
    }

    /// `(B, H)`
    fn pooler_of(values: &[f32]) -> Tensor {
        Tensor::from_slice(values, (3, 3), &Device::Cpu).unwrap()
    }

    #[test]
    fn passes_are_padded_with_zeros_on_the_right() {
        let (states, _, passes) = batch();
        let padded = padded(&states, &passes).unwrap();
        let rows: Vec<Vec<Vec<f32>>> = padded.to_vec3().unwrap();
        let tokens: Vec<Vec<f32>> = states.to_vec2().unwrap();
        assert_eq!(rows[0], tokens[..9]);
        assert_eq!(rows[1][..4], tokens[9..13]);
        assert_eq!(rows[2][..1], tokens[13..]);
        let padding = [&rows[1][4..], &rows[2][1..]].concat();
        assert!(padding.iter().all(|row| row == &[0.0; 3]));
    }

    #[test]
    fn a_token_that_is_not_finite_is_an_error_in_every_mode_and_way() {
        let (states, pooler, passes) = batch();
        for bad in [f32::NAN, f32::INFINITY] {
            let mut values = states.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            values[9 * 3 + 4] = bad;
            let states = Tensor::from_vec(values, states.shape(), &Device::Cpu).unwrap();
            for (mode, _) in PoolingMode::ALL {
                let reduction = Reduction { modes: &[mode] };
                let errors = [
                    reduction
                        .token_by_token(&states, &pooler, &passes)
                        .unwrap_err(),
                    reduction.as_product(&states, &pooler, &passes).unwrap_err(),
                ];
                assert!(
                    errors.iter().all(|error| matches!(error, Error::NotFinite)),
                    "{mode}"
                );
            }
        }
    }
}

//! Losses of vectors, with the gradient of each vector.

use crate::train::error::Result;
use crate::train::objective::{ObjectiveLoss, Scale, misfit};

/// A loss over one vector for each sequence of a batch. Pairs and triplets are sequences one after
/// another.
///
/// Source: sentence-transformers 5, `losses`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VectorLoss {
    /// `CosineSimilarityLoss`: the mean squared error of each pair's cosine and its score.
    Cosine {
        /// One for each pair.
        scores: Vec<f32>,
    },
    /// `MultipleNegativesRankingLoss`: the cross-entropy of each first text's second one among the
    /// second texts of all pairs, by cosine times `scale`.
    InBatchNegatives {
        /// 20 in sentence-transformers.
        scale: f32,
    },
    /// `MultipleNegativesRankingLoss` of triplets: the third texts of all triplets are further
    /// candidates.
    Triplets {
        /// 20 in sentence-transformers.
        scale: f32,
    },
    /// `CoSENTLoss`: `ln(1 + Σ e^(scale (cos_i - cos_j)))` over all pairs i, j with score i < j.
    CoSent {
        /// One for each pair.
        scores: Vec<f32>,
        /// 20 in sentence-transformers.
        scale: f32,
    },
    /// Mean squared error with a teacher's vectors.
    Targets {
        /// `(B, H)`
        vectors: Vec<f32>,
    },
    /// `1 - cos` with a teacher's vectors, the mean over sequences.
    CosineTargets {
        /// `(B, H)`
        vectors: Vec<f32>,
    },
    /// Mean squared error of the cosines of all pairs of sequences with a teacher's.
    Similarities {
        /// `(B, B)`
        teacher: Vec<f32>,
    },
}

/// Vectors of length 1, and how gradients go through that.
struct Normalized {
    h: usize,
    /// `(B, H)`
    units: Vec<f64>,
    lengths: Vec<f64>,
    /// Of the unit vectors, `(B, H)`
    gradients: Vec<f64>,
}

impl Normalized {
    fn new(vectors: &[f32], h: usize) -> Self {
        /// As in `torch.nn.functional.normalize`.
        const SHORTEST: f64 = 1e-12;
        let lengths: Vec<f64> = vectors
            .chunks_exact(h)
            .map(|vector| {
                let square: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
                square.sqrt().max(SHORTEST)
            })
            .collect();
        let rows = vectors.chunks_exact(h).zip(&lengths);
        let units = rows.flat_map(|(row, length)| row.iter().map(move |x| f64::from(*x) / length));
        Self {
            h,
            units: units.collect(),
            gradients: vec![0.0; vectors.len()],
            lengths,
        }
    }

    fn unit(&self, index: usize) -> &[f64] {
        &self.units[index * self.h..][..self.h]
    }

    fn cosine(&self, a: usize, b: usize) -> f64 {
        self.unit(a)
            .iter()
            .zip(self.unit(b))
            .map(|(a, b)| a * b)
            .sum()
    }

    /// Adds the gradient of the cosine of a and b.
    fn pull(&mut self, a: usize, b: usize, gradient: f64) {
        if gradient == 0.0 {
            return;
        }
        let h = self.h;
        for i in 0..h {
            self.gradients[a * h + i] += gradient * self.units[b * h + i];
            self.gradients[b * h + i] += gradient * self.units[a * h + i];
        }
    }

    /// Returns the gradients of the vectors: `(g - u (g · u)) / ‖v‖`.
    fn finish(self) -> Vec<f32> {
        let mut gradients = Vec::with_capacity(self.units.len());
        for (index, length) in self.lengths.iter().enumerate() {
            let unit = self.unit(index);
            let gradient = &self.gradients[index * self.h..][..self.h];
            let along: f64 = unit.iter().zip(gradient).map(|(u, g)| u * g).sum();
            gradients.extend(
                unit.iter()
                    .zip(gradient)
                    .map(|(u, g)| ((g - u * along) / length) as f32),
            );
        }
        gradients
    }
}

impl VectorLoss {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Cosine { .. } => "cosine",
            Self::InBatchNegatives { .. } => "in_batch_negatives",
            Self::Triplets { .. } => "triplets",
            Self::CoSent { .. } => "cosent",
            Self::Targets { .. } | Self::CosineTargets { .. } => "vectors",
            Self::Similarities { .. } => "similarities",
        }
    }

    pub(super) fn check(&self, sequences: usize, h: usize) -> Result<()> {
        let (expected, found) = match self {
            Self::Cosine { scores } | Self::CoSent { scores, .. } => (2 * scores.len(), sequences),
            Self::InBatchNegatives { .. } => (sequences.next_multiple_of(2), sequences),
            Self::Triplets { .. } => (sequences.next_multiple_of(3), sequences),
            Self::Targets { vectors } | Self::CosineTargets { vectors } => {
                (sequences * h, vectors.len())
            }
            Self::Similarities { teacher } => (sequences * sequences, teacher.len()),
        };
        if expected == found {
            return Ok(());
        }
        let what = match self {
            Self::Targets { .. } | Self::CosineTargets { .. } | Self::Similarities { .. } => {
                "values"
            }
            _ => "sequences",
        };
        Err(misfit(
            self.name(),
            format!("{expected} {what}"),
            found.to_string(),
        ))
    }

    /// Returns the loss of all vectors, `(B, H)`, and the gradient of each.
    pub(super) fn compare(
        &self,
        vectors: &[f32],
        h: usize,
        scale: Scale,
    ) -> (ObjectiveLoss, Vec<f32>) {
        let count = vectors.len() / h;
        let mut total = ObjectiveLoss::default();
        let mut normalized = Normalized::new(vectors, h);
        match self {
            Self::Cosine { scores } => {
                let factor = f64::from(scale.factor(scores.len() as f64));
                for (pair, score) in scores.iter().enumerate() {
                    let difference = normalized.cosine(2 * pair, 2 * pair + 1) - f64::from(*score);
                    total.loss += factor * difference * difference;
                    total.items += 1;
                    normalized.pull(2 * pair, 2 * pair + 1, 2.0 * factor * difference);
                }
            }
            Self::InBatchNegatives { scale: sharpness } => {
                let factor = scale.factor((count / 2) as f64);
                let candidates: Vec<usize> = (0..count / 2).map(|pair| 2 * pair + 1).collect();
                rank(
                    &mut normalized,
                    2,
                    &candidates,
                    *sharpness,
                    factor,
                    &mut total,
                );
            }
            Self::Triplets { scale: sharpness } => {
                let triplets = count / 3;
                let factor = scale.factor(triplets as f64);
                let positives = (0..triplets).map(|triplet| 3 * triplet + 1);
                let negatives = (0..triplets).map(|triplet| 3 * triplet + 2);
                let candidates: Vec<usize> = positives.chain(negatives).collect();
                rank(
                    &mut normalized,
                    3,
                    &candidates,
                    *sharpness,
                    factor,
                    &mut total,
                );
            }
            Self::CoSent {
                scores,
                scale: sharpness,
            } => {
                let factor = f64::from(scale.factor(1.0));
                cosent(
                    &mut normalized,
                    scores,
                    f64::from(*sharpness),
                    factor,
                    &mut total,
                );
            }
            Self::Targets { vectors: targets } => {
                let factor = f64::from(scale.factor(targets.len() as f64));
                let gradients = vectors.iter().zip(targets).map(|(x, target)| {
                    let difference = f64::from(*x) - f64::from(*target);
                    total.loss += factor * difference * difference;
                    (2.0 * factor * difference) as f32
                });
                let gradients = gradients.collect();
                total.items = count;
                return (total, gradients);
            }
            Self::CosineTargets { vectors: targets } => {
                let factor = f64::from(scale.factor(count as f64));
                let targets = Normalized::new(targets, h);
                for index in 0..count {
                    let cosine: f64 = normalized
                        .unit(index)
                        .iter()
                        .zip(targets.unit(index))
                        .map(|(a, b)| a * b)
                        .sum();
                    total.loss += factor * (1.0 - cosine);
                    for (gradient, target) in normalized.gradients[index * h..][..h]
                        .iter_mut()
                        .zip(targets.unit(index))
                    {
                        *gradient -= factor * target;
                    }
                }
                total.items = count;
            }
            Self::Similarities { teacher } => {
                let factor = f64::from(scale.factor(teacher.len() as f64));
                for a in 0..count {
                    for b in 0..count {
                        let target = f64::from(teacher[a * count + b]);
                        let difference = normalized.cosine(a, b) - target;
                        total.loss += factor * difference * difference;
                        normalized.pull(a, b, 2.0 * factor * difference);
                    }
                }
                total.items = count;
            }
        }
        (total, normalized.finish())
    }
}

/// Cross-entropy over candidates: of each `stride` sequences the first is a query, and the
/// candidate of its own index is the right one.
fn rank(
    vectors: &mut Normalized,
    stride: usize,
    candidates: &[usize],
    sharpness: f32,
    factor: f32,
    total: &mut ObjectiveLoss,
) {
    let (sharpness, factor) = (f64::from(sharpness), f64::from(factor));
    let queries = vectors.lengths.len() / stride;
    for query in 0..queries {
        let a = query * stride;
        let scores: Vec<f64> = candidates
            .iter()
            .map(|b| sharpness * vectors.cosine(a, *b))
            .collect();
        let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
        let loss = sum.ln() + largest - scores[query];
        let preferred = scores
            .iter()
            .filter(|score| **score > scores[query])
            .count();
        total.count(factor * loss, preferred);
        for (candidate, b) in candidates.iter().enumerate() {
            let p = (scores[candidate] - largest).exp() / sum;
            let gradient = p - f64::from(u8::from(candidate == query));
            vectors.pull(a, *b, factor * sharpness * gradient);
        }
    }
}

fn cosent(
    vectors: &mut Normalized,
    scores: &[f32],
    sharpness: f64,
    factor: f64,
    total: &mut ObjectiveLoss,
) {
    let cosines: Vec<f64> = (0..scores.len())
        .map(|pair| sharpness * vectors.cosine(2 * pair, 2 * pair + 1))
        .collect();
    let mut exponents = Vec::new();
    for (i, low) in scores.iter().enumerate() {
        for (j, high) in scores.iter().enumerate() {
            if low < high {
                exponents.push((i, j, cosines[i] - cosines[j]));
            }
        }
    }
    let largest = exponents
        .iter()
        .map(|(.., exponent)| *exponent)
        .fold(0.0, f64::max);
    let sum = (-largest).exp()
        + exponents
            .iter()
            .map(|(.., exponent)| (exponent - largest).exp())
            .sum::<f64>();
    total.loss += factor * (sum.ln() + largest);
    total.items += scores.len();
    let mut gradients = vec![0.0; scores.len()];
    for (i, j, exponent) in exponents {
        let p = (exponent - largest).exp() / sum;
        gradients[i] += p;
        gradients[j] -= p;
    }
    for (pair, gradient) in gradients.into_iter().enumerate() {
        vectors.pull(2 * pair, 2 * pair + 1, factor * sharpness * gradient);
    }
}

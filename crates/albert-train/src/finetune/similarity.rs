//! Sentence embeddings from scored pairs, pairs or triplets.

use albert_data::{Cell, Format, Kind};
use albert_tasks::Tokenizer;
use albert_tasks::albert_model::train::{
    FlatLayout, Objective, Pooling, SentenceVectors, TrainingBatch, VectorLoss,
};
use rayon::prelude::*;
use serde_json::json;

use super::examples::{Assessment, Examples};
use super::files::{DataFiles, Role, read};
use super::options::ExampleOptions;
use super::regression::number;
use super::sequences::Sequences;
use crate::error::Result;

/// The sharpness of the softmax over cosines.
///
/// Source: sentence-transformers 5, `MultipleNegativesRankingLoss`.
const SCALE: f32 = 20.0;

/// The relation of the texts of a row.
#[derive(Debug, Clone, PartialEq)]
enum Relation {
    /// Two texts and how similar they are, scaled to [0, 1].
    Scored(Vec<f32>),
    /// Two texts that belong together.
    Pairs,
    /// A text, one that is similar and one that is not.
    Triplets,
}

/// Texts that are compared with each other.
#[derive(Debug)]
pub(super) struct SimilarityExamples {
    kind: Relation,
    pooling: Pooling,
    sequences: Sequences,
    /// The scores that became 0 and 1.
    score_range: (f32, f32),
}

impl SimilarityExamples {
    /// Reads rows of the fields `first` and `second`, and `third` or `score` if they have it.
    ///
    /// # Errors
    /// If a file cannot be read, or rows differ in what they hold.
    pub(super) fn read(
        data: &DataFiles,
        tokenizer: &Tokenizer,
        options: &ExampleOptions,
        pooling: Pooling,
    ) -> Result<Self> {
        let mut fields = options.text_fields(&[&["first"], &["second"]]);
        let is_of_triplets = fields.len() == 3;
        if options.fields.is_none() {
            fields.push(super::texts::fields(&["third"]));
        }
        let mut roles: Vec<Role> = fields
            .into_iter()
            .map(|names| Role::new(names, Kind::Text))
            .collect();
        let third = roles.get_mut(2).map(|third| {
            third.is_required = is_of_triplets;
            third.clone()
        });
        roles.truncate(2);
        // The third value of a line is a score, unless the fields name a third text.
        let score = (!is_of_triplets).then_some(roles.len());
        if score.is_some() {
            roles.push(Role::optional(options.label_fields(&["score"]), Kind::Any));
        }
        let third_role = third.is_some().then_some(roles.len());
        roles.extend(third);
        let mut rows = read(data, Format::Lines, options.columns(), &roles)?;
        let mut texts = Vec::new();
        let mut scores = Vec::new();
        let mut expected = None;
        let known = options.known_scores();
        for row in &mut rows {
            let (first, second) = (row.text(0)?, row.text(1)?);
            let third = match third_role.map(|index| row.take(index)) {
                Some(Cell::Text(text)) => Some(text),
                _ => None,
            };
            let score = score.map_or(Cell::Null, |index| row.take(index));
            let found = match (&third, score) {
                (Some(_), _) => "three texts",
                (None, Cell::Null) => "two texts without a score",
                (None, cell) => {
                    let score = number(row, &cell)?;
                    if let Some((least, most)) = known
                        && !(least..=most).contains(&score)
                    {
                        return Err(row.error(format!(
                            "expected a score from {least} to {most}, found {score}"
                        )));
                    }
                    scores.push(score);
                    "two texts with a score"
                }
            };
            let expected = *expected.get_or_insert(found);
            if found != expected {
                return Err(row.error(format!(
                    "expected {expected}, as in the rows before it, found {found}"
                )));
            }
            texts.extend([Some(first), Some(second), third].into_iter().flatten());
        }
        let score_range = known
            .or(options.training_scores)
            .unwrap_or_else(|| range(&scores));
        let kind = match expected {
            Some("three texts") => Relation::Triplets,
            Some("two texts with a score") => Relation::Scored(scaled(scores, score_range)),
            _ => Relation::Pairs,
        };
        let encodings: albert_tasks::Result<Vec<_>> = texts
            .par_iter()
            .map(|text| tokenizer.encode(text, None, Some(options.length())))
            .collect();
        Ok(Self {
            kind,
            pooling,
            sequences: Sequences::from_encodings(&encodings?),
            score_range,
        })
    }

    fn stride(&self) -> usize {
        match self.kind {
            Relation::Triplets => 3,
            _ => 2,
        }
    }
}

/// Returns 0 and 1 if all scores lie between them, else the lowest and the highest score.
fn range(scores: &[f32]) -> (f32, f32) {
    let least = scores.iter().copied().fold(f32::INFINITY, f32::min);
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if least >= 0.0 && most <= 1.0 {
        return (0.0, 1.0);
    }
    (least, most)
}

/// Scales scores so that the bounds of a range become 0 and 1.
fn scaled(scores: Vec<f32>, (least, most): (f32, f32)) -> Vec<f32> {
    let width = if most > least { most - least } else { 1.0 };
    let scores = scores.into_iter();
    scores.map(|score| (score - least) / width).collect()
}

impl Examples for SimilarityExamples {
    fn len(&self) -> usize {
        self.sequences.len() / self.stride()
    }

    fn is_divisible(&self) -> bool {
        matches!(self.kind, Relation::Scored(_))
    }

    fn score_range(&self) -> Option<(f32, f32)> {
        matches!(self.kind, Relation::Scored(_)).then_some(self.score_range)
    }

    fn metric(&self) -> Option<&'static str> {
        Some(match self.kind {
            Relation::Scored(_) => "spearman",
            Relation::Pairs => "loss",
            Relation::Triplets => "accuracy",
        })
    }

    fn batch(
        &self,
        layout: &FlatLayout,
        examples: &[usize],
        divisor: f64,
    ) -> Result<(TrainingBatch, Box<dyn Objective>)> {
        let stride = self.stride();
        let sequences = examples
            .iter()
            .flat_map(|index| index * stride..(index + 1) * stride);
        let batch = self.sequences.batch(&sequences.collect::<Vec<_>>());
        let loss = match &self.kind {
            Relation::Scored(scores) => VectorLoss::Cosine {
                scores: examples.iter().map(|index| scores[*index]).collect(),
            },
            Relation::Pairs => VectorLoss::InBatchNegatives { scale: SCALE },
            Relation::Triplets => VectorLoss::Triplets { scale: SCALE },
        };
        let objective = SentenceVectors::new(layout, self.pooling, loss)?.with_divisor(divisor);
        Ok((batch, Box::new(objective)))
    }

    fn assess(&self, outputs: &[Vec<f32>]) -> Assessment {
        let groups = outputs.chunks_exact(self.stride());
        match &self.kind {
            Relation::Scored(scores) => {
                let cosines: Vec<f64> = groups.map(|pair| cosine(&pair[0], &pair[1])).collect();
                Assessment::of_scores(scores, &cosines)
            }
            Relation::Pairs => Assessment {
                predictions: groups
                    .enumerate()
                    .map(|(index, pair)| {
                        json!({"index": index, "prediction": cosine(&pair[0], &pair[1])})
                    })
                    .collect(),
                ..Assessment::default()
            },
            Relation::Triplets => {
                let pairs = groups.map(|triplet| {
                    let [near, far] = [1, 2].map(|other| cosine(&triplet[0], &triplet[other]));
                    (near, far)
                });
                let pairs: Vec<(f64, f64)> = pairs.collect();
                let correct = pairs.iter().filter(|(near, far)| near > far).count();
                let predictions = pairs.iter().enumerate();
                let predictions = predictions.map(|(index, (near, far))| {
                    json!({"index": index, "prediction": [near, far]})
                });
                Assessment {
                    predictions: predictions.collect(),
                    ..Assessment::new([("accuracy", correct as f64 / pairs.len().max(1) as f64)])
                }
            }
        }
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
        products.sum()
    };
    let norm = (dot(a, a) * dot(b, b)).sqrt();
    if norm == 0.0 { 0.0 } else { dot(a, b) / norm }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_scaled_by_their_range_unless_they_lie_between_0_and_1() {
        let scaled_by_range = |scores: &[f32]| scaled(scores.to_vec(), range(scores));
        assert_eq!(scaled_by_range(&[0.0, 5.0, 2.5]), [0.0, 1.0, 0.5]);
        assert_eq!(scaled_by_range(&[0.2, 0.9]), [0.2, 0.9]);
        assert_eq!(scaled_by_range(&[3.0, 3.0]), [0.0, 0.0]);
        assert_eq!(scaled(vec![1.0, 4.0], (0.0, 5.0)), [0.2, 0.8]);
    }
}

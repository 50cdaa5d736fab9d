//! Ranks the candidates of masks by probability, over the vocabulary or over targets.

use albert_model::TokensRead;
use candle_core::Tensor;
use rayon::prelude::*;

use super::MaskFiller;
use crate::engine::batching::{self, to_f32};
use crate::probability::softmax;
use crate::tokenizer::TokenIds;
use crate::{Error, Result};

/// The number of logits in one chunk: 16 MB.
const CHUNK_LOGITS: usize = 1 << 22;

/// Pieces with their probability at a mask.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scored {
    pub(super) ids: Vec<u32>,
    pub(super) score: f32,
}

/// The masks of one text to rank together.
pub(super) struct Query<'a> {
    pub(super) tokens: &'a TokenIds,
    pub(super) positions: Vec<usize>,
    /// The pieces of each target; `None` is the whole vocabulary.
    pub(super) targets: Option<&'a [Vec<u32>]>,
}

/// The candidates of each mask of a query, best first.
type Ranked = Vec<Vec<Scored>>;

impl MaskFiller {
    /// Ranks the candidates of each query. A failed batch is computed again query by query, so that
    /// each error is assigned to its text.
    pub(super) fn rank(&self, queries: &[Query<'_>], top_k: usize) -> Vec<Result<Ranked>> {
        let lengths: Vec<usize> = queries.iter().map(|query| query.tokens.ids.len()).collect();
        let mut results: Vec<(usize, Result<Ranked>)> = Vec::with_capacity(queries.len());
        for batch in self.pipeline.runner.plan(&lengths) {
            let rows: Vec<&Query<'_>> = batch.iter().map(|&index| &queries[index]).collect();
            match self.rank_batch(&rows, top_k) {
                Ok(ranked) => results.extend(batch.into_iter().zip(ranked.into_iter().map(Ok))),
                Err(error) if batch.len() == 1 => results.push((batch[0], Err(error))),
                Err(_) => results.extend(batch.into_iter().map(|index| {
                    let alone = self.rank_batch(&[&queries[index]], top_k);
                    (
                        index,
                        alone.map(|ranked| ranked.into_iter().flatten().collect()),
                    )
                })),
            }
        }
        results.sort_by_key(|(index, _)| *index);
        results.into_iter().map(|(_, ranked)| ranked).collect()
    }

    fn rank_batch(&self, queries: &[&Query<'_>], top_k: usize) -> Result<Vec<Ranked>> {
        let rows: Vec<(&TokenIds, &[usize])> = queries
            .iter()
            .map(|query| (query.tokens, query.positions.as_slice()))
            .collect();
        let targets_of: Vec<Option<&[Vec<u32>]>> = queries
            .iter()
            .flat_map(|query| query.positions.iter().map(|_| query.targets))
            .collect();
        let candidates = self.at_each_position(&rows, |mask, logits| {
            softmax(logits);
            let distribution = &*logits;
            match targets_of[mask] {
                None => best_of(distribution, top_k),
                Some(targets) => {
                    let single = targets.iter().filter(|target| target.len() == 1);
                    single
                        .map(|ids| Scored {
                            score: distribution[ids[0] as usize],
                            ids: ids.clone(),
                        })
                        .collect()
                }
            }
        })?;
        let mut candidates = candidates.into_iter();
        let mut ranked = Vec::with_capacity(queries.len());
        for query in queries {
            let mut masks: Ranked = candidates.by_ref().take(query.positions.len()).collect();
            if let Some(targets) = query.targets {
                self.add_long_targets(query, targets, &mut masks)?;
                for candidates in &mut masks {
                    candidates.sort_by(|a, b| {
                        b.score.total_cmp(&a.score).then_with(|| a.ids.cmp(&b.ids))
                    });
                    candidates.truncate(top_k);
                }
            }
            ranked.push(masks);
        }
        Ok(ranked)
    }

    /// Scores targets of several pieces at each mask: as many masks replace the mask and are filled
    /// from left to right, and the probabilities are multiplied.
    fn add_long_targets(
        &self,
        query: &Query<'_>,
        targets: &[Vec<u32>],
        masks: &mut Ranked,
    ) -> Result<()> {
        struct Attempt {
            mask: usize,
            position: usize,
            ids: Vec<u32>,
            tokens: TokenIds,
            score: f32,
        }
        let limit = self.max_length();
        let mut attempts = Vec::new();
        for ids in targets.iter().filter(|ids| ids.len() > 1) {
            let tokens = query.tokens.ids.len() + ids.len() - 1;
            if tokens > limit {
                let target = self.tokenizer().decode(ids)?;
                return Err(Error::TargetTooLong {
                    target,
                    tokens,
                    max_length: limit,
                });
            }
            for (mask, &position) in query.positions.iter().enumerate() {
                let mut tokens = query.tokens.clone();
                tokens.replace(position, &vec![self.mask_id; ids.len()]);
                attempts.push(Attempt {
                    mask,
                    position,
                    ids: ids.clone(),
                    tokens,
                    score: 1.0,
                });
            }
        }
        let longest = attempts
            .iter()
            .map(|attempt| attempt.ids.len())
            .max()
            .unwrap_or(0);
        for step in 0..longest {
            let mut open: Vec<&mut Attempt> = attempts
                .iter_mut()
                .filter(|attempt| attempt.ids.len() > step)
                .collect();
            let positions: Vec<[usize; 1]> = open
                .iter()
                .map(|attempt| [attempt.position + step])
                .collect();
            let rows: Vec<(&TokenIds, &[usize])> = open
                .iter()
                .zip(&positions)
                .map(|(attempt, at)| (&attempt.tokens, at.as_slice()))
                .collect();
            let wanted: Vec<usize> = open
                .iter()
                .map(|attempt| attempt.ids[step] as usize)
                .collect();
            let scores = self.at_each_position(&rows, |row, logits| {
                softmax(logits);
                logits[wanted[row]]
            })?;
            for (attempt, score) in open.iter_mut().zip(scores) {
                attempt.score *= score;
                attempt
                    .tokens
                    .replace(attempt.position + step, &[attempt.ids[step]]);
            }
        }
        for attempt in attempts {
            masks[attempt.mask].push(Scored {
                ids: attempt.ids,
                score: attempt.score,
            });
        }
        Ok(())
    }

    /// Calls `read` with the index of each position, row after row, and its logits over the
    /// vocabulary, and returns the results in that order.
    ///
    /// The decoder runs on a bounded number of positions at a time, because a text of only masks
    /// would need logits for every token.
    pub(super) fn at_each_position<T: Send>(
        &self,
        rows: &[(&TokenIds, &[usize])],
        read: impl Fn(usize, &mut [f32]) -> T + Sync,
    ) -> Result<Vec<T>> {
        let firsts: Vec<usize> = rows
            .iter()
            .scan(0, |next, (_, positions)| {
                Some(std::mem::replace(next, *next + positions.len()))
            })
            .collect();
        let lengths: Vec<usize> = rows.iter().map(|(tokens, _)| tokens.ids.len()).collect();
        let forward = |batch: &[usize]| {
            let device = self.pipeline.runner.device();
            let tokens: Vec<&TokenIds> = batch.iter().map(|&row| rows[row].0).collect();
            let mut positions = Vec::new();
            let mut start = 0;
            for &row in batch {
                let (tokens, positions_of_row) = rows[row];
                // A batch has far fewer than 2³² tokens.
                let at = |position: &usize| (start + position) as u32;
                positions.extend(positions_of_row.iter().map(at));
                start += tokens.ids.len();
            }
            let read = TokensRead::At(positions.clone());
            let input = batching::model_input(&tokens, device)?.with_tokens_read(read);
            let hidden_states = self
                .pipeline
                .model
                .albert()
                .forward(&input)?
                .last_hidden_state;
            let positions = Tensor::new(positions, device)?;
            Ok(hidden_states.index_select(&positions, 0)?) // (ΣT, H) → (P, H)
        };
        let mut chosen: Vec<(Vec<usize>, Tensor)> = Vec::new();
        self.pipeline
            .runner
            .run(&lengths, forward, |batch, hidden_states| {
                let positions = batch
                    .iter()
                    .flat_map(|&row| firsts[row]..firsts[row] + rows[row].1.len());
                chosen.push((positions.collect(), hidden_states));
                Ok(())
            })?;

        let vocab_size = self.config().vocab_size;
        let at_once = (CHUNK_LOGITS / vocab_size).max(1);
        let mut results = Vec::new();
        for (positions, hidden_states) in chosen {
            for (chunk, positions) in positions.chunks(at_once).enumerate() {
                let decode = || {
                    let of_chunk = hidden_states.narrow(0, chunk * at_once, positions.len())?;
                    to_f32(&self.pipeline.model.decode(&of_chunk)?) // (P, V)
                };
                let mut logits = self.pipeline.runner.on_device(decode)?;
                if !logits.iter().all(|logit| logit.is_finite()) {
                    return Err(Error::NotFinite);
                }
                let logits = positions
                    .par_iter()
                    .zip(logits.par_chunks_exact_mut(vocab_size));
                results.par_extend(
                    logits.map(|(&position, logits)| (position, read(position, logits))),
                );
            }
        }
        results.sort_unstable_by_key(|(position, _)| *position);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Returns the pieces of each distinct target.
    ///
    /// A target is tokenized as a separate text, which adds a `▁`. A target that is a piece with
    /// its marker, such as `▁the` or `##ing`, is that piece.
    pub(super) fn resolve_targets(&self, targets: &[String]) -> Result<Vec<Vec<u32>>> {
        if targets.is_empty() {
            return Err(Error::Empty { what: "targets" });
        }
        let mut resolved: Vec<Vec<u32>> = Vec::with_capacity(targets.len());
        for target in targets {
            let as_piece = self
                .tokenizer()
                .token_to_id(target)
                .filter(|_| target.starts_with('▁') || target.starts_with("##"));
            let ids = match as_piece {
                Some(id) => Some(vec![id]),
                None => self.tokenizer().known_ids(target)?,
            };
            let Some(ids) = ids.filter(|ids| !ids.is_empty()) else {
                return Err(Error::UnknownTarget(target.clone()));
            };
            if !resolved.contains(&ids) {
                resolved.push(ids);
            }
        }
        Ok(resolved)
    }
}

/// Returns the `count` largest scores, largest first; among equal scores the lower id comes first.
fn best_of(scores: &[f32], count: usize) -> Vec<Scored> {
    /// Up to this many are kept sorted in one pass, without allocating for the rest of the
    /// vocabulary.
    const FEW: usize = 64;
    let order = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    let mut best: Vec<(usize, f32)>;
    if count <= FEW {
        best = Vec::with_capacity(count);
        for (id, &score) in scores.iter().enumerate() {
            if best.len() == count {
                if best.last().is_none_or(|(_, worst)| score <= *worst) {
                    continue;
                }
                best.pop();
            }
            let place = best.partition_point(|(_, other)| *other >= score);
            best.insert(place, (id, score));
        }
    } else {
        best = scores.iter().copied().enumerate().collect();
        if count < best.len() {
            best.select_nth_unstable_by(count - 1, order);
            best.truncate(count);
        }
        best.sort_by(order);
    }
    let scored = |(id, score)| Scored {
        ids: vec![id as u32],
        score,
    };
    best.into_iter().map(scored).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_come_first_and_equal_ones_by_id() {
        let scores = [0.1, 0.4, 0.1, 0.4, 0.0];
        let ids = |count: usize| -> Vec<u32> {
            best_of(&scores, count)
                .iter()
                .map(|scored| scored.ids[0])
                .collect()
        };
        assert_eq!(ids(3), [1, 3, 0]);
        assert_eq!(ids(9), [1, 3, 0, 2, 4]);
    }

    #[test]
    fn few_and_many_are_chosen_alike() {
        let scores: Vec<f32> = (0..300).map(|at| (at * 7919 % 101) as f32).collect();
        assert_eq!(best_of(&scores, 64), best_of(&scores, 65)[..64]);
        assert_eq!(best_of(&scores, 500).len(), 300);
    }
}

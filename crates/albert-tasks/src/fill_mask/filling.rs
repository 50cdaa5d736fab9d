//! A text on its way from masks to candidates: all masks at once, or one after another.
//!
//! Filled together, masks are filled in the order of confidence: of the masks still open that one
//! is next whose best candidate is the most probable. A filling's probability is the product of the
//! conditional ones on this way,
//!
//! ```text
//! P(w₁ … wₙ) = Π over t of P(w_σ(t) | text, w_σ(1) … w_σ(t−1));   σ(t) = argmax over open m of max over w of P(w at m | …)
//! ```
//!
//! and a beam keeps the most probable fillings after each step. The order σ belongs to the filling:
//! those of one beam may have come different ways.

use super::ranking::{Query, Scored};
use super::text::MaskedText;
use crate::tokenizer::TokenIds;

/// A text with the fillings that are being considered.
pub(super) struct Work<'a> {
    pub(super) masked: MaskedText<'a>,
    /// The pieces of each target; `None` is the whole vocabulary.
    pub(super) targets: Option<&'a [Vec<u32>]>,
    /// The most probable first; only one, unless masks are filled together.
    pub(super) partials: Vec<Partial>,
}

/// A filling with masks still open.
pub(super) struct Partial {
    /// The tokens with the masks settled so far filled in.
    tokens: TokenIds,
    /// Masks without candidates: number and present position.
    open: Vec<(usize, usize)>,
    /// The candidates of each mask at its turn.
    pub(super) candidates: Vec<Vec<Scored>>,
    /// What was put at each mask; nothing where masks are filled each by itself.
    pub(super) chosen: Vec<Vec<u32>>,
    /// The natural logarithm of the product of the probabilities of what was chosen.
    pub(super) log_probability: f64,
}

/// One way to go on: a candidate at a place among the open masks of a filling.
struct Step {
    partial: usize,
    place: usize,
    candidate: usize,
    log_probability: f64,
}

impl<'a> Work<'a> {
    pub(super) fn new(masked: MaskedText<'a>, targets: Option<&'a [Vec<u32>]>) -> Self {
        let masks = masked.positions.len();
        let partial = Partial {
            tokens: masked.tokens.clone(),
            open: masked.positions.iter().copied().enumerate().collect(),
            candidates: vec![Vec::new(); masks],
            chosen: vec![Vec::new(); masks],
            log_probability: 0.0,
        };
        Self {
            masked,
            targets,
            partials: vec![partial],
        }
    }

    /// What is to be ranked next: the open masks of each filling. None once all are settled.
    pub(super) fn queries(&self) -> impl Iterator<Item = Query<'_>> {
        let open = self
            .partials
            .iter()
            .filter(|partial| !partial.open.is_empty());
        open.map(|partial| Query {
            tokens: &partial.tokens,
            positions: partial.open.iter().map(|(_, position)| *position).collect(),
            targets: self.targets,
        })
    }

    /// Settles every mask with its own candidates.
    pub(super) fn settle_all(&mut self, ranked: Vec<Vec<Vec<Scored>>>) {
        for (partial, ranked) in self.partials.iter_mut().zip(ranked) {
            for ((mask, _), candidates) in partial.open.drain(..).zip(ranked) {
                partial.candidates[mask] = candidates;
            }
        }
    }

    /// Settles one mask of each filling, and keeps the `beam` most probable fillings that come of
    /// it.
    ///
    /// Of fillings that agree in all that they have put in, only the most probable one is kept.
    pub(super) fn settle_most_confident(&mut self, ranked: Vec<Vec<Vec<Scored>>>, beam: usize) {
        let mut steps = Vec::new();
        for (partial, masks) in ranked.iter().enumerate() {
            let Some(place) = most_confident(masks) else {
                continue;
            };
            for (candidate, scored) in masks[place].iter().take(beam).enumerate() {
                let log_probability =
                    self.partials[partial].log_probability + f64::from(scored.score).ln();
                steps.push(Step {
                    partial,
                    place,
                    candidate,
                    log_probability,
                });
            }
        }
        // A stable sort: of equals those of the better filling, and of the better candidate, come
        // first.
        steps.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        let mut kept: Vec<Partial> = Vec::with_capacity(beam.min(steps.len()));
        for step in steps {
            if kept.len() == beam {
                break;
            }
            let next = self.partials[step.partial].after(&step, &ranked[step.partial][step.place]);
            if !kept.iter().any(|other| other.chosen == next.chosen) {
                kept.push(next);
            }
        }
        self.partials = kept;
    }
}

impl Partial {
    /// The filling with one more mask settled.
    fn after(&self, step: &Step, candidates: &[Scored]) -> Self {
        let ids = &candidates[step.candidate].ids;
        let (mut tokens, mut open) = (self.tokens.clone(), self.open.clone());
        let (mask, position) = open.remove(step.place);
        tokens.replace(position, ids);
        for (_, later) in open.iter_mut().filter(|(_, later)| *later > position) {
            *later += ids.len() - 1;
        }
        let (mut of_masks, mut chosen) = (self.candidates.clone(), self.chosen.clone());
        of_masks[mask] = candidates.to_vec();
        chosen[mask] = ids.clone();
        Self {
            tokens,
            open,
            candidates: of_masks,
            chosen,
            log_probability: step.log_probability,
        }
    }
}

/// The mask with the most probable candidate; of equals the leftmost.
fn most_confident(masks: &[Vec<Scored>]) -> Option<usize> {
    let best = masks
        .iter()
        .enumerate()
        .filter_map(|(place, candidates)| Some((place, candidates.first()?)));
    // `max_by` keeps the last of equals.
    best.rev()
        .max_by(|(_, a), (_, b)| a.score.total_cmp(&b.score))
        .map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(masks: usize) -> Work<'static> {
        let tokens = TokenIds {
            ids: vec![4; masks],
            type_ids: vec![0; masks],
            truncated: false,
        };
        Work::new(MaskedText::of_tokens(tokens, (0..masks).collect()), None)
    }

    fn scored(candidates: &[(u32, f32)]) -> Vec<Scored> {
        candidates
            .iter()
            .map(|&(id, score)| Scored {
                ids: vec![id],
                score,
            })
            .collect()
    }

    fn fillings(work: &Work<'_>) -> Vec<(Vec<u32>, f64)> {
        let flat = |partial: &Partial| (partial.chosen.concat(), partial.log_probability.exp());
        work.partials.iter().map(flat).collect()
    }

    #[test]
    fn a_beam_finds_what_the_most_probable_first_step_hides() {
        // The first mask has 6 for 0.6, but what follows 7 is surer.
        let first = || {
            vec![vec![
                scored(&[(6, 0.6), (7, 0.4)]),
                scored(&[(8, 0.3), (9, 0.3)]),
            ]]
        };
        let mut greedy = work(2);
        greedy.settle_most_confident(first(), 1);
        greedy.settle_most_confident(vec![vec![scored(&[(8, 0.5), (9, 0.5)])]], 1);
        assert_eq!(greedy.partials[0].chosen, [vec![6], vec![8]]);
        let mut beam = work(2);
        beam.settle_most_confident(first(), 2);
        beam.settle_most_confident(
            vec![
                vec![scored(&[(8, 0.5), (9, 0.5)])],
                vec![scored(&[(9, 1.0)])],
            ],
            2,
        );
        let found = fillings(&beam);
        assert_eq!(found[0].0, [7, 9]);
        assert_eq!(found[1].0, [6, 8]);
        assert!(
            (found[0].1 - 0.4).abs() < 1e-6 && (found[1].1 - 0.3).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn the_same_filling_by_two_ways_is_kept_once() {
        let mut beam = work(2);
        // Both masks could be first: the left one is.
        beam.settle_most_confident(
            vec![vec![scored(&[(6, 0.5), (7, 0.5)]), scored(&[(6, 0.5)])]],
            4,
        );
        assert_eq!(beam.partials.len(), 2);
        let twin = beam.partials[0].chosen.clone();
        beam.partials[1].chosen = twin;
        beam.settle_most_confident(
            vec![vec![scored(&[(8, 0.9)])], vec![scored(&[(8, 0.8)])]],
            4,
        );
        assert_eq!(beam.partials.len(), 1);
        assert!((beam.partials[0].log_probability.exp() - 0.45).abs() < 1e-6);
    }

    #[test]
    fn pieces_of_a_longer_candidate_move_the_masks_behind_it() {
        let mut work = work(3);
        let long = vec![Scored {
            ids: vec![6, 7],
            score: 0.9,
        }];
        work.settle_most_confident(
            vec![vec![scored(&[(5, 0.1)]), long, scored(&[(5, 0.1)])]],
            1,
        );
        let query = work.queries().next().unwrap();
        assert_eq!(query.tokens.ids, [4, 6, 7, 4]);
        assert_eq!(query.positions, [0, 3]);
    }
}

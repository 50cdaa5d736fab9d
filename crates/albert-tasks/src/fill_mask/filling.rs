//! Fills the masks of a text: all masks at once, or one after another by beam search.
//!
//! Joint filling proceeds in order of confidence: the next mask is the open one whose best
//! candidate is the most probable. The probability of a filling is the product of the conditional
//! probabilities of its steps ([`Filling::score`](super::Filling::score)), and a beam keeps the
//! most probable hypotheses after each step. The order belongs to the hypothesis: those of one beam
//! may have been filled in different orders.

use std::sync::Arc;

use super::ranking::{Query, Scored};
use super::text::MaskedText;
use crate::tokenizer::TokenIds;

/// A text with the hypotheses about its masks.
pub(super) struct Beam<'a> {
    pub(super) masked: MaskedText<'a>,
    /// The pieces of each target; `None` is the whole vocabulary.
    targets: Option<&'a [Vec<u32>]>,
    /// The hypotheses, most probable first; only one unless masks are filled jointly.
    pub(super) hypotheses: Vec<Hypothesis>,
}

/// A partial filling.
pub(super) struct Hypothesis {
    /// The tokens with the masks filled so far.
    tokens: TokenIds,
    /// The number and the current position of each open mask.
    open: Vec<(usize, usize)>,
    filled: Vec<Option<FilledMask>>,
    /// The natural logarithm of the product of the probabilities of the chosen candidates.
    pub(super) log_probability: f64,
}

/// The candidates of a mask at its step, shared by all hypotheses that come from it.
#[derive(Clone)]
struct FilledMask {
    candidates: Arc<[Scored]>,
    /// The index of the chosen candidate; `None` if masks are filled independently.
    chosen: Option<usize>,
}

/// An extension of a hypothesis: a candidate at one of its open masks.
struct Extension {
    hypothesis: usize,
    open: usize,
    candidate: usize,
    log_probability: f64,
}

impl<'a> Beam<'a> {
    pub(super) fn new(masked: MaskedText<'a>, targets: Option<&'a [Vec<u32>]>) -> Self {
        let hypothesis = Hypothesis {
            tokens: masked.tokens.clone(),
            open: masked.positions.iter().copied().enumerate().collect(),
            filled: vec![None; masked.positions.len()],
            log_probability: 0.0,
        };
        Self {
            masked,
            targets,
            hypotheses: vec![hypothesis],
        }
    }

    /// Returns the number of masks that are still open.
    pub(super) fn open_masks(&self) -> usize {
        self.hypotheses.first().map_or(0, |best| best.open.len())
    }

    /// Returns the queries to rank next: the open masks of each hypothesis. None once all are
    /// filled.
    pub(super) fn queries(&self) -> impl Iterator<Item = Query<'_>> {
        let open = self.hypotheses.iter().filter(|it| !it.open.is_empty());
        open.map(|hypothesis| Query {
            tokens: &hypothesis.tokens,
            positions: hypothesis.open.iter().map(|(_, at)| *at).collect(),
            targets: self.targets,
        })
    }

    /// Assigns every open mask its candidates.
    pub(super) fn fill_all(&mut self, ranked: Vec<Vec<Vec<Scored>>>) {
        for (hypothesis, ranked) in self.hypotheses.iter_mut().zip(ranked) {
            for ((mask, _), candidates) in hypothesis.open.drain(..).zip(ranked) {
                hypothesis.filled[mask] = Some(FilledMask {
                    candidates: candidates.into(),
                    chosen: None,
                });
            }
        }
    }

    /// Fills the most confident mask of each hypothesis, and keeps the `width` most probable
    /// extensions.
    ///
    /// Among hypotheses with the same filling, only the most probable one is kept.
    pub(super) fn expand(&mut self, mut ranked: Vec<Vec<Vec<Scored>>>, width: usize) {
        let mut extensions = Vec::new();
        let mut candidates: Vec<Arc<[Scored]>> = Vec::with_capacity(ranked.len());
        for (hypothesis, masks) in ranked.iter_mut().enumerate() {
            let Some(open) = most_confident(masks) else {
                candidates.push(Arc::default());
                continue;
            };
            let of_mask: Arc<[Scored]> = std::mem::take(&mut masks[open]).into();
            for (candidate, scored) in of_mask.iter().take(width).enumerate() {
                let so_far = self.hypotheses[hypothesis].log_probability;
                extensions.push(Extension {
                    hypothesis,
                    open,
                    candidate,
                    log_probability: so_far + f64::from(scored.score).ln(),
                });
            }
            candidates.push(of_mask);
        }
        // A stable sort: equal extensions keep the order of their hypotheses and candidates.
        extensions.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
        let mut kept: Vec<Hypothesis> = Vec::with_capacity(width.min(extensions.len()));
        for extension in extensions {
            if kept.len() == width {
                break;
            }
            let parent = &self.hypotheses[extension.hypothesis];
            let next = parent.extended(&extension, &candidates[extension.hypothesis]);
            if !kept.iter().any(|other| other.has_filling_of(&next)) {
                kept.push(next);
            }
        }
        self.hypotheses = kept;
    }
}

impl Hypothesis {
    /// Returns the hypothesis with one more mask filled.
    fn extended(&self, extension: &Extension, candidates: &Arc<[Scored]>) -> Self {
        let ids = &candidates[extension.candidate].ids;
        let (mut tokens, mut open) = (self.tokens.clone(), self.open.clone());
        let (mask, position) = open.remove(extension.open);
        tokens.replace(position, ids);
        for (_, later) in open.iter_mut().filter(|(_, later)| *later > position) {
            *later += ids.len() - 1;
        }
        let mut filled = self.filled.clone();
        filled[mask] = Some(FilledMask {
            candidates: Arc::clone(candidates),
            chosen: Some(extension.candidate),
        });
        Self {
            tokens,
            open,
            filled,
            log_probability: extension.log_probability,
        }
    }

    /// Returns the candidates of each mask at its step.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &[Scored]> {
        self.filled
            .iter()
            .map(|mask| mask.as_ref().map_or(&[][..], |mask| &mask.candidates))
    }

    /// Returns the chosen ids of each mask; none for a mask that is open or filled independently.
    pub(super) fn chosen(&self) -> Vec<Vec<u32>> {
        self.chosen_ids().map(<[u32]>::to_vec).collect()
    }

    fn chosen_ids(&self) -> impl Iterator<Item = &[u32]> {
        self.filled.iter().map(|mask| match mask {
            Some(FilledMask {
                candidates,
                chosen: Some(chosen),
            }) => candidates[*chosen].ids.as_slice(),
            _ => &[],
        })
    }

    fn has_filling_of(&self, other: &Self) -> bool {
        self.chosen_ids().eq(other.chosen_ids())
    }
}

/// Returns the mask with the most probable candidate; among equal ones the leftmost.
fn most_confident(masks: &[Vec<Scored>]) -> Option<usize> {
    let best = masks
        .iter()
        .enumerate()
        .filter_map(|(open, candidates)| Some((open, candidates.first()?)));
    // `max_by` keeps the last of equal ones.
    best.rev()
        .max_by(|(_, a), (_, b)| a.score.total_cmp(&b.score))
        .map(|(open, _)| open)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beam(masks: usize) -> Beam<'static> {
        let tokens = TokenIds {
            ids: vec![4; masks],
            type_ids: vec![0; masks],
            truncated: false,
        };
        Beam::new(MaskedText::from_tokens(tokens, (0..masks).collect()), None)
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

    fn fillings(beam: &Beam<'_>) -> Vec<(Vec<u32>, f64)> {
        let flat = |it: &Hypothesis| (it.chosen().concat(), it.log_probability.exp());
        beam.hypotheses.iter().map(flat).collect()
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
        let mut greedy = beam(2);
        greedy.expand(first(), 1);
        greedy.expand(vec![vec![scored(&[(8, 0.5), (9, 0.5)])]], 1);
        assert_eq!(greedy.hypotheses[0].chosen(), [vec![6], vec![8]]);
        let mut wide = beam(2);
        wide.expand(first(), 2);
        wide.expand(
            vec![
                vec![scored(&[(8, 0.5), (9, 0.5)])],
                vec![scored(&[(9, 1.0)])],
            ],
            2,
        );
        let found = fillings(&wide);
        assert_eq!(found[0].0, [7, 9]);
        assert_eq!(found[1].0, [6, 8]);
        assert!(
            (found[0].1 - 0.4).abs() < 1e-6 && (found[1].1 - 0.3).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn the_same_filling_in_two_orders_is_kept_once() {
        let mut wide = beam(2);
        // One hypothesis has filled the left mask with 6, the other the right one with 7.
        wide.expand(vec![vec![scored(&[(6, 0.5)]), scored(&[(7, 0.4)])]], 4);
        let mut other = beam(2);
        other.expand(vec![vec![scored(&[(6, 0.4)]), scored(&[(7, 0.5)])]], 4);
        wide.hypotheses.append(&mut other.hypotheses);
        wide.expand(
            vec![vec![scored(&[(7, 0.9)])], vec![scored(&[(6, 0.8)])]],
            4,
        );
        assert_eq!(wide.hypotheses.len(), 1);
        assert!((wide.hypotheses[0].log_probability.exp() - 0.45).abs() < 1e-6);
    }

    #[test]
    fn pieces_of_a_longer_candidate_move_the_masks_after_it() {
        let mut wide = beam(3);
        let long = vec![Scored {
            ids: vec![6, 7],
            score: 0.9,
        }];
        wide.expand(
            vec![vec![scored(&[(5, 0.1)]), long, scored(&[(5, 0.1)])]],
            1,
        );
        let query = wide.queries().next().unwrap();
        assert_eq!(query.tokens.ids, [4, 6, 7, 4]);
        assert_eq!(query.positions, [0, 3]);
    }
}

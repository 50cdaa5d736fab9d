//! The best span of a question's windows.
//!
//! Source: transformers 4.46.3, `examples/pytorch/question-answering/utils_qa.py`,
//! `postprocess_qa_predictions`.

use std::ops::Range;

use super::window::Window;

/// Starts and ends that are combined.
const BEST: usize = 20;

/// A span of the context.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    /// The sum of the logits of its first and last token.
    pub(super) score: f32,
    pub(super) characters: Range<usize>,
}

/// Returns the best span, if any, and the score of no answer: the lowest of all windows.
pub(super) fn best_candidate<'a>(
    windows: impl IntoIterator<Item = (&'a Window, &'a Vec<f32>)>,
    max_answer_tokens: usize,
) -> (Option<Candidate>, f32) {
    let mut best: Option<Candidate> = None;
    let mut null = f32::INFINITY;
    for (window, logits) in windows {
        let column =
            |column: usize| -> Vec<f32> { logits[column..].iter().step_by(2).copied().collect() };
        let (starts, ends) = (column(0), column(1));
        null = null.min(starts[0] + ends[0]);
        let (best_starts, best_ends) = (highest(&starts), highest(&ends));
        for &start in &best_starts {
            for &end in &best_ends {
                let is_inside = window.context.contains(&start) && window.context.contains(&end);
                if !is_inside || end < start || end - start + 1 > max_answer_tokens {
                    continue;
                }
                let score = starts[start] + ends[end];
                if best.as_ref().is_none_or(|best| score > best.score) {
                    let at = |token: usize| window.characters[token - window.context.start];
                    let characters = at(start).0 as usize..(at(end).1.max(at(start).0)) as usize;
                    best = Some(Candidate { score, characters });
                }
            }
        }
    }
    (best, null)
}

/// Returns the indices of the highest values, the highest first.
fn highest(values: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    // numpy's argsort, reversed: of equal values the last comes first.
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(b.cmp(a)));
    order.truncate(BEST);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window {
            ids: vec![2, 10, 3, 5, 6, 7, 3],
            types: vec![0, 0, 0, 1, 1, 1, 1],
            context: 3..6,
            characters: vec![(0, 1), (2, 3), (4, 5)],
        }
    }

    fn best(starts: [f32; 7], ends: [f32; 7], longest: usize) -> (Option<Range<usize>>, f32) {
        let logits: Vec<f32> = starts
            .into_iter()
            .zip(ends)
            .flat_map(<[f32; 2]>::from)
            .collect();
        let (found, null) = best_candidate([(&window(), &logits)], longest);
        (found.map(|found| found.characters), null)
    }

    #[test]
    fn a_span_lies_in_the_context_and_is_not_too_long() {
        let starts = [1.0, 9.0, 0.0, 5.0, 0.0, 0.0, 0.0];
        let ends = [2.0, 0.0, 0.0, 0.0, 1.0, 5.0, 9.0];
        assert_eq!(best(starts, ends, 3), (Some(0..5), 3.0));
        assert_eq!(best(starts, ends, 2), (Some(0..3), 3.0));
    }

    #[test]
    fn the_lowest_score_of_no_answer_counts() {
        let low = vec![0.0; 14];
        let high: Vec<f32> = [3.0, 3.0].into_iter().chain([0.0; 12]).collect();
        let window = window();
        let (_, null) = best_candidate([(&window, &high), (&window, &low)], 5);
        assert_eq!(null, 0.0);
    }
}

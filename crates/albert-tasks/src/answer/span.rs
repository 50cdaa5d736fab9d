//! The most probable spans of a window.
//!
//! Source: transformers 4.46.3, `pipelines/question_answering.py`, `select_starts_ends` and
//! `decode_spans`.

use std::ops::Range;

use crate::probability::softmax;

/// The spans found in one window.
pub(super) struct Spans {
    /// The best spans with their scores, best first. A score is the product of the probabilities of
    /// the span's first and last token.
    pub(super) best: Vec<(Range<usize>, f32)>,
    /// The product for `[CLS]`, the first token: the score of "no answer".
    pub(super) null_score: f32,
}

/// Finds the `top_k` best spans of at most `max_tokens` tokens.
///
/// ```text
/// score(s, e) = softmax(start)ₛ · softmax(end)ₑ,   s ≤ e < s + max_tokens
/// ```
///
/// Spans with a score of 0 are left out.
///
/// # Shapes
/// - `logits`: `(T, 2)`, start and end of each token
/// - `allowed`: `(T)`, true for the tokens of the context; softmax runs over these and the first
///   token
pub(super) fn best_spans(
    logits: &[f32],
    allowed: &[bool],
    max_tokens: usize,
    top_k: usize,
) -> Spans {
    /// Replaces the logits of tokens that cannot be part of an answer.
    const EXCLUDED: f32 = -10_000.0;
    let probabilities = |column: usize| -> Vec<f32> {
        let logit = |(at, logits): (usize, &[f32])| {
            if at == 0 || allowed[at] {
                logits[column]
            } else {
                EXCLUDED
            }
        };
        let mut column: Vec<f32> = logits.chunks_exact(2).enumerate().map(logit).collect();
        softmax(&mut column);
        column
    };
    let (starts, ends) = (probabilities(0), probabilities(1));
    let null_score = starts.first().copied().unwrap_or(0.0) * ends.first().copied().unwrap_or(0.0);
    let mut best: Vec<(Range<usize>, f32)> = Vec::with_capacity(top_k.min(starts.len()));
    for start in (0..starts.len()).filter(|&at| allowed[at]) {
        let last = ends.len().min(start.saturating_add(max_tokens));
        for end in (start..last).filter(|&at| allowed[at]) {
            let score = starts[start] * ends[end];
            let is_full = best.len() == top_k;
            // Among equal scores the first span wins.
            if score <= 0.0 || is_full && best.last().is_none_or(|(_, worst)| score <= *worst) {
                continue;
            }
            let place = best.partition_point(|(_, other)| *other >= score);
            if is_full {
                best.pop();
            }
            best.insert(place, (start..end + 1, score));
        }
    }
    Spans { best, null_score }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(starts: &[f32], ends: &[f32]) -> Vec<f32> {
        starts
            .iter()
            .zip(ends)
            .flat_map(|(start, end)| [*start, *end])
            .collect()
    }

    fn best(logits: &[f32], allowed: &[bool], max_tokens: usize) -> Option<Range<usize>> {
        let spans = best_spans(logits, allowed, max_tokens, 1);
        spans.best.into_iter().next().map(|(span, _)| span)
    }

    #[test]
    fn the_end_is_never_before_the_start_and_the_span_not_too_long() {
        let logits = logits(&[0.0, 0.0, 5.0, 0.0, 0.0], &[0.0, 5.5, 0.0, 1.0, 5.0]);
        let allowed = [false, true, true, true, true];
        assert_eq!(best(&logits, &allowed, 9), Some(2..5));
        assert_eq!(best(&logits, &allowed, 2), Some(2..4));
        assert_eq!(best(&logits, &allowed, 1), Some(1..2));
    }

    #[test]
    fn several_spans_come_best_first() {
        let logits = logits(&[0.0, 3.0, 1.0], &[0.0, 1.0, 3.0]);
        let spans = best_spans(&logits, &[false, true, true], 9, 9).best;
        let ranges: Vec<Range<usize>> = spans.iter().map(|(span, _)| span.clone()).collect();
        // `2..2` would end before it starts; equal scores keep the order of their starts.
        assert_eq!(ranges, [1..3, 1..2, 2..3]);
        assert!(spans.is_sorted_by(|(_, a), (_, b)| a >= b));
        let two = best_spans(&logits, &[false, true, true], 9, 2).best;
        assert_eq!(two, spans[..2]);
    }

    #[test]
    fn only_the_context_answers_and_the_first_token_means_no_answer() {
        let logits = logits(&[0.0, 50.0, 0.0], &[0.0, 50.0, 0.0]);
        let spans = best_spans(&logits, &[false, false, true], 15, 1);
        assert_eq!(spans.best, [(2..3, 0.25)]);
        assert_eq!(spans.null_score, 0.25);
    }

    #[test]
    fn without_a_context_there_is_no_span() {
        let spans = best_spans(&logits(&[1.0, 2.0], &[1.0, 2.0]), &[false, false], 15, 1);
        assert_eq!((spans.best, spans.null_score), (vec![], 1.0));
    }
}

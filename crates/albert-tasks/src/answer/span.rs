//! The most probable span of a window.
//!
//! Source: transformers 4.46.3, `pipelines/question_answering.py`, `select_starts_ends` and
//! `decode_spans`.

use std::ops::Range;

use crate::probability::softmax;

/// What a window says.
pub(super) struct Found {
    /// The tokens of the best span; `None` where every span has a probability of 0.
    pub(super) span: Option<Range<usize>>,
    /// The product of the probabilities of its first and last token.
    pub(super) score: f32,
    /// The same product for the first token of all, `[CLS]`: there is no answer here.
    pub(super) null_score: f32,
}

/// Finds the best span of at most `max_tokens` tokens.
///
/// ```text
/// score(s, e) = softmax(start)ₛ · softmax(end)ₑ,   s ≤ e < s + max_tokens
/// ```
///
/// # Shapes
/// - `logits`: `(T, 2)`, start and end of each token
/// - `allowed`: `(T)`, whether a token is the context's; softmax runs over these and the first
///   token
pub(super) fn best_span(logits: &[f32], allowed: &[bool], max_tokens: usize) -> Found {
    /// In place of the logits of tokens that cannot be in an answer.
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
    let mut found = Found {
        span: None,
        score: 0.0,
        null_score,
    };
    for start in (0..starts.len()).filter(|&at| allowed[at]) {
        let last = ends.len().min(start.saturating_add(max_tokens));
        for end in (start..last).filter(|&at| allowed[at]) {
            let score = starts[start] * ends[end];
            // Of equals the first.
            if score > found.score {
                (found.span, found.score) = (Some(start..end + 1), score);
            }
        }
    }
    found
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

    #[test]
    fn the_end_is_never_before_the_start_and_the_span_not_too_long() {
        let logits = logits(&[0.0, 0.0, 5.0, 0.0, 0.0], &[0.0, 5.5, 0.0, 1.0, 5.0]);
        let allowed = [false, true, true, true, true];
        assert_eq!(best_span(&logits, &allowed, 9).span, Some(2..5));
        assert_eq!(best_span(&logits, &allowed, 2).span, Some(2..4));
        assert_eq!(best_span(&logits, &allowed, 1).span, Some(1..2));
    }

    #[test]
    fn only_the_context_answers_and_the_first_token_says_that_nothing_does() {
        let logits = logits(&[0.0, 50.0, 0.0], &[0.0, 50.0, 0.0]);
        let found = best_span(&logits, &[false, false, true], 15);
        assert_eq!(found.span, Some(2..3));
        assert_eq!((found.score, found.null_score), (0.25, 0.25));
    }

    #[test]
    fn without_a_context_there_is_no_span() {
        let found = best_span(&logits(&[1.0, 2.0], &[1.0, 2.0]), &[false, false], 15);
        assert_eq!(
            (found.span, found.score, found.null_score),
            (None, 0.0, 1.0)
        );
    }
}

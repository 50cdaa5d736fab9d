//! Joins tokens with probabilities into labeled spans, by the strategies of transformers' pipeline.
//!
//! Source: transformers 4.46.3, `pipelines/token_classification.py`, `aggregate` and what it calls.

use std::fmt;
use std::str::FromStr;

use crate::names;
use crate::probability::argmax;
use crate::{Error, Result};

/// The label of tokens outside of entities.
const OUTSIDE: &str = "O";

/// A strategy that joins tokens into entities.
///
/// All but [`None`](Self::None) join neighbors of the same label, unless the second begins an
/// entity (`B-`), and average their scores. The last three first assign one label to each word. A
/// word is a run without a space; with a vocab.txt, a piece and the `##` pieces after it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aggregation {
    /// Each token separately, with the label of the model.
    None,
    /// Neighboring tokens of the same label.
    #[default]
    Simple,
    /// A word has the label of its first token.
    First,
    /// A word has the label with the highest mean over its tokens.
    Average,
    /// A word has the label of its most confident token.
    Max,
}

impl Aggregation {
    /// Every strategy with its name.
    pub const ALL: [(Self, &'static str); 5] = [
        (Self::None, "none"),
        (Self::Simple, "simple"),
        (Self::First, "first"),
        (Self::Average, "average"),
        (Self::Max, "max"),
    ];

    /// Returns the spans of a window's tokens, without those outside of any entity.
    pub(super) fn apply(self, tokens: &[TokenScores<'_>], labels: &[String]) -> Vec<Span> {
        let best = |token: &TokenScores<'_>| token.span(token.scores, labels);
        let spans: Vec<Span> = match self {
            Self::None | Self::Simple => tokens.iter().map(best).collect(),
            Self::First | Self::Average | Self::Max => {
                words(tokens).map(|word| self.word(word, labels)).collect()
            }
        };
        let mut spans = if self == Self::None {
            spans
        } else {
            entities(&spans)
        };
        spans.retain(|span| span.label != OUTSIDE);
        spans
    }

    /// Returns one span for the tokens of a word.
    fn word(self, word: &[TokenScores<'_>], labels: &[String]) -> Span {
        let highest = |token: &TokenScores<'_>| token.scores[argmax(token.scores)];
        let scores = match self {
            Self::Average => {
                let sum = |label: usize| word.iter().map(|token| token.scores[label]).sum::<f32>();
                (0..labels.len())
                    .map(|label| sum(label) / word.len() as f32)
                    .collect()
            }
            Self::Max => word[argmax(&word.iter().map(highest).collect::<Vec<_>>())]
                .scores
                .to_vec(),
            _ => word[0].scores.to_vec(),
        };
        let last = word[word.len() - 1].end;
        Span {
            end: last,
            ..word[0].span(&scores, labels)
        }
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        names::display(&Self::ALL, self, f)
    }
}

impl FromStr for Aggregation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        names::parse("aggregation", &Self::ALL, name)
    }
}

/// The probabilities of a token, and its place in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenScores<'a> {
    /// One for each label.
    pub(super) scores: &'a [f32],
    pub(super) start: usize,
    pub(super) end: usize,
    /// True if it continues the word of the token before.
    pub(super) continues: bool,
}

impl TokenScores<'_> {
    /// Returns the token's place with the best label of `scores`.
    fn span(&self, scores: &[f32], labels: &[String]) -> Span {
        let best = argmax(scores);
        Span {
            label: labels[best].clone(),
            start: self.start,
            end: self.end,
            score: scores[best],
        }
    }
}

/// A labeled span of the text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Span {
    pub(super) label: String,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) score: f32,
}

/// Groups the tokens by word.
fn words<'s, 'a>(tokens: &'s [TokenScores<'a>]) -> impl Iterator<Item = &'s [TokenScores<'a>]> {
    tokens.chunk_by(|_, next| next.continues)
}

/// Joins neighbors of the same label into one span, with the mean of their scores.
fn entities(spans: &[Span]) -> Vec<Span> {
    let joins = |span: &Span, next: &Span| {
        let (begins, tag) = parts(&next.label);
        !begins && tag == parts(&span.label).1
    };
    let join = |group: &[Span]| {
        let first = &group[0];
        // Not `parts`: the pipeline also drops any other prefix.
        let label = first
            .label
            .split_once('-')
            .map_or(first.label.as_str(), |(_, label)| label);
        Span {
            label: label.to_string(),
            start: first.start,
            end: group[group.len() - 1].end,
            score: group.iter().map(|span| span.score).sum::<f32>() / group.len() as f32,
        }
    };
    spans.chunk_by(joins).map(join).collect()
}

/// Returns true if a label begins an entity, and the label without `B-` or `I-`.
fn parts(label: &str) -> (bool, &str) {
    match (label.strip_prefix("B-"), label.strip_prefix("I-")) {
        (Some(tag), _) => (true, tag),
        (_, Some(tag)) => (false, tag),
        _ => (false, label),
    }
}

/// Among overlapping spans of several windows, keeps the longer or else the more probable one.
pub(super) fn without_overlaps(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by_key(|span| span.start);
    let mut kept: Vec<Span> = Vec::new();
    for span in spans {
        let length = |span: &Span| span.end.saturating_sub(span.start);
        match kept.last_mut() {
            Some(last) if (last.start..last.end).contains(&span.start) => {
                let longer = length(&span) > length(last);
                if longer || length(&span) == length(last) && span.score > last.score {
                    *last = span;
                }
            }
            _ => kept.push(span),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Vec<String> {
        ["O", "B-PER", "I-PER", "B-LOC", "MISC"]
            .map(String::from)
            .to_vec()
    }

    /// Tokens of one character each, `-` before those that continue a word.
    fn apply(
        aggregation: Aggregation,
        scores: &[([f32; 5], bool)],
    ) -> Vec<(String, usize, usize, f32)> {
        let tokens: Vec<TokenScores<'_>> = scores
            .iter()
            .enumerate()
            .map(|(at, (scores, continues))| TokenScores {
                scores,
                start: at,
                end: at + 1,
                continues: *continues,
            })
            .collect();
        let spans = aggregation.apply(&tokens, &labels());
        spans
            .into_iter()
            .map(|span| (span.label, span.start, span.end, span.score))
            .collect()
    }

    fn entity(label: &str, start: usize, end: usize, score: f32) -> (String, usize, usize, f32) {
        (label.to_string(), start, end, score)
    }

    const OUT: [f32; 5] = [0.75, 0.25, 0.0, 0.0, 0.0];
    const BEGIN: [f32; 5] = [0.25, 0.5, 0.25, 0.0, 0.0];
    const INSIDE: [f32; 5] = [0.0, 0.0, 1.0, 0.0, 0.0];
    const PLACE: [f32; 5] = [0.0, 0.25, 0.0, 0.75, 0.0];
    const OTHER: [f32; 5] = [0.0, 0.0, 0.0, 0.0, 1.0];

    #[test]
    fn none_keeps_tokens_and_their_labels() {
        let found = apply(
            Aggregation::None,
            &[(OUT, false), (BEGIN, false), (INSIDE, true)],
        );
        assert_eq!(
            found,
            [entity("B-PER", 1, 2, 0.5), entity("I-PER", 2, 3, 1.0)]
        );
    }

    #[test]
    fn simple_joins_neighbors_and_a_new_beginning_starts_anew() {
        let tokens = [
            (BEGIN, false),
            (INSIDE, false),
            (BEGIN, false),
            (OUT, false),
            (OTHER, false),
        ];
        let found = apply(Aggregation::Simple, &tokens);
        assert_eq!(
            found,
            [
                entity("PER", 0, 2, 0.75),
                entity("PER", 2, 3, 0.5),
                entity("MISC", 4, 5, 1.0)
            ]
        );
    }

    #[test]
    fn a_word_has_one_label_by_its_first_its_mean_or_its_most_confident_token() {
        let word = [(BEGIN, false), (PLACE, true)];
        assert_eq!(apply(Aggregation::First, &word), [entity("PER", 0, 2, 0.5)]);
        // Means: O 0.125, B-PER 0.375, I-PER 0.125, B-LOC 0.375: of equals the first.
        assert_eq!(
            apply(Aggregation::Average, &word),
            [entity("PER", 0, 2, 0.375)]
        );
        assert_eq!(apply(Aggregation::Max, &word), [entity("LOC", 0, 2, 0.75)]);
    }

    #[test]
    fn of_overlapping_spans_the_longer_then_the_more_probable_is_kept() {
        let span = |start, end, score| Span {
            label: "PER".into(),
            start,
            end,
            score,
        };
        let spans = vec![
            span(10, 12, 0.5),
            span(0, 4, 0.9),
            span(2, 8, 0.1),
            span(10, 12, 0.6),
        ];
        assert_eq!(
            without_overlaps(spans),
            [span(2, 8, 0.1), span(10, 12, 0.6)]
        );
        assert!(without_overlaps(Vec::new()).is_empty());
    }

    #[test]
    fn names_go_both_ways() {
        for (aggregation, name) in Aggregation::ALL {
            assert_eq!(name.parse::<Aggregation>().unwrap(), aggregation);
            assert_eq!(aggregation.to_string(), name);
        }
        assert!("median".parse::<Aggregation>().is_err());
    }
}

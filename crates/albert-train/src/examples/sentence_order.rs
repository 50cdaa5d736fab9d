//! Sequences of two segments for sentence order prediction, as in google-research/albert.
//!
//! Sentences of a document are collected until they reach a target length, then divided into two
//! segments at a random sentence. In half of the sequences the segments are swapped (label 1). A
//! single sentence cannot be divided: its second segment comes from another document, and its label
//! is also 1.
//!
//! Source: google-research/albert b772393, `create_pretraining_data.py`,
//! `create_instances_from_document` with its default `random_next_sentence=False`.

use std::ops::Range;

use crate::draws::Draws;

/// Special tokens of a pair: `[CLS] A [SEP] B [SEP]`.
pub(crate) const PAIR_TOKENS: usize = 3;

/// Special tokens of one segment: `[CLS] A [SEP]`.
const SINGLE_TOKENS: usize = 2;

/// The number of attempts to draw another document than the current one.
const OTHER_DOCUMENT_DRAWS: usize = 10;

/// A document as token ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenizedDocument {
    ids: Vec<u32>,
    /// The end of each sentence in `ids`.
    ends: Vec<usize>,
}

impl TokenizedDocument {
    /// Adds a sentence.
    pub fn push(&mut self, ids: &[u32]) {
        self.ids.extend_from_slice(ids);
        self.ends.push(self.ids.len());
    }

    /// Returns the number of sentences.
    pub(super) fn sentences(&self) -> usize {
        self.ends.len()
    }

    /// Returns all tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Returns the tokens of consecutive sentences.
    fn tokens(&self, sentences: Range<usize>) -> &[u32] {
        let start = |sentence: usize| {
            sentence
                .checked_sub(1)
                .map_or(0, |before| self.ends[before])
        };
        &self.ids[start(sentences.start)..start(sentences.end)]
    }
}

/// The segments of a sequence, without special tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segments {
    /// The first segment.
    pub first: Vec<u32>,
    /// The second segment; empty if sentence order is not trained.
    pub second: Vec<u32>,
    /// True if the second segment did not follow the first in the text.
    pub is_swapped: bool,
}

/// The lengths of sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Lengths {
    /// The maximum number of tokens in a sequence, special tokens included.
    pub max_length: usize,
    /// The probability that a document's sequences are cut to a random shorter length.
    pub short_probability: f64,
}

impl Lengths {
    /// Draws the target length of a document's sequences without their `special` tokens.
    fn target(&self, special: usize, draws: &mut Draws) -> usize {
        let most = self.max_length - special;
        if draws.unit() < self.short_probability {
            // From 2 to `most`, both included.
            2 + draws.below(most - 1)
        } else {
            most
        }
    }
}

/// Returns the sequences of `documents[index]` with two segments each.
///
/// Every document must have a sentence, and `max_length` be at least 5: three special tokens and
/// one token a segment.
pub fn pairs(
    documents: &[TokenizedDocument],
    index: usize,
    lengths: Lengths,
    draws: &mut Draws,
) -> Vec<Segments> {
    let mut sequences = Vec::new();
    for_each_pair(documents, index, lengths, draws, |segments, _| {
        sequences.push(segments);
    });
    sequences
}

/// Returns each of the [`pairs`] in both orders: as drawn, then with the segments exchanged.
///
/// A pair from two documents has label 1 in both.
pub fn both_orders(
    documents: &[TokenizedDocument],
    index: usize,
    lengths: Lengths,
    draws: &mut Draws,
) -> Vec<Segments> {
    let mut sequences = Vec::new();
    for_each_pair(documents, index, lengths, draws, |segments, is_one_text| {
        let exchanged = Segments {
            first: segments.second.clone(),
            second: segments.first.clone(),
            is_swapped: !(is_one_text && segments.is_swapped),
        };
        sequences.extend([segments, exchanged]);
    });
    sequences
}

/// Calls a function with each pair of segments of `documents[index]`, and true unless the second
/// segment is from another document.
fn for_each_pair(
    documents: &[TokenizedDocument],
    index: usize,
    lengths: Lengths,
    draws: &mut Draws,
    mut add: impl FnMut(Segments, bool),
) {
    let document = &documents[index];
    let most = lengths.max_length - PAIR_TOKENS;
    let target = lengths.target(PAIR_TOKENS, draws);
    let mut start = 0;
    while start < document.sentences() {
        let end = stretch(document, start, target);
        let is_one_text = end - start > 1;
        let mut segments = if is_one_text {
            let split = start + 1 + draws.below(end - start - 1);
            let is_swapped = draws.unit() < 0.5;
            let (first, second) = (document.tokens(start..split), document.tokens(split..end));
            let (first, second) = if is_swapped {
                (second, first)
            } else {
                (first, second)
            };
            Segments {
                first: first.to_vec(),
                second: second.to_vec(),
                is_swapped,
            }
        } else {
            let first = document.tokens(start..end).to_vec();
            // A first segment that is long enough alone is cut below to make room for another.
            let wanted = target.saturating_sub(first.len()).max(1);
            Segments {
                second: other_text(documents, index, wanted, draws),
                first,
                is_swapped: true,
            }
        };
        truncate_pair(&mut segments.first, &mut segments.second, most, draws);
        add(segments, is_one_text);
        start = end;
    }
}

/// Returns the sequences of a document with one segment each, for training without sentence order.
///
/// `max_length` must be at least 4: two special tokens and two of text.
pub fn singles(document: &TokenizedDocument, lengths: Lengths, draws: &mut Draws) -> Vec<Segments> {
    let target = lengths.target(SINGLE_TOKENS, draws);
    let single = |tokens: &[u32]| Segments {
        first: tokens.to_vec(),
        second: Vec::new(),
        is_swapped: false,
    };
    let (mut sequences, mut start) = (Vec::new(), 0);
    while start < document.sentences() {
        let mut end = stretch(document, start, target);
        // The last sentence goes to the next sequence rather than being cut, unless it is alone.
        if document.tokens(start..end).len() > target && end - start > 1 {
            end -= 1;
        }
        // A sentence that is longer than a sequence makes several.
        sequences.extend(document.tokens(start..end).chunks(target).map(single));
        start = end;
    }
    sequences
}

/// Returns the sentences of a document, each a sequence of its own, cut to the maximum length.
pub(super) fn sentences(document: &TokenizedDocument, lengths: Lengths) -> Vec<Segments> {
    let most = lengths.max_length - SINGLE_TOKENS;
    let sentence = |index: usize| {
        let tokens = document.tokens(index..index + 1);
        Segments {
            first: tokens[..tokens.len().min(most)].to_vec(),
            second: Vec::new(),
            is_swapped: false,
        }
    };
    (0..document.sentences()).map(sentence).collect()
}

/// Returns the end of the sentences from `start` on that have `target` tokens together, or of the
/// document.
fn stretch(document: &TokenizedDocument, start: usize, target: usize) -> usize {
    let mut end = start + 1;
    while end < document.sentences() && document.tokens(start..end).len() < target {
        end += 1;
    }
    end
}

/// Text of another document: sentences from a random one on, until they have `wanted` tokens.
fn other_text(
    documents: &[TokenizedDocument],
    index: usize,
    wanted: usize,
    draws: &mut Draws,
) -> Vec<u32> {
    let mut other = index;
    for _ in 0..OTHER_DOCUMENT_DRAWS {
        other = draws.below(documents.len());
        if other != index {
            break;
        }
    }
    let other = &documents[other];
    let start = draws.below(other.sentences());
    let end = stretch(other, start, wanted);
    other.tokens(start..end).to_vec()
}

/// Cuts the longer segment by one token at a random end until both fit into `most` tokens.
///
/// Source: `truncate_seq_pair` of the same file.
fn truncate_pair(first: &mut Vec<u32>, second: &mut Vec<u32>, most: usize, draws: &mut Draws) {
    // Ranges rather than removals at the front, which would move the whole segment each time.
    let (mut a, mut b) = (0..first.len(), 0..second.len());
    while a.len() + b.len() > most {
        let longer = if a.len() > b.len() { &mut a } else { &mut b };
        if draws.unit() < 0.5 {
            longer.start += 1;
        } else {
            longer.end -= 1;
        }
    }
    for (segment, kept) in [(first, a), (second, b)] {
        segment.truncate(kept.end);
        segment.drain(..kept.start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Purpose;

    /// Documents of `count` sentences with `length` tokens each; a token names its place.
    fn documents(count: usize, sentences: usize, length: usize) -> Vec<TokenizedDocument> {
        let mut token = 0;
        (0..count)
            .map(|_| {
                let mut document = TokenizedDocument::default();
                for _ in 0..sentences {
                    let ids: Vec<u32> = (0..length).map(|i| token + i as u32).collect();
                    document.push(&ids);
                    token += length as u32;
                }
                document
            })
            .collect()
    }

    const LONG: Lengths = Lengths {
        max_length: 43,
        short_probability: 0.0,
    };

    fn all_pairs(documents: &[TokenizedDocument], lengths: Lengths) -> Vec<Segments> {
        (0..documents.len())
            .flat_map(|index| {
                let mut draws = Draws::new(1, Purpose::Segments, &[0, index as u64]);
                pairs(documents, index, lengths, &mut draws)
            })
            .collect()
    }

    #[test]
    fn half_of_the_sequences_are_swapped() {
        let sequences = all_pairs(&documents(4000, 4, 10), LONG);
        assert_eq!(sequences.len(), 4000);
        let swapped = sequences
            .iter()
            .filter(|sequence| sequence.is_swapped)
            .count();
        // Five standard deviations of 4,000 fair coins.
        assert!(swapped.abs_diff(2000) < 158, "{swapped}");
        for sequence in &sequences {
            let [first, second] = [sequence.first[0], sequence.second[0]];
            assert_eq!(sequence.is_swapped, first > second);
            assert_eq!(first.abs_diff(second) % 10, 0);
        }
    }

    #[test]
    fn every_sentence_of_a_document_is_used_once() {
        let sequences = all_pairs(&documents(10, 40, 9), LONG);
        let mut tokens: Vec<u32> = sequences
            .iter()
            .flat_map(|s| s.first.iter().chain(&s.second))
            .copied()
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        // A stretch of five sentences has 45 tokens, of which 40 fit.
        assert_eq!(tokens.len(), 10 * 8 * 40);
    }

    #[test]
    fn a_sentence_alone_is_paired_with_another_document() {
        let documents = documents(50, 1, 10);
        for (index, sequence) in all_pairs(&documents, LONG).iter().enumerate() {
            assert!(sequence.is_swapped);
            assert_eq!(sequence.first, documents[index].ids());
            assert_ne!(sequence.second, documents[index].ids());
        }
    }

    #[test]
    fn both_orders_of_a_pair_have_both_labels() {
        let documents = documents(500, 5, 10);
        for index in 0..documents.len() {
            let draws = || Draws::new(5, Purpose::Segments, &[index as u64]);
            let both = both_orders(&documents, index, LONG, &mut draws());
            let drawn = pairs(&documents, index, LONG, &mut draws());
            assert_eq!(both.len(), 4);
            for (both, drawn) in both.chunks_exact(2).zip(&drawn) {
                let [one, other] = both else { unreachable!() };
                assert_eq!(one, drawn);
                assert_eq!((&one.first, &one.second), (&other.second, &other.first));
            }
            assert_ne!(both[0].is_swapped, both[1].is_swapped);
            // The fifth sentence is alone, so that its pair is from two documents.
            assert!(both[2].is_swapped && both[3].is_swapped);
        }
    }

    #[test]
    fn a_tenth_of_the_documents_has_short_sequences() {
        let lengths = Lengths {
            short_probability: 0.1,
            ..LONG
        };
        let documents = documents(5000, 12, 10);
        let short = (0..documents.len()).filter(|&index| {
            let mut draws = Draws::new(2, Purpose::Segments, &[0, index as u64]);
            // 40 tokens, then 40, then 40; a lower target makes more of them or shorter ones.
            let lengths = pairs(&documents, index, lengths, &mut draws);
            lengths.iter().any(|s| s.first.len() + s.second.len() < 40)
        });
        // Targets from 2 to 40 are drawn, of which 31 to 40 take four sentences as well; five
        // standard deviations.
        let expected = 5000.0 * 0.1 * 29.0 / 39.0;
        let found = short.count() as f64;
        assert!(
            (found - expected).abs() < 5.0 * expected.sqrt(),
            "{found} of {expected}"
        );
    }

    #[test]
    fn long_segments_are_cut_at_both_ends_to_the_same_length() {
        let (mut first, mut second) = ((0..100).collect(), (100..103).collect());
        let mut draws = Draws::new(3, Purpose::Segments, &[]);
        truncate_pair(&mut first, &mut second, 40, &mut draws);
        assert_eq!((first.len(), second.len()), (37, 3));
        assert!(first[0] > 0 && first[36] < 99);
        assert!(first.windows(2).all(|pair| pair[1] == pair[0] + 1));
        truncate_pair(&mut first, &mut second, 4, &mut draws);
        assert_eq!((first.len(), second.len()), (2, 2));
    }

    #[test]
    fn without_sentence_order_every_token_is_used_once() {
        let documents = documents(20, 15, 9);
        let lengths = Lengths {
            max_length: 30,
            short_probability: 0.0,
        };
        for document in &documents {
            let mut draws = Draws::new(4, Purpose::Segments, &[]);
            let sequences = singles(document, lengths, &mut draws);
            let tokens: Vec<u32> = sequences.iter().flat_map(|s| s.first.clone()).collect();
            assert_eq!(tokens, document.ids());
            assert!(
                sequences
                    .iter()
                    .all(|s| s.first.len() <= 28 && s.second.is_empty())
            );
        }
    }

    #[test]
    fn one_document_of_one_sentence_still_makes_an_example() {
        let documents = documents(1, 1, 10);
        let sequences = all_pairs(&documents, LONG);
        assert_eq!(sequences.len(), 1);
        assert_eq!(sequences[0].first, sequences[0].second);
    }
}

//! Masks for masked language modeling: n-grams of whole words, as in google-research/albert.
//!
//! Words are visited in random order. Each starts an n-gram of 1 to 3 words, with p(n) ∝ 1/n, which
//! is masked unless one of its tokens is already masked, until 15 % of the tokens are masked. 80 %
//! of the masked tokens become `[MASK]`, 10 % a random token, and 10 % stay unchanged.
//!
//! Source: google-research/albert b772393, `create_pretraining_data.py`,
//! `create_masked_lm_predictions`. Its `continue` for words that are already covered has no effect,
//! because it only ends the inner loop; the check after it gives the same masks.

use crate::draws::Draws;

/// The fraction of the masked tokens that become `[MASK]`.
const MASK_TOKEN: f64 = 0.8;

/// The fraction of the others that stay unchanged.
const KEPT: f64 = 0.5;

/// Masks are at most this share of the longest sequence, relative to the mask probability: 20 of
/// 128 tokens at 15 %.
const CAP: f64 = 20.0 / (128.0 * 0.15);

/// Punctuation that is a separate word, but does not start one within a longer piece. The
/// apostrophe, `<`, `=` and `>` are not in Google's list.
const PUNCTUATION: &str = "!\"#$%&()*+,-./:;?@[\\]^_`{|}~";

/// The information about a vocabulary that masking needs: the mask token and the pieces that start
/// a word.
#[derive(Debug, Clone)]
pub struct MaskVocabulary {
    /// The id of `[MASK]`.
    pub mask: u32,
    /// For each piece, true if it starts a word; others belong to the word before them.
    starts_word: Vec<bool>,
}

impl MaskVocabulary {
    /// Reads the pieces of a vocabulary in the order of their ids. It is WordPiece's if pieces start
    /// with `##` and none with `▁`.
    pub fn new<S: AsRef<str>>(mask: u32, pieces: impl IntoIterator<Item = S>) -> Self {
        let pieces: Vec<S> = pieces.into_iter().collect();
        let mut texts = pieces.iter().map(S::as_ref);
        let is_word_piece =
            texts.clone().any(continues_word) && !texts.any(|it| it.starts_with('▁'));
        let starts_word = |piece: &S| {
            if is_word_piece {
                !continues_word(piece.as_ref())
            } else {
                starts_word(piece.as_ref())
            }
        };
        Self {
            mask,
            starts_word: pieces.iter().map(starts_word).collect(),
        }
    }

    /// Returns the number of pieces.
    pub fn len(&self) -> usize {
        self.starts_word.len()
    }

    /// Returns true if there are no pieces.
    pub fn is_empty(&self) -> bool {
        self.starts_word.is_empty()
    }

    fn starts_word(&self, id: u32) -> bool {
        self.starts_word.get(id as usize).copied().unwrap_or(true)
    }
}

/// Returns true if a piece of WordPiece continues the word before it.
///
/// Source: `_is_start_piece_bert` of the same file.
fn continues_word(piece: &str) -> bool {
    piece.len() > 2 && piece.starts_with("##")
}

/// Returns true if a piece of SentencePiece starts a word: with `▁` or `<` at its start, a
/// punctuation character, and any piece with a character that is neither in [`PUNCTUATION`] nor one
/// of the letters a to z.
///
/// Source: `_is_start_piece_sp` of the same file.
fn starts_word(piece: &str) -> bool {
    let is_special = |c: char| PUNCTUATION.contains(c);
    let mut characters = piece.chars();
    match (characters.next(), characters.next()) {
        (Some('▁' | '<'), _) => true,
        (Some(only), None) if is_special(only) => true,
        _ => !piece
            .chars()
            .all(|c| is_special(c) || c.is_ascii_alphabetic()),
    }
}

/// The fraction of masked tokens and the length of masked n-grams.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskSettings {
    /// The fraction of the tokens that is masked, counting special tokens.
    pub probability: f64,
    /// The maximum length of an n-gram in words.
    pub max_ngram: usize,
    /// The maximum number of tokens in a sequence, which bounds the number of masks.
    pub max_length: usize,
}

impl MaskSettings {
    /// Returns the number of masks in a sequence of `tokens` tokens.
    ///
    /// Source: the same file, `num_to_predict`, with Python's rounding of halves to even.
    fn masked(&self, tokens: usize) -> usize {
        let most = (self.max_length as f64 * self.probability * CAP)
            .round()
            .max(1.0);
        let wanted = (tokens as f64 * self.probability)
            .round_ties_even()
            .max(1.0);
        wanted.min(most) as usize
    }
}

/// A masked token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask {
    /// Its position in the sequence.
    pub position: u32,
    /// The token that was there, to be predicted.
    pub label: u32,
}

/// Masks tokens of a sequence in place and returns them by position.
///
/// `is_special` reports the positions that are never masked: `[CLS]` and `[SEP]`.
pub fn mask(
    ids: &mut [u32],
    is_special: impl Fn(usize) -> bool,
    settings: &MaskSettings,
    vocabulary: &MaskVocabulary,
    draws: &mut Draws,
) -> Vec<Mask> {
    let words = words(ids, &is_special, vocabulary);
    let wanted = settings.masked(ids.len());
    let mut order: Vec<usize> = (0..words.len()).collect();
    draws.shuffle(&mut order);
    let mut labels: Vec<Option<u32>> = vec![None; ids.len()];
    let mut count = 0;
    for first in order {
        if count >= wanted {
            break;
        }
        let longest = settings.max_ngram.min(words.len() - first);
        let mut length = ngram(longest, draws);
        let tokens = |length: usize| {
            words[first..first + length]
                .iter()
                .map(Vec::len)
                .sum::<usize>()
        };
        while length > 1 && count + tokens(length) > wanted {
            length -= 1;
        }
        let positions = words[first..first + length].iter().flatten();
        let is_covered = positions
            .clone()
            .any(|&position| labels[position].is_some());
        if is_covered || count + tokens(length) > wanted {
            continue;
        }
        for &position in positions {
            labels[position] = Some(ids[position]);
            ids[position] = replacement(ids[position], vocabulary, draws);
            count += 1;
        }
    }
    let masks = labels.iter().enumerate().filter_map(|(position, label)| {
        Some(Mask {
            position: position as u32,
            label: (*label)?,
        })
    });
    masks.collect()
}

/// Returns the positions of each word.
fn words(
    ids: &[u32],
    is_special: &impl Fn(usize) -> bool,
    vocabulary: &MaskVocabulary,
) -> Vec<Vec<usize>> {
    let mut words: Vec<Vec<usize>> = Vec::new();
    let mut follows_special = true;
    for (position, &id) in ids.iter().enumerate() {
        if is_special(position) {
            follows_special = true;
            continue;
        }
        match words.last_mut() {
            // A word ends at `[SEP]`, even if the segment was cut within it.
            Some(word) if !vocabulary.starts_word(id) && !follows_special => word.push(position),
            _ => words.push(vec![position]),
        }
        follows_special = false;
    }
    words
}

/// Draws the length of an n-gram from 1 to `longest`: p(n) = (1/n) / (1 + 1/2 + … ).
pub(crate) fn ngram(longest: usize, draws: &mut Draws) -> usize {
    let total: f64 = (1..=longest).map(|n| 1.0 / n as f64).sum();
    let mut left = draws.unit() * total;
    for n in 1..longest {
        left -= 1.0 / n as f64;
        if left < 0.0 {
            return n;
        }
    }
    longest
}

fn replacement(id: u32, vocabulary: &MaskVocabulary, draws: &mut Draws) -> u32 {
    if draws.unit() < MASK_TOKEN {
        vocabulary.mask
    } else if draws.unit() < KEPT {
        id
    } else {
        draws.below(vocabulary.len()) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Purpose;

    const MASK: u32 = 4;
    const SETTINGS: MaskSettings = MaskSettings {
        probability: 0.15,
        max_ngram: 3,
        max_length: 128,
    };

    /// A vocabulary in which every third piece continues the word before it.
    fn vocabulary() -> MaskVocabulary {
        MaskVocabulary::new(
            MASK,
            (0..3000).map(|id| if id % 3 == 2 { "ing" } else { "▁go" }),
        )
    }

    fn sequence(place: u64) -> Vec<u32> {
        let mut draws = Draws::new(11, Purpose::Segments, &[place]);
        (0..128).map(|_| 10 + draws.below(2900) as u32).collect()
    }

    fn ends(position: usize) -> bool {
        matches!(position, 0 | 60 | 127)
    }

    #[test]
    fn words_of_sentencepiece_start_as_googles_script_has_it() {
        for start in [
            "▁the", "<unk>", ".", "é", "1990", "▁", "€", "[", "日本", "a1", "'s", "'",
        ] {
            assert!(starts_word(start), "{start}");
        }
        for inside in ["ing", "S", "##", "[MASK]", "..", "re-"] {
            assert!(!starts_word(inside), "{inside}");
        }
    }

    #[test]
    fn any_piece_of_wordpiece_without_its_mark_starts_a_word() {
        let pieces = ["view", "##ing", "S", "##", "#", "..", "##1", "1"];
        let vocabulary = MaskVocabulary::new(MASK, pieces);
        let starts: Vec<&str> = pieces
            .into_iter()
            .enumerate()
            .filter_map(|(id, piece)| vocabulary.starts_word(id as u32).then_some(piece))
            .collect();
        assert_eq!(starts, ["view", "S", "##", "#", "..", "1"]);
    }

    #[test]
    fn words_of_wordpiece_are_masked_one_by_one() {
        let vocabulary =
            MaskVocabulary::new(MASK, (0..3000).map(|id| if id == 7 { "##s" } else { "go" }));
        let settings = MaskSettings {
            max_ngram: 1,
            ..SETTINGS
        };
        let mut ids = sequence(1);
        let masks = mask(
            &mut ids,
            ends,
            &settings,
            &vocabulary,
            &mut Draws::new(2, Purpose::Masks, &[]),
        );
        assert_eq!(masks.len(), 19);
    }

    #[test]
    fn the_lengths_of_ngrams_are_6_3_and_2_elevenths() {
        const ROUNDS: usize = 110_000;
        let mut counts = [0usize; 4];
        for place in 0..ROUNDS as u64 {
            counts[ngram(3, &mut Draws::new(1, Purpose::Masks, &[place]))] += 1;
        }
        // Five standard deviations of the most frequent.
        for (n, expected) in [(1, 60_000), (2, 30_000), (3, 20_000)] {
            assert!(counts[n].abs_diff(expected) < 830, "{counts:?}");
        }
    }

    #[test]
    fn masked_stretches_are_whole_words_and_never_special_tokens() {
        let vocabulary = vocabulary();
        for place in 0..500 {
            let before = sequence(place);
            let mut ids = before.clone();
            let mut draws = Draws::new(2, Purpose::Masks, &[place]);
            let masks = mask(&mut ids, ends, &SETTINGS, &vocabulary, &mut draws);
            let is_masked = |position: usize| masks.iter().any(|m| m.position as usize == position);
            for m in &masks {
                assert_eq!(m.label, before[m.position as usize]);
                assert!(!ends(m.position as usize));
            }
            for (position, &id) in before.iter().enumerate().take(128).skip(1) {
                let goes_on = !ends(position) && !ends(position - 1) && !vocabulary.starts_word(id);
                if goes_on {
                    assert_eq!(is_masked(position), is_masked(position - 1), "{position}");
                }
            }
            let changed = (0..128).filter(|&i| ids[i] != before[i]);
            assert!(changed.into_iter().all(is_masked));
        }
    }

    #[test]
    fn fifteen_percent_are_masked_and_at_most_20_of_128() {
        for (tokens, expected) in [(128, 19), (140, 20), (10, 2), (3, 1), (30, 4), (50, 8)] {
            assert_eq!(SETTINGS.masked(tokens), expected, "{tokens}");
        }
        let long = MaskSettings {
            max_length: 512,
            ..SETTINGS
        };
        assert_eq!(long.masked(512), 77);
        let vocabulary = MaskVocabulary::new(MASK, (0..3000).map(|_| "▁go"));
        let mut draws = Draws::new(2, Purpose::Masks, &[]);
        assert_eq!(
            mask(&mut sequence(1), ends, &SETTINGS, &vocabulary, &mut draws).len(),
            19
        );
    }

    #[test]
    fn eight_of_ten_become_mask_one_stays_and_one_is_random() {
        let vocabulary = vocabulary();
        let (mut total, mut masked, mut kept) = (0usize, 0usize, 0usize);
        for place in 0..2000 {
            let mut ids = sequence(place);
            let mut draws = Draws::new(3, Purpose::Masks, &[place]);
            for m in mask(&mut ids, ends, &SETTINGS, &vocabulary, &mut draws) {
                total += 1;
                masked += usize::from(ids[m.position as usize] == MASK);
                kept += usize::from(ids[m.position as usize] == m.label);
            }
        }
        let near = |count: usize, share: f64| {
            let expected = total as f64 * share;
            let deviation = (expected * (1.0 - share)).sqrt();
            (count as f64 - expected).abs() < 5.0 * deviation
        };
        assert!(near(masked, 0.8), "{masked} of {total}");
        assert!(near(kept, 0.1), "{kept} of {total}");
        assert!(near(total - masked - kept, 0.1));
    }

    #[test]
    fn a_text_of_one_long_word_is_left_without_masks() {
        let vocabulary = MaskVocabulary::new(MASK, (0..100).map(|_| "ing"));
        let mut ids: Vec<u32> = (10..50).collect();
        let mut draws = Draws::new(4, Purpose::Masks, &[]);
        assert!(mask(&mut ids, |_| false, &SETTINGS, &vocabulary, &mut draws).is_empty());
    }
}

//! The tokens of a text, in one pass through the network or in one for each window.

use std::borrow::Cow;

use super::TruncationSide;
use super::windows::{Windowed, Windows};
use crate::pooling::{Occurrence, Pass};
use crate::sequence::Sequence;
use crate::tokenizer::TokenIds;
use crate::{Error, Result, Tokenizer};

/// The tokens of a text, in passes through the network.
#[derive(Debug)]
pub(super) enum Passes {
    /// One pass, of the whole text or of its beginning or end.
    Whole(TokenIds),
    /// One pass for each window.
    Windowed(Box<Windowed>),
}

impl Passes {
    /// Tokenizes a text or a pair; one that is too long is truncated, or divided if `windows` is
    /// set.
    pub(super) fn new(
        tokenizer: &Tokenizer,
        (text, pair): (&str, Option<&str>),
        max_length: usize,
        windows: Option<&Windows>,
        truncation: TruncationSide,
    ) -> Result<Self> {
        let cut = tokenizer.encode_ids(text, pair, max_length)?;
        match windows {
            Some(windows) if cut.truncated => {
                let room = windows.room(tokenizer, max_length)?;
                let sequence = Sequence::new(tokenizer, text, None)?;
                Ok(Self::Windowed(Box::new(Windowed::new(
                    sequence, room, windows,
                ))))
            }
            None if cut.truncated && truncation == TruncationSide::Left => {
                let sequence = Sequence::new(tokenizer, text, pair)?;
                Ok(Self::Whole(sequence.truncated_left(max_length)))
            }
            _ => Ok(Self::Whole(cut)),
        }
    }

    /// Puts special tokens around the ids of a text, unless it has them, and truncates it.
    pub(super) fn from_ids(
        tokenizer: &Tokenizer,
        ids: &[u32],
        vocab_size: usize,
        max_length: usize,
        truncation: TruncationSide,
    ) -> Result<Self> {
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
            return Err(Error::TokenId { id, vocab_size });
        }
        let frame = tokenizer.frame(false)?;
        let Some([before, after]) = frame.as_ref().map(|it| it.around.as_slice()) else {
            let why = "the tokenizer puts special tokens inside texts, where token ids cannot have \
                       them";
            return Err(Error::Tokenize(why.into()));
        };
        let [first, last] = [before, after].map(|it| it.iter().map(|token| token.0));
        let (first, last): (Vec<u32>, Vec<u32>) = (first.collect(), last.collect());
        let bare = ids
            .strip_prefix(first.as_slice())
            .and_then(|ids| ids.strip_suffix(last.as_slice()))
            .unwrap_or(ids);
        let room = tokenizer.room(max_length, false)?;
        let kept = match truncation {
            _ if bare.len() <= room => bare,
            TruncationSide::Right => &bare[..room],
            TruncationSide::Left => &bare[bare.len() - room..],
        };
        let type_id = frame.as_ref().map_or(0, |frame| frame.types[0]);
        let of_kept = kept.iter().map(|&id| (id, type_id));
        let framed = before.iter().copied().chain(of_kept);
        let framed = framed.chain(after.iter().copied());
        let (ids, type_ids) = framed.map(|(id, kind)| (id, u32::from(kind))).unzip();
        Ok(Self::Whole(TokenIds {
            ids,
            type_ids,
            truncated: kept.len() < bare.len(),
        }))
    }

    /// Returns the number of passes.
    pub(super) fn passes(&self) -> usize {
        match self {
            Self::Whole(_) => 1,
            Self::Windowed(windowed) => windowed.count(),
        }
    }

    /// Returns the number of tokens that enter the network in a pass.
    pub(super) fn pass_len(&self, pass: usize) -> usize {
        match self {
            Self::Whole(tokens) => tokens.ids.len(),
            Self::Windowed(windowed) => windowed.window_len(pass),
        }
    }

    /// Returns the tokens that enter the network in a pass.
    pub(super) fn pass(&self, pass: usize) -> Cow<'_, TokenIds> {
        match self {
            Self::Whole(tokens) => Cow::Borrowed(tokens),
            Self::Windowed(windowed) => Cow::Owned(windowed.tokens(pass)),
        }
    }

    /// Returns the places and weights of a pass's tokens, and its share. `skipped` tokens at the
    /// start of the text are not pooled.
    pub(super) fn places(&self, pass: usize, skipped: usize) -> Pass {
        let (occurrences, share) = match self {
            Self::Whole(tokens) => {
                let positions = 0..tokens.ids.len();
                (
                    positions
                        .map(|position| Occurrence {
                            position,
                            weight: 1.0,
                        })
                        .collect(),
                    1.0,
                )
            }
            Self::Windowed(windowed) => windowed.occurrences(pass),
        };
        Pass {
            occurrences,
            share,
            tokens: self.ids().len(),
            skipped,
        }
    }

    /// Returns the ids of the part of the text that is read.
    pub(super) fn ids(&self) -> &[u32] {
        match self {
            Self::Whole(tokens) => &tokens.ids,
            Self::Windowed(windowed) => windowed.ids(),
        }
    }

    /// Returns true if the text was truncated.
    pub(super) fn truncated(&self) -> bool {
        matches!(self, Self::Whole(tokens) if tokens.truncated)
    }

    /// Returns the number of tokens that enter the network, over all passes.
    pub(super) fn entered(&self) -> usize {
        (0..self.passes()).map(|pass| self.pass_len(pass)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFiles, TokenizerOptions};

    #[test]
    fn ids_get_special_tokens_once_and_are_truncated_on_either_side() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny");
        let files = ModelFiles::from_dir(folder).unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let whole = tokenizer
            .encode("the river and the town", None, None)
            .unwrap()
            .ids;
        let bare = &whole[1..whole.len() - 1];
        let read = |ids: &[u32], max_length, side| {
            Passes::from_ids(&tokenizer, ids, 1000, max_length, side)
        };
        for ids in [bare, &whole] {
            let text = read(ids, 64, TruncationSide::Right).unwrap();
            assert_eq!((text.ids(), text.truncated()), (&whole[..], false));
        }
        let (first, last) = (whole[0], whole[whole.len() - 1]);
        for (side, kept) in [
            (TruncationSide::Right, &bare[..2]),
            (TruncationSide::Left, &bare[bare.len() - 2..]),
        ] {
            let text = read(bare, 4, side).unwrap();
            assert_eq!(text.ids(), [&[first], kept, &[last]].concat());
            assert!(text.truncated());
        }
        assert!(matches!(
            read(&[1000], 64, TruncationSide::Right),
            Err(Error::TokenId {
                id: 1000,
                vocab_size: 1000
            })
        ));
    }
}

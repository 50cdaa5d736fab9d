//! The tokens of a text in few bytes, for texts of any length, and the special tokens around texts.

use super::Encoding;

/// The tokens of one text, special tokens included, in 12 bytes each: an
/// [`Encoding`](super::Encoding) without the pieces, which follow from the ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CompactEncoding {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Half-open ranges in characters; (0, 0) for the tokens added around the text.
    pub offsets: Vec<(u32, u32)>,
    /// The number of tokens added before the text.
    pub before: usize,
    /// The number of tokens added after it.
    pub after: usize,
}

impl CompactEncoding {
    /// Returns true for the tokens added around the text.
    pub fn is_special(&self, index: usize) -> bool {
        index < self.before || index >= self.ids.len() - self.after
    }
}

/// The special tokens around a text or a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The ids and types of the special tokens before the first text, after it, and after the second
    /// text, if there is one.
    pub(crate) around: Vec<Vec<(u32, u8)>>,
    /// The type of the tokens of either text.
    pub(crate) types: [u8; 2],
}

impl Frame {
    /// Reads the special tokens off the encoding of a sample: one text, or two, of `tokens` tokens
    /// each. `None` if there are special tokens inside of a text, or its tokens differ in type.
    pub(super) fn from_sample(sample: &Encoding, tokens: usize) -> Option<Self> {
        let count = sample.ids.len();
        let inside: Vec<usize> = (0..count)
            .filter(|&index| sample.special_tokens_mask[index] == 0)
            .collect();
        if tokens == 0 || inside.is_empty() || !inside.len().is_multiple_of(tokens) {
            return None;
        }
        let (mut around, mut types, mut end) = (Vec::new(), [0; 2], 0);
        let special = |range: std::ops::Range<usize>| -> Vec<(u32, u8)> {
            let token = |index: usize| (sample.ids[index], sample.type_ids[index] as u8);
            range.map(token).collect()
        };
        for (text, indices) in inside.chunks(tokens).enumerate() {
            let (first, last) = (indices[0], indices[tokens - 1]);
            let type_id = sample.type_ids[first];
            let is_uniform = sample.type_ids[first..=last]
                .iter()
                .all(|&it| it == type_id);
            if last - first + 1 != tokens || !is_uniform {
                return None;
            }
            around.push(special(end..first));
            *types.get_mut(text)? = type_id as u8;
            end = last + 1;
        }
        around.push(special(end..count));
        Some(Self { around, types })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tokens: &[(u32, u32, u32)]) -> Encoding {
        Encoding {
            ids: tokens.iter().map(|it| it.0).collect(),
            type_ids: tokens.iter().map(|it| it.1).collect(),
            special_tokens_mask: tokens.iter().map(|it| it.2).collect(),
            ..Encoding::default()
        }
    }

    #[test]
    fn a_frame_is_what_is_around_the_texts() {
        let pair = sample(&[(2, 0, 1), (9, 0, 0), (3, 0, 1), (9, 1, 0), (3, 1, 1)]);
        let frame = Frame::from_sample(&pair, 1).unwrap();
        assert_eq!(frame.around, [vec![(2, 0)], vec![(3, 0)], vec![(3, 1)]]);
        assert_eq!(frame.types, [0, 1]);
        let bare = Frame::from_sample(&sample(&[(8, 0, 0), (9, 0, 0)]), 2).unwrap();
        assert_eq!(bare.around, [vec![], vec![]]);
    }

    #[test]
    fn a_template_that_mixes_types_or_tokens_has_no_frame() {
        let mixed = sample(&[(2, 0, 1), (8, 0, 0), (9, 1, 0), (3, 0, 1)]);
        let inside = sample(&[(8, 0, 0), (3, 0, 1), (9, 0, 0)]);
        let thrice = sample(&[(9, 0, 0), (9, 0, 0), (9, 0, 0)]);
        assert_eq!(Frame::from_sample(&mixed, 2), None);
        assert_eq!(Frame::from_sample(&inside, 2), None);
        assert_eq!(Frame::from_sample(&thrice, 1), None);
        assert_eq!(Frame::from_sample(&sample(&[(2, 0, 1)]), 0), None);
    }
}

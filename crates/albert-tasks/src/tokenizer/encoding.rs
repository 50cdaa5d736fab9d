//! The tokens of a text.

use serde::Serialize;

/// The tokens of a text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Encoding {
    /// Token ids, special tokens included.
    pub ids: Vec<u32>,
    /// The vocabulary's piece of each id.
    pub pieces: Vec<String>,
    /// 0 for the first text, 1 for the second.
    pub type_ids: Vec<u32>,
    /// 1 for the tokens added around the text.
    pub special_tokens_mask: Vec<u32>,
    /// Half-open ranges in characters (Unicode scalar values), each text of a pair in itself; (0,
    /// 0) for the tokens added around the text.
    pub offsets: Vec<(usize, usize)>,
    /// True if the text was truncated.
    #[serde(skip)]
    pub truncated: bool,
}

/// The parts of an encoding that the network needs.
#[derive(Debug, Clone)]
pub(crate) struct TokenIds {
    pub(crate) ids: Vec<u32>,
    pub(crate) type_ids: Vec<u32>,
    pub(crate) truncated: bool,
}

impl TokenIds {
    /// Replaces the token at `position` by `ids`, which get its type.
    pub(crate) fn replace(&mut self, position: usize, ids: &[u32]) {
        let type_id = self.type_ids[position];
        self.ids.splice(position..=position, ids.iter().copied());
        self.type_ids
            .splice(position..=position, ids.iter().map(|_| type_id));
    }
}

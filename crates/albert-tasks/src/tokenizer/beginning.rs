//! The beginning of a text that is far longer than a model reads.

use super::Tokenizer;
use crate::Result;

impl Tokenizer {
    /// Returns a prefix of a text that is far longer than `max_length` tokens, such that the first
    /// `max_length` tokens are those of the whole text. Other texts are returned unchanged.
    ///
    /// Tokenizing a book on one line would otherwise take seconds and gigabytes, only to discard
    /// most tokens. The beginning ends before a space, where no token of the vocabulary is cut.
    /// Without a space, it ends at a character: every tokenization of the whole text continues from
    /// one of the last boundaries before that, so the beginning is taken only if all of these
    /// agree.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    pub(crate) fn beginning<'a>(&self, text: &'a str, max_length: usize) -> Result<&'a str> {
        /// No language has tokens this long on average.
        const BYTES_A_TOKEN: usize = 64;
        /// Characters of the longest piece that a boundary can fall into: SentencePiece trains
        /// pieces of 16 at most.
        const LONGEST_PIECE: usize = 24;
        let limit = max_length.saturating_mul(BYTES_A_TOKEN);
        if text.len() <= limit {
            return Ok(text);
        }
        let Some(end) = (0..=limit).rev().find(|&end| text.is_char_boundary(end)) else {
            return Ok(text);
        };
        let ids = |beginning: &str| self.engine.encode_ids(beginning, None, max_length);
        if let Some(space) = text[..end].rfind(char::is_whitespace)
            && ids(&text[..space])?.truncated
        {
            return Ok(&text[..space]);
        }
        let expected = ids(&text[..end])?;
        let ends = text[..end].char_indices().rev().take(LONGEST_PIECE);
        for (shorter, _) in ends {
            let found = ids(&text[..shorter])?;
            if !found.truncated || found.ids != expected.ids {
                return Ok(text);
            }
        }
        Ok(&text[..end])
    }

    /// Returns prefixes of a pair of texts with which the pair, truncated to `max_length` tokens, is
    /// that of the whole texts.
    ///
    /// The longer text keeps the odd token. If the prefixes do not show which one that is, the
    /// tokens of the whole texts are counted, and the prefix of the shorter text is shortened.
    ///
    /// # Errors
    /// If the tokenizer refuses a text.
    pub(super) fn beginnings<'a>(
        &self,
        texts: [&'a str; 2],
        max_length: usize,
    ) -> Result<[&'a str; 2]> {
        let begun = [
            self.beginning(texts[0], max_length)?,
            self.beginning(texts[1], max_length)?,
        ];
        let is_cut = [0, 1].map(|side| begun[side].len() < texts[side].len());
        let room = self.room(max_length, true)?;
        if is_cut == [false, false] || room.is_multiple_of(2) {
            return Ok(begun);
        }
        let is_first_longer = |[first, second]: [&str; 2]| -> Result<bool> {
            Ok(self.count(first)? > self.count(second)?)
        };
        let seems_longer = is_first_longer(begun)?;
        // A prefix with more tokens than the other text shows that its text has more.
        let is_shown = is_cut == [seems_longer, !seems_longer];
        if is_shown || is_first_longer(texts)? == seems_longer {
            return Ok(begun);
        }
        // Both prefixes have more tokens than there is room for; one with as many as fit is shorter.
        let [first, second] = begun;
        let shortened = if seems_longer {
            self.shortened(first, room)?.map(|first| [first, second])
        } else {
            self.shortened(second, room)?.map(|second| [first, second])
        };
        Ok(shortened.unwrap_or(texts))
    }

    /// Returns a prefix of about `count` tokens, the first half of which are those of `text`; `None`
    /// if there is no such prefix at the end of a token.
    fn shortened<'a>(&self, text: &'a str, count: usize) -> Result<Option<&'a str>> {
        let (mut ids, mut end) = (Vec::new(), 0);
        self.engine.each_token(text, &mut |id, (_, to)| {
            if ids.len() < count {
                end = to as usize;
            }
            ids.push(id);
        })?;
        let end = text
            .char_indices()
            .nth(end)
            .map_or(text.len(), |(at, _)| at);
        let found = self.engine.ids(&text[..end])?;
        let half = count / 2 + 1;
        let is_same = found.len() <= count && found.get(..half) == ids.get(..half);
        Ok(is_same.then_some(&text[..end]))
    }

    /// Returns the number of tokens of a text, without special ones.
    fn count(&self, text: &str) -> Result<usize> {
        let mut count = 0;
        self.engine.each_token(text, &mut |_, _| count += 1)?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ModelFiles, TokenizerOptions};

    #[test]
    fn a_pair_of_far_too_long_texts_has_the_tokens_of_the_whole_texts() {
        for name in ["sentencepiece", "wordpiece"] {
            let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tokenizers");
            let files = ModelFiles::from_dir(format!("{fixtures}/{name}")).unwrap();
            let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
            let texts = [
                "a b c d ".repeat(1_000),
                "a b c d ".repeat(1_001),
                // Below the length at which a text is cut.
                "a b c d ".repeat(120),
                "the river runs through the old town ".repeat(300),
                "theriverruns,through1,000towns".repeat(300),
            ];
            for (first, second) in texts.iter().flat_map(|a| texts.iter().map(move |b| (a, b))) {
                for max_length in [16, 17, 18, 19] {
                    let begun = tokenizer.beginnings([first, second], max_length).unwrap();
                    let found = tokenizer
                        .encode_ids(first, Some(second), max_length)
                        .unwrap();
                    let expected = tokenizer
                        .engine
                        .encode_ids(first, Some(second), max_length)
                        .unwrap();
                    assert_eq!(found.ids, expected.ids, "{name}, {max_length}: {begun:?}");
                    assert_eq!(found.type_ids, expected.type_ids);
                    assert!(found.truncated);
                    assert!(begun.iter().all(|text| text.len() < 2_000));
                }
            }
        }
    }
}

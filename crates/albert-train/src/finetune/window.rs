//! A question with a part of its context that fits the network.

use std::ops::Range;

use albert_tasks::Tokenizer;

use super::options::ExampleOptions;
use crate::error::{Error, Result};

/// A sequence of a question and a part of its context.
#[derive(Debug, Clone)]
pub(super) struct Window {
    pub(super) ids: Vec<u32>,
    pub(super) types: Vec<u32>,
    /// The tokens of the context.
    pub(super) context: Range<usize>,
    /// The characters of each of these tokens.
    pub(super) characters: Vec<(u32, u32)>,
}

impl Window {
    /// Returns the first and the last token of a range of characters that lies within the window.
    pub(super) fn span(&self, start: usize, end: usize) -> Option<(usize, usize)> {
        let (first, last) = (self.characters.first()?, self.characters.last()?);
        if (first.0 as usize) > start || (last.1 as usize) < end {
            return None;
        }
        // Source: transformers 4.46.3, `run_qa.py`, `prepare_train_features`.
        let begins = |token: &(u32, u32)| token.0 as usize <= start;
        let ends = |token: &(u32, u32)| token.1 as usize >= end;
        let first = self.characters.iter().rposition(begins)?;
        let last = self.characters.iter().position(ends)?;
        // A token that covers only a part of a character's normalized form may have no width.
        let last = last.max(first);
        Some((self.context.start + first, self.context.start + last))
    }
}

/// Divides a context into windows, each of which begins with the last `stride` tokens of the one
/// before.
///
/// # Errors
/// If the question leaves no room for the context.
pub(super) fn windows(
    tokenizer: &Tokenizer,
    question: &str,
    context: &str,
    options: &ExampleOptions,
) -> Result<Vec<Window>> {
    // As transformers does: space before a question would take the room of the context.
    let question = question.trim_start();
    let asked = tokenizer.ids_without_special_tokens(question)?.len();
    let encoding = tokenizer.encode(question, Some(context), None)?;
    let text: Vec<usize> = (0..encoding.ids.len())
        .filter(|token| encoding.special_tokens_mask[*token] == 0)
        .collect();
    let given = &text[asked..];
    let fixed = encoding.ids.len() - given.len();
    let stride = options.shared();
    let room = options.length().saturating_sub(fixed);
    if room <= stride && given.len() > room {
        return Err(Error::Setting {
            name: "max_length",
            expected: format!(
                "more than {} tokens, for the question `{question}` and a stride of {}",
                fixed + stride,
                stride
            ),
            found: options.length().to_string(),
        });
    }
    let (before, after) = match (given.first(), given.last()) {
        (Some(first), Some(last)) => (*first, last + 1),
        _ => (encoding.ids.len() - 1, encoding.ids.len() - 1),
    };
    let mut windows = Vec::new();
    let mut start = 0;
    loop {
        let end = given.len().min(start + room);
        let part = before + start..before + end;
        let joined =
            |values: &[u32]| [&values[..before], &values[part.clone()], &values[after..]].concat();
        let characters = encoding.offsets[part.clone()].iter();
        windows.push(Window {
            ids: joined(&encoding.ids),
            types: joined(&encoding.type_ids),
            context: before..before + part.len(),
            characters: characters
                .map(|(start, end)| (*start as u32, *end as u32))
                .collect(),
        });
        if end == given.len() {
            return Ok(windows);
        }
        start = end - stride;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokenizer() -> Tokenizer {
        let dir = tempfile::tempdir().unwrap();
        let pieces = [
            "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "who", "?",
        ];
        std::fs::write(dir.path().join("vocab.txt"), pieces.join("\n")).unwrap();
        let files = albert_tasks::ModelFiles::from_dir(dir.path()).unwrap();
        Tokenizer::load(&files, &albert_tasks::TokenizerOptions::default()).unwrap()
    }

    fn cut(context: &str, max_length: usize, stride: usize) -> Result<Vec<Window>> {
        let options = ExampleOptions {
            max_length: Some(max_length),
            stride: Some(stride),
            ..ExampleOptions::default()
        };
        windows(&tokenizer(), " who?", context, &options)
    }

    #[test]
    fn windows_share_the_stride_and_hold_the_question() {
        // `[CLS] who ? [SEP] … [SEP]` leaves room for 3 tokens.
        let found = cut("a b c d e", 8, 1).unwrap();
        let ids: Vec<&[u32]> = found.iter().map(|window| &window.ids[4..]).collect();
        assert_eq!(ids, [&[5, 6, 7, 3], &[7, 8, 9, 3]]);
        assert_eq!(found[1].ids[..4], [2, 10, 11, 3]);
        assert_eq!(found[1].characters, [(4, 5), (6, 7), (8, 9)]);
    }

    #[test]
    fn an_answer_is_found_in_the_windows_that_hold_all_of_it() {
        let found = cut("a b c d e", 8, 1).unwrap();
        assert_eq!(found[0].span(2, 5), Some((5, 6)));
        assert_eq!(found[1].span(2, 5), None);
        assert_eq!(found[1].span(4, 7), Some((4, 5)));
    }

    #[test]
    fn a_question_without_room_for_the_context_is_refused() {
        let error = cut("a b c d e", 6, 1).unwrap_err().to_string();
        assert!(error.contains("more than 6 tokens"), "{error}");
        assert_eq!(cut("", 6, 1).unwrap().len(), 1);
    }
}

//! Splits a text into sentences.

use unicode_segmentation::UnicodeSegmentation as _;

/// Splits a text into sentences, without the spaces around them.
///
/// The rules are Unicode's (UAX 29): a full stop, question or exclamation mark before a space ends
/// a sentence, unless a lower-case letter follows; so does the end of a line. They do not recognize
/// abbreviations: `Dr. Smith` is two sentences.
///
/// ```
/// let sentences = albert_tasks::split_sentences("It rained, e.g. on Monday. “Really?” Yes, 3.5 mm.");
/// assert_eq!(sentences, ["It rained, e.g. on Monday.", "“Really?”", "Yes, 3.5 mm."]);
/// ```
pub fn split_sentences(text: &str) -> Vec<&str> {
    text.split_sentence_bounds()
        .map(str::trim)
        .filter(|sentence| !sentence.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_end_sentences_and_blank_lines_are_none() {
        assert_eq!(
            split_sentences("One line\nand  another\r\n\r\n  third. "),
            ["One line", "and  another", "third."]
        );
    }

    #[test]
    fn a_text_without_a_full_stop_is_a_sentence_and_an_empty_one_has_none() {
        assert_eq!(split_sentences("no end"), ["no end"]);
        assert_eq!(
            split_sentences("東京は雨。大阪は晴れ。"),
            ["東京は雨。", "大阪は晴れ。"]
        );
        assert!(split_sentences(" \n ").is_empty());
    }
}

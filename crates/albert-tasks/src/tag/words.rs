//! A text that is given as words.

/// The words of a text, joined by spaces.
#[derive(Debug)]
pub(super) struct Words {
    text: String,
    /// The offset where each word ends, in characters.
    ends: Vec<usize>,
}

impl Words {
    pub(super) fn new<S: AsRef<str>>(words: &[S]) -> Self {
        let mut text = String::new();
        let (mut ends, mut end) = (Vec::with_capacity(words.len()), 0);
        for (index, word) in words.iter().enumerate() {
            if index > 0 {
                text.push(' ');
                end += 1;
            }
            text.push_str(word.as_ref());
            end += word.as_ref().chars().count();
            ends.push(end);
        }
        Self { text, ends }
    }

    /// Returns the words joined by spaces.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the index of the word that holds the character at `start`; a space between words
    /// belongs to the word after it.
    pub(super) fn at(&self, start: usize) -> usize {
        let word = self.ends.partition_point(|&end| end <= start);
        word.min(self.ends.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_belong_to_words_and_a_space_to_the_word_after_it() {
        let words = Words::new(&["né", "New York", "", "!"]);
        assert_eq!(words.text(), "né New York  !");
        assert_eq!(
            [0, 1, 2, 3, 7, 10, 13].map(|at| words.at(at)),
            [0, 0, 1, 1, 1, 1, 3]
        );
    }

    #[test]
    fn an_offset_beyond_the_text_is_the_last_word() {
        assert_eq!(Words::new(&["a", "b"]).at(9), 1);
    }
}

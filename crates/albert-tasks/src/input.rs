//! Inputs of a task: a text, or a pair of texts.

use std::borrow::Cow;

/// A text, or a pair of texts, that a task reads.
///
/// Strings are single texts. A tuple is a pair; with an [`Option`] as its second part, a slice can
/// hold single texts and pairs:
///
/// ```
/// use albert_tasks::TextInput;
///
/// let inputs = [("A man is playing.", None), ("Does he play?", Some("Yes."))];
/// assert_eq!(inputs[0].second(), None);
/// assert_eq!(inputs[1].second(), Some("Yes."));
/// assert_eq!("A text.".first(), "A text.");
/// ```
pub trait TextInput {
    /// Returns the text, or the first text of a pair.
    fn first(&self) -> &str;

    /// Returns the second text of a pair.
    fn second(&self) -> Option<&str> {
        None
    }
}

impl TextInput for str {
    fn first(&self) -> &str {
        self
    }
}

impl TextInput for String {
    fn first(&self) -> &str {
        self
    }
}

impl TextInput for Cow<'_, str> {
    fn first(&self) -> &str {
        self
    }
}

impl<T: TextInput + ?Sized> TextInput for &T {
    fn first(&self) -> &str {
        (**self).first()
    }

    fn second(&self) -> Option<&str> {
        (**self).second()
    }
}

impl<S: AsRef<str>, P: SecondText> TextInput for (S, P) {
    fn first(&self) -> &str {
        self.0.as_ref()
    }

    fn second(&self) -> Option<&str> {
        self.1.text()
    }
}

/// The second part of a pair: a text, or an [`Option`] of one.
pub trait SecondText {
    /// Returns the text, if there is one.
    fn text(&self) -> Option<&str>;
}

impl SecondText for str {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl SecondText for String {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl SecondText for Cow<'_, str> {
    fn text(&self) -> Option<&str> {
        Some(self)
    }
}

impl<T: SecondText + ?Sized> SecondText for &T {
    fn text(&self) -> Option<&str> {
        (**self).text()
    }
}

impl<T: SecondText> SecondText for Option<T> {
    fn text(&self) -> Option<&str> {
        self.as_ref().and_then(SecondText::text)
    }
}

/// Returns the bytes of an input.
pub(crate) fn bytes(input: &impl TextInput) -> usize {
    input.first().len() + input.second().map_or(0, str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(input: impl TextInput) -> (String, Option<String>) {
        (input.first().into(), input.second().map(String::from))
    }

    #[test]
    fn strings_are_single_texts_and_tuples_are_pairs() {
        let pair = ("a".to_string(), Some("b".to_string()));
        assert_eq!(parts("a"), ("a".into(), None));
        assert_eq!(parts(String::from("a")), ("a".into(), None));
        assert_eq!(parts(Cow::Borrowed("a")), ("a".into(), None));
        assert_eq!(parts(("a", "b")), pair);
        assert_eq!(parts((String::from("a"), &String::from("b"))), pair);
        assert_eq!(parts(("a", Some("b"))), pair);
        assert_eq!(parts(("a", None::<&str>)), ("a".into(), None));
    }
}

//! Parts of a long text that are tokenized one after another, so that memory holds the
//! intermediate forms of one part and not of the whole.

/// The least length in bytes of every part but the last.
pub(super) const PART_BYTES: usize = 1 << 16;

/// The ASCII bytes on either side of a space that a text may be divided at.
pub(super) const CONTEXT_BYTES: usize = 16;

/// Returns the parts of a text: it is divided at single spaces, which belong to no part, where
/// `divides` holds for the text around the space, [`CONTEXT_BYTES`] on either side.
///
/// Around such a space are only ASCII characters without quotes, and a letter or a digit on either
/// side, so that no normalization joins the two sides.
pub(super) fn parts<'a>(
    text: &'a str,
    divides: impl Fn(&str, &str) -> bool + 'a,
) -> impl Iterator<Item = &'a str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match division(text, &divides) {
            Some(space) => {
                rest = Some(&text[space + 1..]);
                Some(&text[..space])
            }
            None => rest.take(),
        }
    })
}

/// Returns the place of the first space after [`PART_BYTES`] that a text may be divided at.
fn division(text: &str, divides: impl Fn(&str, &str) -> bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_plain = |byte: &u8| byte.is_ascii() && !matches!(byte, b'`' | b'\'');
    let last = bytes.len().checked_sub(CONTEXT_BYTES + 1)?;
    (PART_BYTES..last).find(|&at| {
        bytes[at] == b' '
            && bytes[at - 1].is_ascii_alphanumeric()
            && bytes[at + 1].is_ascii_alphanumeric()
            && bytes[at - CONTEXT_BYTES..=at + CONTEXT_BYTES]
                .iter()
                .all(is_plain)
            && divides(
                &text[at - CONTEXT_BYTES..at],
                &text[at + 1..=at + CONTEXT_BYTES],
            )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_with_spaces_between_them_are_the_text() {
        let text =
            "the river runs, 東京 'and' the old town of the long winter sleeps ".repeat(12_000);
        let parts: Vec<&str> = parts(&text, |_, _| true).collect();
        assert!(parts.len() > 5);
        assert_eq!(parts.join(" "), text);
        let (_, but_last) = parts.split_last().unwrap();
        assert!(but_last.iter().all(|part| part.len() >= PART_BYTES));
        let ends = but_last.iter().map(|part| &part[part.len() - 1..]);
        assert!(
            ends.into_iter()
                .all(|end| end.as_bytes()[0].is_ascii_alphanumeric())
        );
    }

    #[test]
    fn a_text_that_cannot_be_divided_is_one_part() {
        for text in ["x".repeat(200_000), "東京 ".repeat(50_000), String::new()] {
            assert_eq!(
                parts(&text, |_, _| true).collect::<Vec<_>>(),
                [text.as_str()]
            );
        }
        let text = "the river ".repeat(20_000);
        assert_eq!(parts(&text, |_, _| false).count(), 1);
    }
}

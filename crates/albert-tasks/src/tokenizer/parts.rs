//! Parts of a long text that are tokenized one after another, so that memory holds the
//! intermediate forms of one part and not of the whole.

/// The least length in bytes of every part but the last.
pub(super) const PART_BYTES: usize = 1 << 16;

/// The number of characters on either side of a division that must be plain.
const CONTEXT: usize = 16;

/// The number of bytes that are passed over after a refused place, for each refusal before it.
///
/// To ask about a place costs as much as to tokenize a few words. Where a tokenizer refuses every
/// place, such as those between ideographs, the number of questions grows only with the square root
/// of the length.
const BYTES_PER_REFUSAL: usize = 64;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) text: &'a str,
    /// The number of characters of white space between this part and the next.
    pub(super) gap: u32,
}

/// A place where a text may be divided: after `left` and before `right`, with white space, or
/// nothing, between them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Division<'a> {
    pub(super) left: &'a str,
    pub(super) gap: &'a str,
    pub(super) right: &'a str,
}

/// Returns the parts of a text. It is divided where `divides` holds for the characters around a
/// place, up to [`CONTEXT`] on either side: at white space, which belongs to no part, or between two
/// ideographs.
///
/// Around such a place are only plain characters, and a letter or a digit on either side, so that no
/// normalization joins the two sides.
pub(super) fn parts<'a>(
    text: &'a str,
    divides: impl Fn(&Division<'_>) -> bool + 'a,
) -> impl Iterator<Item = Part<'a>> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        match first_division(text, &divides) {
            Some((end, gap)) => {
                rest = Some(&text[end + gap.len()..]);
                let gap = gap.chars().count() as u32;
                let text = &text[..end];
                Some(Part { text, gap })
            }
            None => rest.take().map(|text| Part { text, gap: 0 }),
        }
    })
}

/// Returns the end of the first part, and the white space after it.
fn first_division(text: &str, divides: impl Fn(&Division<'_>) -> bool) -> Option<(usize, &str)> {
    let start = (PART_BYTES..text.len()).find(|&at| text.is_char_boundary(at))?;
    let (mut next, mut refusals) = (start, 0);
    text[start..].char_indices().find_map(|(offset, c)| {
        let end = start + offset;
        if end < next || !is_space(c) && !is_ideograph(c) {
            return None;
        }
        // This comes first, because it holds only at the beginning of a run of white space, whose
        // length is then counted once.
        let left = plain(text[..end].chars().rev())?;
        let rest = &text[end..];
        let gap = &rest[..rest.len() - rest.trim_start_matches(is_space).len()];
        let right = plain(text[end + gap.len()..].chars())?;
        let division = Division {
            left: &text[end - left..end],
            gap,
            right: &text[end + gap.len()..end + gap.len() + right],
        };
        if gap.is_empty() && !division.left.ends_with(is_ideograph) {
            return None;
        }
        if divides(&division) {
            return Some((end, gap));
        }
        refusals += 1;
        next = end + refusals * BYTES_PER_REFUSAL;
        None
    })
}

/// Returns the number of bytes of [`CONTEXT`] plain characters, the first of which is a letter or a
/// digit.
fn plain(chars: impl Iterator<Item = char>) -> Option<usize> {
    let (mut bytes, mut count) = (0, 0);
    for c in chars.take(CONTEXT) {
        let is_letter = c.is_ascii_alphanumeric() || is_ideograph(c);
        let is_plain = is_letter || count > 0 && (is_mark(c) || is_space(c));
        if !is_plain {
            return None;
        }
        (bytes, count) = (bytes + c.len_utf8(), count + 1);
    }
    (count == CONTEXT).then_some(bytes)
}

/// Returns true for white space at which a text may be divided.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// Returns true for an ideograph that every normalization leaves as it is.
fn is_ideograph(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// Returns true for a character that does not join with what is next to it: punctuation, and kana.
fn is_mark(c: char) -> bool {
    c.is_ascii_graphic() && !matches!(c, '`' | '\'')
        || matches!(c, '、' | '。' | '，' | 'ー' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(parts: &[Part<'_>], text: &str) -> String {
        let mut joined = String::new();
        for part in parts {
            joined.push_str(part.text);
            let gap: String = text[joined.len()..]
                .chars()
                .take(part.gap as usize)
                .collect();
            joined.push_str(&gap);
        }
        joined
    }

    #[test]
    fn the_parts_with_the_space_between_them_are_the_text() {
        for sentence in [
            "the river runs, 東京 'and' the old town of the long winter sleeps ",
            "the river runs through the old town\r\n\r\nof the long winter sleeps\t",
            "the  river  runs  through  the  old  town  ",
            "東京都千代田区丸の内東京都千代田区丸内，東京都千代田区丸内東京都千代田区丸内。",
        ] {
            let text = sentence.repeat(12_000);
            let parts: Vec<Part<'_>> = parts(&text, |_| true).collect();
            assert!(parts.len() > 5, "{sentence}");
            assert_eq!(joined(&parts, &text), text);
            let (last, others) = parts.split_last().unwrap();
            assert_eq!(last.gap, 0);
            assert!(others.iter().all(|part| part.text.len() >= PART_BYTES));
            let mut ends = others
                .iter()
                .filter_map(|part| part.text.chars().next_back());
            assert!(ends.all(|end| end.is_ascii_alphanumeric() || is_ideograph(end)));
        }
    }

    #[test]
    fn a_division_has_plain_characters_around_it() {
        let text = "the river runs through the\n\nold town of the long winter ".repeat(3_000);
        let count = parts(&text, |division| {
            assert_eq!(division.left.chars().count(), CONTEXT);
            assert_eq!(division.right.chars().count(), CONTEXT);
            division.gap == "\n\n"
        })
        .count();
        assert!(count > 1);
    }

    #[test]
    fn a_text_that_cannot_be_divided_is_one_part() {
        for text in ["x".repeat(200_000), "é ".repeat(50_000), String::new()] {
            let parts: Vec<Part<'_>> = parts(&text, |_| true).collect();
            assert_eq!(
                parts,
                [Part {
                    text: &text,
                    gap: 0
                }]
            );
        }
        let text = "the river ".repeat(20_000);
        assert_eq!(parts(&text, |_| false).count(), 1);
    }

    #[test]
    fn refused_places_are_asked_about_ever_more_rarely() {
        for text in [
            "東京都千代田区".repeat(200_000),
            "the\triver ".repeat(400_000),
        ] {
            let questions = std::cell::Cell::new(0_usize);
            let refuse = |_: &Division<'_>| {
                questions.set(questions.get() + 1);
                false
            };
            assert_eq!(parts(&text, refuse).count(), 1);
            let most = (2 * text.len() / BYTES_PER_REFUSAL).isqrt() + 1;
            assert!((100..=most).contains(&questions.get()), "{questions:?}");
        }
    }

    #[test]
    fn a_long_run_of_spaces_takes_time_in_proportion_to_its_length() {
        // Counting the spaces again from each of them would take minutes.
        let text = format!("{}x", " ".repeat(4_000_000));
        assert_eq!(parts(&text, |_| true).count(), 1);
        let spaces = " ".repeat(4_000_000);
        let text = format!("{}{spaces}the river runs down", "x".repeat(PART_BYTES));
        let parts: Vec<Part<'_>> = parts(&text, |_| true).collect();
        assert_eq!(
            (parts[0].gap, parts[1].text),
            (4_000_000, "the river runs down")
        );
    }
}

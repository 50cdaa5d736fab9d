//! Python's definitions of white space, digits and lowercase, which the reference uses.

use super::trace::{Steps, TracedChar};

/// Returns true for the white space of `str.strip` and `str.split`: that of Unicode and four ASCII
/// separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Returns true for a digit of `str.isdigit`: decimal digits of every script, and superscript,
/// circled and similar ones. Unicode 14, that of Python 3.11.
pub(super) fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_digit();
    }
    let after = DIGITS.partition_point(|&(first, _)| first <= c as u32);
    after > 0 && c as u32 <= DIGITS[after - 1].1
}

/// `str.lower`: Σ at the end of a word becomes ς.
pub(super) fn lower(chars: &mut Vec<TracedChar>) {
    if !chars.iter().any(|traced| traced.c == 'Σ') {
        return lower_each(chars);
    }
    let text: String = chars.iter().map(|traced| traced.c).collect();
    let lowered = text.to_lowercase();
    let mut lowered = lowered.chars();
    let mut result = Vec::with_capacity(chars.len());
    for traced in chars.iter() {
        let count = traced.c.to_lowercase().count();
        result.extend(
            lowered
                .by_ref()
                .take(count)
                .map(|c| traced.becomes(c, Steps::LOWERCASE)),
        );
    }
    *chars = result;
}

/// Applies `str.lower` to every character separately: Σ always becomes σ.
pub(super) fn lower_each(chars: &mut Vec<TracedChar>) {
    // İ alone becomes two characters.
    if chars.iter().any(|traced| traced.c == 'İ') {
        let lowered = chars.iter().flat_map(|traced| {
            traced
                .c
                .to_lowercase()
                .map(|c| traced.becomes(c, Steps::LOWERCASE))
                .collect::<Vec<_>>()
        });
        *chars = lowered.collect();
        return;
    }
    for traced in chars {
        *traced = lower_char(*traced);
    }
}

fn lower_char(traced: TracedChar) -> TracedChar {
    let lower = if traced.c.is_ascii() {
        traced.c.to_ascii_lowercase()
    } else {
        traced.c.to_lowercase().next().unwrap_or(traced.c)
    };
    traced.becomes(lower, Steps::LOWERCASE)
}

/// The first and the last character of each run.
#[rustfmt::skip]
const DIGITS: [(u32, u32); 81] = [
    (0x0030, 0x0039), (0x00b2, 0x00b3), (0x00b9, 0x00b9), (0x0660, 0x0669), (0x06f0, 0x06f9), (0x07c0, 0x07c9),
    (0x0966, 0x096f), (0x09e6, 0x09ef), (0x0a66, 0x0a6f), (0x0ae6, 0x0aef), (0x0b66, 0x0b6f), (0x0be6, 0x0bef),
    (0x0c66, 0x0c6f), (0x0ce6, 0x0cef), (0x0d66, 0x0d6f), (0x0de6, 0x0def), (0x0e50, 0x0e59), (0x0ed0, 0x0ed9),
    (0x0f20, 0x0f29), (0x1040, 0x1049), (0x1090, 0x1099), (0x1369, 0x1371), (0x17e0, 0x17e9), (0x1810, 0x1819),
    (0x1946, 0x194f), (0x19d0, 0x19da), (0x1a80, 0x1a89), (0x1a90, 0x1a99), (0x1b50, 0x1b59), (0x1bb0, 0x1bb9),
    (0x1c40, 0x1c49), (0x1c50, 0x1c59), (0x2070, 0x2070), (0x2074, 0x2079), (0x2080, 0x2089), (0x2460, 0x2468),
    (0x2474, 0x247c), (0x2488, 0x2490), (0x24ea, 0x24ea), (0x24f5, 0x24fd), (0x24ff, 0x24ff), (0x2776, 0x277e),
    (0x2780, 0x2788), (0x278a, 0x2792), (0xa620, 0xa629), (0xa8d0, 0xa8d9), (0xa900, 0xa909), (0xa9d0, 0xa9d9),
    (0xa9f0, 0xa9f9), (0xaa50, 0xaa59), (0xabf0, 0xabf9), (0xff10, 0xff19), (0x104a0, 0x104a9), (0x10a40, 0x10a43),
    (0x10d30, 0x10d39), (0x10e60, 0x10e68), (0x11052, 0x1105a), (0x11066, 0x1106f), (0x110f0, 0x110f9),
    (0x11136, 0x1113f), (0x111d0, 0x111d9), (0x112f0, 0x112f9), (0x11450, 0x11459), (0x114d0, 0x114d9),
    (0x11650, 0x11659), (0x116c0, 0x116c9), (0x11730, 0x11739), (0x118e0, 0x118e9), (0x11950, 0x11959),
    (0x11c50, 0x11c59), (0x11d50, 0x11d59), (0x11da0, 0x11da9), (0x16a60, 0x16a69), (0x16ac0, 0x16ac9),
    (0x16b50, 0x16b59), (0x1d7ce, 0x1d7ff), (0x1e140, 0x1e149), (0x1e2f0, 0x1e2f9), (0x1e950, 0x1e959),
    (0x1f100, 0x1f10a), (0x1fbf0, 0x1fbf9),
];

#[cfg(test)]
mod tests {
    use super::super::trace::trace;
    use super::*;

    fn lowered(text: &str, lower: impl Fn(&mut Vec<TracedChar>)) -> String {
        let mut chars = trace(text);
        lower(&mut chars);
        chars.iter().map(|traced| traced.c).collect()
    }

    #[test]
    fn a_last_sigma_is_seen_only_in_a_whole_text() {
        assert_eq!(lowered("ΟΔΟΣ ΑΣ", lower), "οδος ας");
        assert_eq!(lowered("ΟΔΟΣ", lower_each), "οδοσ");
        assert_eq!(lowered("İΣ", lower), "i\u{307}ς");
        assert_eq!(lowered("Iİ", lower_each), "ii\u{307}");
    }

    #[test]
    fn every_part_of_a_lowered_letter_keeps_its_place() {
        let mut chars = trace("aİB");
        lower(&mut chars);
        let places: Vec<(u32, u32)> = chars
            .iter()
            .map(|traced| (traced.start, traced.end))
            .collect();
        assert_eq!(places, [(0, 1), (1, 2), (1, 2), (2, 3)]);
        assert_eq!(chars[0].steps, Steps::default());
        assert_eq!(chars[3].steps, Steps::LOWERCASE);
    }

    #[test]
    fn digits_are_those_of_python() {
        for digit in ['0', '9', '²', '٣', '९', '①', '０', '𝟗', '\u{1fbf9}'] {
            assert!(is_digit(digit), "{digit}");
        }
        for other in ['a', '½', 'Ⅻ', '十', '⑩', '\u{1fbfa}', '/', ':'] {
            assert!(!is_digit(other), "{other}");
        }
    }

    #[test]
    fn separators_are_white_space() {
        assert!(
            ['\u{1c}', '\u{1f}', '\u{85}', '\u{a0}', '\u{3000}']
                .into_iter()
                .all(is_space)
        );
        assert!(
            !['\u{200b}', '\u{feff}', '\u{0}', '\u{1b}']
                .into_iter()
                .any(is_space)
        );
    }
}

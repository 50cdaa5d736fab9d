//! The compiled character map of a SentencePiece model, which replaces prefixes of a text.
//!
//! ```text
//! u32 size of the trie in bytes | trie: u32 units, little-endian | texts, each ended by a zero byte
//! ```
//!
//! The trie is a double array of darts-clone: the child of unit `u` by byte `b` is unit `u ^
//! offset(u) ^ b`, which has the label `b`; its value is the position of a text. Nothing in the
//! file is trusted: a step outside the array ends the search, and a position outside the texts is
//! an error.
//!
//! Source: google/sentencepiece 0.2.1, `src/normalizer.cc`; s-yata/darts-clone, `darts.h`.

use super::model_file::Refusal;

/// The maximum length of a replacement in bytes. Unicode's longest, of U+FDFA, has 33.
const LONGEST_REPLACEMENT: usize = 256;

/// The maximum number of bytes that a rule consumes, because a damaged trie can have cycles.
const LONGEST_KEY: usize = 256;

/// The map. An empty map changes nothing.
#[derive(Debug, Default)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    texts: String,
}

impl Charsmap {
    /// Reads the field `precompiled_charsmap`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let broken = |what: &str| format!("`precompiled_charsmap` is broken: {what}");
        let (size, rest) = bytes
            .split_first_chunk::<4>()
            .ok_or_else(|| broken("it is shorter than 4 bytes"))?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, texts) = rest
            .split_at_checked(size)
            .ok_or_else(|| broken("its trie is longer than the whole map"))?;
        if size == 0 || !size.is_multiple_of(4) {
            return Err(broken("its trie is not made of units of 4 bytes"));
        }
        let units = trie
            .chunks_exact(4)
            .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]));
        let texts = std::str::from_utf8(texts).map_err(|_| broken("its texts are not UTF-8"))?;
        Ok(Self {
            units: units.collect(),
            texts: texts.to_string(),
        })
    }

    /// Returns the longest rule for a prefix of `text`: the length of the prefix in bytes, and its
    /// replacement.
    ///
    /// # Errors
    /// If the rule has no text.
    pub(super) fn longest_prefix(&self, text: &str) -> Result<Option<(usize, &str)>, Refusal> {
        let Some(&root) = self.units.first() else {
            return Ok(None);
        };
        let mut at = offset(root);
        let mut longest = None;
        for (index, &byte) in text.as_bytes().iter().enumerate() {
            if index == LONGEST_KEY {
                return Err(format!(
                    "`precompiled_charsmap` is broken: a rule for more than {LONGEST_KEY} bytes"
                ));
            }
            at ^= u32::from(byte);
            let Some(&unit) = self.units.get(at as usize) else {
                break;
            };
            if label(unit) != u32::from(byte) {
                break;
            }
            at ^= offset(unit);
            if has_leaf(unit)
                && text.is_char_boundary(index + 1)
                && let Some(&leaf) = self.units.get(at as usize)
            {
                longest = Some((index + 1, value(leaf)));
            }
        }
        longest
            .map(|(length, place)| Ok((length, self.text(place)?)))
            .transpose()
    }

    fn text(&self, place: usize) -> Result<&str, Refusal> {
        let broken = || "`precompiled_charsmap` is broken: a rule has no text".to_string();
        let text = self.texts.get(place..).ok_or_else(broken)?;
        let window = &text.as_bytes()[..text.len().min(LONGEST_REPLACEMENT + 1)];
        let end = window
            .iter()
            .position(|&byte| byte == 0)
            .ok_or_else(broken)?;
        Ok(&text[..end])
    }
}

/// Returns true if a unit has a value below it.
fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

/// Returns the value of a leaf.
fn value(leaf: u32) -> usize {
    (leaf & 0x7fff_ffff) as usize
}

/// Returns the byte that leads to a unit; for a leaf, a number above 255.
fn label(unit: u32) -> u32 {
    unit & 0x8000_00ff
}

/// Returns the offset that is combined with a unit's index to find its children.
fn offset(unit: u32) -> u32 {
    (unit >> 10) << ((unit & 1 << 9) >> 6)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A map with the rules `a` → `texts` at `place`, and nothing else.
    ///
    /// The root's children begin at 256 · 2 so that their places are free: unit 512 ^ b for byte b.
    pub(in super::super) fn map_of_a(place: u32, texts: &[u8]) -> Vec<u8> {
        let mut units = vec![0u32; 1024];
        units[0] = 512 << 10;
        let a = 512 ^ usize::from(b'a');
        units[a] = 1 << 10 | 1 << 8 | u32::from(b'a');
        units[a ^ 1] = place | 1 << 31;
        let mut bytes = (units.len() as u32 * 4).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(texts);
        bytes
    }

    #[test]
    fn a_rule_takes_its_prefix() {
        let map = Charsmap::parse(&map_of_a(2, b"x\0long\0")).unwrap();
        assert_eq!(map.longest_prefix("ab").unwrap(), Some((1, "long")));
        assert_eq!(map.longest_prefix("ba").unwrap(), None);
        assert_eq!(map.longest_prefix("").unwrap(), None);
        assert_eq!(
            Charsmap::parse(b"").unwrap().longest_prefix("a").unwrap(),
            None
        );
    }

    #[test]
    fn a_rule_without_a_text_is_an_error() {
        for (place, texts) in [
            (9, &b"x\0"[..]),
            (0, b"x"),
            (1, "é\0".as_bytes()),
            (0, &[b'x'; 400]),
        ] {
            let map = Charsmap::parse(&map_of_a(place, texts)).unwrap();
            assert!(
                map.longest_prefix("a")
                    .unwrap_err()
                    .ends_with("a rule has no text"),
                "{place}"
            );
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for bytes in [
            &[1u8, 0][..],
            &[8, 0, 0, 0, 1],
            &[3, 0, 0, 0, 1, 2, 3, 0],
            &[0, 0, 0, 0, 0],
        ] {
            assert!(Charsmap::parse(bytes).is_err(), "{bytes:?}");
        }
        let mut bytes = map_of_a(0, b"x\0");
        bytes.push(0xff);
        assert!(
            Charsmap::parse(&bytes)
                .unwrap_err()
                .ends_with("its texts are not UTF-8")
        );
    }

    #[test]
    fn a_step_out_of_the_trie_ends_the_search() {
        let mut bytes = map_of_a(0, b"x\0");
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(
            Charsmap::parse(&bytes)
                .unwrap()
                .longest_prefix("a")
                .unwrap(),
            None
        );
    }
}

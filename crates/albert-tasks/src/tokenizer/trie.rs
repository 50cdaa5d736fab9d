//! A set of strings that can be searched for all prefixes of a text.

/// A trie over bytes. The nodes are ordered by level, so that a node's children are adjacent, in
/// the order of their bytes.
#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The byte that leads to each node.
    labels: Vec<u8>,
    /// The children of the root by byte; 0 means none, because the root is never a child.
    first_step: [u32; 256],
}

#[derive(Debug, Clone, Copy)]
struct Node {
    first_child: u32,
    children: u16,
    value: u32,
}

/// The node at which a search starts.
pub(super) const ROOT: u32 = 0;

/// The value of a node at which no string ends.
const NONE: u32 = u32::MAX;

impl Trie {
    /// Builds a trie of strings with their values: sorted, distinct, not empty, fewer than 2³²
    /// bytes.
    pub(super) fn new(strings: &[(&str, u32)]) -> Self {
        /// The strings that pass through a node, and its depth in bytes.
        struct Pass {
            begin: u32,
            end: u32,
            depth: u32,
        }
        // At most one node per byte; growing incrementally could take three times the memory.
        let most = strings
            .iter()
            .map(|(string, _)| string.len())
            .sum::<usize>()
            + 1;
        let mut passes = Vec::with_capacity(most);
        passes.push(Pass {
            begin: 0,
            end: strings.len() as u32,
            depth: 0,
        });
        let mut labels = Vec::with_capacity(most);
        labels.push(0);
        let mut trie = Self {
            nodes: Vec::with_capacity(most),
            labels,
            first_step: [0; 256],
        };
        while let Some(&Pass {
            mut begin,
            end,
            depth,
        }) = passes.get(trie.nodes.len())
        {
            let byte_of = |string: u32| strings[string as usize].0.as_bytes()[depth as usize];
            let mut value = NONE;
            if begin < end && strings[begin as usize].0.len() == depth as usize {
                value = strings[begin as usize].1;
                begin += 1;
            }
            let first_child = passes.len() as u32;
            while begin < end {
                let byte = byte_of(begin);
                let same = (begin..end)
                    .take_while(|&string| byte_of(string) == byte)
                    .count() as u32;
                passes.push(Pass {
                    begin,
                    end: begin + same,
                    depth: depth + 1,
                });
                trie.labels.push(byte);
                begin += same;
            }
            // At most 256.
            let children = (passes.len() as u32 - first_child) as u16;
            trie.nodes.push(Node {
                first_child,
                children,
                value,
            });
        }
        trie.nodes.shrink_to_fit();
        trie.labels.shrink_to_fit();
        let root = trie.nodes[0];
        for child in root.first_child..root.first_child + u32::from(root.children) {
            trie.first_step[usize::from(trie.labels[child as usize])] = child;
        }
        trie
    }

    /// Returns the child for `byte`.
    #[inline]
    pub(super) fn step(&self, node: u32, byte: u8) -> Option<u32> {
        if node == ROOT {
            return Some(self.first_step[usize::from(byte)]).filter(|&child| child != 0);
        }
        let Node {
            first_child,
            children,
            ..
        } = self.nodes[node as usize];
        let labels = &self.labels[first_child as usize..][..usize::from(children)];
        let at = match labels.len() {
            // A binary search is slower for the few children that most nodes have.
            0..=16 => labels.iter().position(|&label| label == byte)?,
            _ => labels.binary_search(&byte).ok()?,
        };
        Some(first_child + at as u32)
    }

    /// Returns the value of the string that ends at a node.
    #[inline]
    pub(super) fn value(&self, node: u32) -> Option<u32> {
        Some(self.nodes[node as usize].value).filter(|&value| value != NONE)
    }

    /// Returns the value of a string.
    pub(super) fn get(&self, string: &str) -> Option<u32> {
        let node = string
            .bytes()
            .try_fold(ROOT, |node, byte| self.step(node, byte))?;
        self.value(node)
    }

    /// Iterates over the strings that are prefixes of a text, shortest first: the number of
    /// characters of each, and its value.
    pub(super) fn prefixes(
        &self,
        chars: impl Iterator<Item = char>,
    ) -> impl Iterator<Item = (usize, u32)> {
        let mut node = Some(ROOT);
        let ends = (1..).zip(chars).map_while(move |(count, c)| {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                node = node.and_then(|node| self.step(node, byte));
            }
            Some((count, node?))
        });
        ends.filter_map(|(count, node)| Some((count, self.value(node)?)))
    }

    /// Returns the length in bytes of the longest string that is a prefix of `text`.
    pub(super) fn longest_prefix(&self, text: &str) -> Option<usize> {
        let (mut node, mut longest) = (ROOT, None);
        for (index, byte) in text.bytes().enumerate() {
            let Some(next) = self.step(node, byte) else {
                break;
            };
            node = next;
            if self.value(node).is_some() {
                longest = Some(index + 1);
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_string_is_found_and_nothing_else() {
        let mut strings = vec![
            ("a", 3),
            ("ab", 1),
            ("abc", 7),
            ("b", 0),
            ("▁", 4),
            ("▁the", 5),
        ];
        strings.sort_unstable();
        let trie = Trie::new(&strings);
        for (string, value) in &strings {
            assert_eq!(trie.get(string), Some(*value), "{string}");
        }
        for other in ["", "abcd", "c", "▁t", "\u{2582}"] {
            assert_eq!(trie.get(other), None, "{other}");
        }
        assert_eq!(
            trie.prefixes("abd".chars()).collect::<Vec<_>>(),
            [(1, 3), (2, 1)]
        );
        assert_eq!(
            trie.prefixes("▁the".chars()).collect::<Vec<_>>(),
            [(1, 4), (4, 5)]
        );
        assert_eq!(trie.longest_prefix("abd"), Some(2));
        assert_eq!(trie.longest_prefix("▁th"), Some(3));
        assert_eq!(trie.longest_prefix("cab"), None);
    }

    #[test]
    fn a_node_may_have_a_child_for_every_byte_of_utf_8() {
        let texts: Vec<String> = ('\u{1}'..='\u{7ff}').map(|c| format!("x{c}")).collect();
        let strings: Vec<(&str, u32)> = texts.iter().map(String::as_str).zip(0..).collect();
        let trie = Trie::new(&strings);
        assert!(
            strings
                .iter()
                .all(|(string, value)| trie.get(string) == Some(*value))
        );
    }

    #[test]
    fn no_strings_make_a_trie_that_finds_nothing() {
        assert_eq!(Trie::new(&[]).longest_prefix("a"), None);
    }
}

//! `spiece.model` and texts from anybody: nothing panics, no file takes memory out of proportion to
//! its size, and what comes out is always ids of the vocabulary at places of the text.

// An allocator that counts cannot be written without.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use albert_tasks::{Tokenizer, TokenizerOptions};
use proptest::prelude::*;

/// The most live bytes for each byte of the file. A piece takes at least 5 bytes of the file, and
/// in memory an entry in two growing lists, in a sorted list and in the table of ids, and a node of
/// the trie for each of its bytes.
const MEMORY_FACTOR: usize = 64;

/// The bytes that a tokenizer takes whatever the file.
const MEMORY_BASE: usize = 64 << 10;

const SMALL: &[u8] = include_bytes!("fixtures/tokenizers/sentencepiece/spiece.model");

/// The system's allocator, counting what each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn count(taken: usize, given_back: usize) {
    let held = HELD.get().saturating_add(taken).saturating_sub(given_back);
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: every call is handed on to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's promises are those of this method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may both be there while one is copied to the other.
        count(size, 0);
        count(0, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Reads a model and checks what that took.
fn read(bytes: &[u8]) -> Option<Tokenizer> {
    let before = HELD.get();
    PEAK.set(before);
    let tokenizer = Tokenizer::from_spiece_model(bytes, &TokenizerOptions::default());
    let peak = PEAK.get() - before;
    let allowed = MEMORY_FACTOR * bytes.len() + MEMORY_BASE;
    assert!(
        peak <= allowed,
        "{} bytes took {peak} bytes of memory: at most {allowed}",
        bytes.len()
    );
    tokenizer.ok()
}

/// Cuts a text and checks the answer. A tokenizer may refuse, as one with a broken character map
/// does.
fn cut(tokenizer: &Tokenizer, text: &str) -> bool {
    let Ok((encoding, explanations)) = tokenizer.explain(text, Some(text)) else {
        return false;
    };
    let count = text.chars().count();
    let size = tokenizer.vocab_size() as u32;
    assert!(encoding.ids.iter().all(|&id| id < size));
    assert_eq!(encoding.ids.len(), explanations.len());
    assert_eq!(encoding.ids.len(), encoding.offsets.len());
    let mut last = [0, 0];
    for (at, &(start, end)) in encoding.offsets.iter().enumerate() {
        if encoding.special_tokens_mask[at] == 1 {
            assert_eq!((start, end), (0, 0));
            continue;
        }
        let last = &mut last[encoding.type_ids[at] as usize];
        assert!(
            *last <= start && start < end && end <= count,
            "{text:?}: {encoding:?}"
        );
        *last = start;
    }
    true
}

/// A field of a protocol buffer with bytes in it.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number << 3 | 2];
    let mut length = content.len();
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
    bytes
}

#[test]
fn the_smallest_pieces_take_memory_in_proportion() {
    let piece =
        |text: &str, kind: u8| field(1, &[field(1, text.as_bytes()), vec![3 << 3, kind]].concat());
    for kind in [1, 3, 4, 5] {
        let mut bytes = [piece("<unk>", 2), piece("[CLS]", 3), piece("[SEP]", 3)].concat();
        for c in '\u{80}'..'\u{3000}' {
            // A type that is not stated is normal, and two bytes shorter.
            match kind {
                1 => bytes.extend(field(1, &field(1, c.to_string().as_bytes()))),
                _ => bytes.extend(piece(&c.to_string(), kind)),
            }
        }
        let tokenizer = read(&bytes).unwrap();
        assert!(cut(&tokenizer, "\u{80}\u{100}x"));
    }
}

#[test]
fn one_long_piece_takes_memory_in_proportion_or_is_refused() {
    let piece =
        |text: &str, kind: u8| field(1, &[field(1, text.as_bytes()), vec![3 << 3, kind]].concat());
    // Just over a power of two, where growing lists are the worst. A control symbol is cut out of
    // no text; any other piece could make each character of a text be compared with all of it.
    for (length, kind, is_read) in [
        (66_000, 1, false),
        (132_000, 3, true),
        (66_000, 4, false),
        (1000, 4, true),
    ] {
        let long = piece(&"x".repeat(length), kind);
        let bytes = [
            piece("<unk>", 2),
            piece("[CLS]", 3),
            piece("[SEP]", 3),
            long,
        ]
        .concat();
        assert_eq!(
            read(&bytes).is_some_and(|tokenizer| cut(&tokenizer, "xxx")),
            is_read,
            "{length}, {kind}"
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&bytes);
    }

    #[test]
    fn any_text_is_cut_to_ids_at_places_of_it(
        text in any::<String>(),
        lowercase in any::<bool>(),
        keep_accents in any::<bool>(),
    ) {
        let options = TokenizerOptions {
            lowercase: Some(lowercase),
            keep_accents: Some(keep_accents),
            ..TokenizerOptions::default()
        };
        prop_assert!(cut(&Tokenizer::from_spiece_model(SMALL, &options).unwrap(), &text));
    }

    #[test]
    fn any_row_of_awkward_parts_is_cut(parts in prop::collection::vec(prop::sample::select(AWKWARD), 0..12)) {
        let options = TokenizerOptions::default();
        prop_assert!(cut(&Tokenizer::from_spiece_model(SMALL, &options).unwrap(), &parts.concat()));
    }
}

/// Characters and words that the rules treat specially.
const AWKWARD: &[&str] = &[
    " ",
    "\t",
    "\u{1c}",
    "\u{a0}",
    "``",
    "''",
    "'",
    "e\u{301}",
    "\u{301}",
    "É",
    "İ",
    "Σ",
    "ΑΣ",
    "\u{1d6ba}",
    "ﬁ",
    "½",
    "①,",
    "5,",
    "2011,",
    "٣,",
    ",",
    "(",
    "£",
    "▁",
    "[MASK]",
    "[SEP]",
    "<PAD>",
    "<unk>",
    "東",
    "か\u{3099}",
    "ही",
    "\u{fe0f}",
    "\u{34f}",
    "\u{200d}",
    "\0",
    "\u{feff}",
    "\u{ad}",
    "ﷺ",
    "한",
    "\u{1112}\u{1161}",
    "😀",
    "the",
    "river",
];

proptest! {
    // A case reads the whole file.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_model_with_bytes_overwritten_is_read_or_refused(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..24),
        from in prop::sample::select(&[0, 200_000][..]),
        text in "[ -~é東▁]{0,24}",
    ) {
        // The map comes last except for its texts, and most of the bytes are its trie.
        let mut bytes = SMALL.to_vec();
        for (index, byte) in changes {
            let place = from.min(bytes.len() - 1) + index.index(bytes.len() - from.min(bytes.len() - 1));
            bytes[place] = byte;
        }
        if let Some(tokenizer) = read(&bytes) {
            cut(&tokenizer, &text);
        }
    }

    #[test]
    fn a_model_with_a_stretch_taken_out_is_read_or_refused(
        start in any::<prop::sample::Index>(),
        length in 0usize..2000,
        text in "[ -~é東▁]{0,24}",
    ) {
        let mut bytes = SMALL.to_vec();
        let start = start.index(bytes.len());
        bytes.drain(start..(start + length).min(SMALL.len()));
        if let Some(tokenizer) = read(&bytes) {
            cut(&tokenizer, &text);
        }
        read(&SMALL[..start]);
    }
}

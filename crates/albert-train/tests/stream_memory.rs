//! The stream of examples takes the memory of a block of text, however long the text is.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::sync::Arc;

use albert_tasks::{ModelFiles, Tokenizer, TokenizerOptions};
use albert_train::examples::{Corpus, PretrainingExamples, PretrainingText};

/// Blocks of 4 MiB that the text has.
const BLOCKS: usize = 4;

/// Growth of the peak after the first block, in KiB: what the allocator keeps of the blocks before,
/// a fraction of the 80 MiB that all blocks together would take.
const GROWTH: u64 = 40 << 10;

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn memory_does_not_grow_with_the_text() {
    let dir = tempfile::tempdir().unwrap();
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\nsat\non\na\nmat\n.";
    std::fs::write(dir.path().join("vocab.txt"), vocabulary).unwrap();
    let text = dir.path().join("text.txt.zst");
    let mut writer = zstd::Encoder::new(std::fs::File::create(&text).unwrap(), 1).unwrap();
    for line in 0..BLOCKS * (4 << 20) / 88 {
        let sentence =
            "the cat sat on a mat . the cat sat on the mat . a cat sat on the mat . the cat sat .";
        writeln!(writer, "{sentence}").unwrap();
        if line % 9 == 0 {
            writeln!(writer).unwrap();
        }
    }
    writer.finish().unwrap();
    let files = ModelFiles::from_dir(dir.path()).unwrap();
    let tokenizer = Arc::new(Tokenizer::load(&files, &TokenizerOptions::default()).unwrap());
    let corpus = Corpus::open(&[text]).unwrap();
    let settings = PretrainingText::new(128, 1);
    let mut examples = PretrainingExamples::new(corpus, tokenizer, settings).unwrap();
    examples.next_example().unwrap();
    let (first, mut count) = (peak(), 0);
    while examples.next_of_epoch().unwrap().is_some() {
        count += 1;
    }
    assert!(count > 10_000, "{count}");
    let growth = peak() - first;
    assert!(growth < GROWTH, "{growth} KiB above {first}");
}

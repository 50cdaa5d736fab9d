//! Examples from documents of random words.

use super::*;
use albert_tasks::{ModelFiles, TokenizerOptions};
use std::path::Path;

const WORDS: usize = 200;
const MASK: u32 = 4;

/// A corpus of documents of three to nine sentences, and a tokenizer of its words.
fn folder(documents: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
    let words = (0..WORDS).map(|word| format!("w{word}"));
    let vocabulary: Vec<String> = special.into_iter().chain(words).collect();
    std::fs::write(dir.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
    std::fs::create_dir(dir.path().join("text")).unwrap();
    for file in 0..3 {
        let mut text = String::new();
        for document in 0..documents {
            let mut draws = Draws::new(99, Purpose::Segments, &[file, document as u64]);
            for _ in 0..3 + draws.below(7) {
                for _ in 0..4 + draws.below(9) {
                    text.push_str(&format!("w{} ", draws.below(WORDS)));
                }
                text.push_str(".\n");
            }
            text.push('\n');
        }
        std::fs::write(dir.path().join(format!("text/{file}.txt")), text).unwrap();
    }
    dir
}

fn examples(dir: &Path, seed: u64) -> PretrainingExamples {
    let corpus = Corpus::open(&[dir.join("text")]).unwrap();
    let files = ModelFiles::from_dir(dir).unwrap();
    let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
    let text = PretrainingText::new(48, seed);
    let mut examples = PretrainingExamples::new(corpus, Arc::new(tokenizer), text).unwrap();
    // Several blocks an epoch.
    examples.block_bytes = 4000;
    examples
}

fn take(examples: &mut PretrainingExamples, count: usize) -> Vec<PretrainingExample> {
    (0..count)
        .map(|_| examples.next_example().unwrap())
        .collect()
}

#[test]
fn an_example_is_framed_typed_and_masked() {
    let dir = folder(20);
    for example in take(&mut examples(dir.path(), 1), 100) {
        let PretrainingExample {
            ids,
            type_ids,
            masks,
            order,
            ..
        } = example;
        assert!(ids.len() <= 48 && ids.len() == type_ids.len());
        assert_eq!((ids[0], ids[ids.len() - 1]), (2, 3));
        let boundary = type_ids.iter().position(|&id| id == 1).unwrap();
        assert_eq!(ids[boundary - 1], 3);
        assert!(type_ids[boundary..].iter().all(|&id| id == 1));
        assert!(!masks.is_empty() && masks.len() <= 8);
        assert!(masks.iter().all(|mask| ids[mask.position as usize] != 2));
        assert!(order.is_some());
    }
}

#[test]
fn the_same_seed_gives_the_same_examples_and_another_one_others() {
    let dir = folder(20);
    let first = take(&mut examples(dir.path(), 1), 300);
    assert_eq!(first, take(&mut examples(dir.path(), 1), 300));
    assert_ne!(first, take(&mut examples(dir.path(), 2), 300));
}

#[test]
fn reading_goes_on_from_any_position_across_blocks_and_epochs() {
    let dir = folder(20);
    let whole = take(&mut examples(dir.path(), 1), 400);
    for start in [0, 1, 37, 64, 150, 399] {
        let mut first = examples(dir.path(), 1);
        take(&mut first, start);
        let (position, bookmark) = (first.position(), first.bookmark().clone());
        let mut second = examples(dir.path(), 1);
        second.go_to(position, &bookmark).unwrap();
        assert_eq!(take(&mut second, 400 - start), whole[start..], "{start}");
        // The position alone is enough.
        let mut third = examples(dir.path(), 1);
        let beginning = Bookmark {
            epoch: position.epoch,
            ..Bookmark::default()
        };
        third.go_to(position, &beginning).unwrap();
        assert_eq!(take(&mut third, 400 - start), whole[start..], "{start}");
    }
}

/// The share by which two epochs of 20 short documents may differ in length: short sequences
/// and the places where segments end are drawn anew. Seen: 0.18.
const EPOCH_LENGTH_TOLERANCE: f64 = 1.0 / 3.0;

#[test]
fn epochs_differ_in_order_and_masks_but_little_in_length() {
    let dir = folder(20);
    let mut examples = examples(dir.path(), 1);
    let mut epoch = Vec::new();
    while let Some(example) = examples.next_of_epoch().unwrap() {
        epoch.push(example);
    }
    let estimate = examples.statistics().unwrap().sequences_per_epoch;
    let apart = estimate as f64 / epoch.len() as f64 - 1.0;
    assert!(apart.abs() < EPOCH_LENGTH_TOLERANCE, "{apart}");
    let second = take(&mut examples, epoch.len());
    assert_ne!(epoch, second);
    let apart = (examples.epochs() - 2.0).abs();
    assert!(apart < EPOCH_LENGTH_TOLERANCE, "{apart}");
}

#[test]
fn a_corpus_in_one_block_is_counted_exactly() {
    let dir = folder(20);
    let mut examples = examples(dir.path(), 1);
    examples.block_bytes = BLOCK_BYTES;
    let statistics = examples.statistics().unwrap();
    assert!(statistics.is_whole);
    let mut count = 0;
    while examples.next_of_epoch().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, statistics.sequences_per_epoch);
    // Words are drawn evenly, and every eighth token or so is a full stop, which is unknown.
    let even = (WORDS as f64).ln();
    assert!((even - 0.6..even).contains(&statistics.unigram_entropy));
}

#[test]
fn masks_are_mask_tokens_in_eight_of_ten() {
    let dir = folder(20);
    let (mut masked, mut total) = (0, 0);
    for example in take(&mut examples(dir.path(), 1), 500) {
        total += example.masks.len();
        let is_mask = |mask: &&Mask| example.ids[mask.position as usize] == MASK;
        masked += example.masks.iter().filter(is_mask).count();
    }
    let share = masked as f64 / total as f64;
    assert!((0.76..0.84).contains(&share), "{share}");
}

#[test]
fn text_without_sentences_is_refused() {
    let dir = folder(0);
    let message = examples(dir.path(), 1)
        .next_example()
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("expected one sentence per line, found no text"),
        "{message}"
    );
}

#[test]
fn both_orders_of_a_pair_follow_each_other_when_shuffled() {
    let dir = folder(20);
    let mut examples = examples(dir.path(), 1);
    examples.text.sequences = Sequences::BothOrders;
    let examples = take(&mut examples, 200);
    for pair in examples.chunks_exact(2) {
        let [one, other] = pair else { unreachable!() };
        assert_eq!(one.index + 1, other.index);
        let sorted = |example: &PretrainingExample| {
            let mut ids = example.unmasked();
            ids.sort_unstable();
            ids
        };
        assert_eq!(sorted(one), sorted(other));
        assert!(one.order != other.order || one.order == Some(1));
    }
    let in_order = examples
        .windows(2)
        .all(|pair| pair[0].index < pair[1].index);
    assert!(!in_order, "the pairs are shuffled");
}

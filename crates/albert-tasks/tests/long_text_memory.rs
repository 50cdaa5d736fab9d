//! The memory that a very long text takes: that of the tokens that a model can use, however long the
//! text is; and for all of its tokens, a few bytes for each of its own.

#[path = "../../albert-model/tests/support/counting.rs"]
mod counting;

use albert_tasks::{
    Classifier, ClassifyOptions, EmbedOptions, Embedder, ModelFiles, RunOptions, TagOptions,
    Tagger, Tokenizer, TokenizerOptions,
};
use counting::{Counting, peak};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const MIB: usize = 1 << 20;

/// The text of a test.
const LENGTH: usize = 16 * MIB;

/// The tensors of a batch, and the beginning of a text that a model can use, tokenized a few times.
const FIXED_BYTES: usize = 4 * MIB;

/// A token takes 12 bytes, in vectors that have grown by doubling: 36 while one is copied.
const BYTES_PER_TOKEN: usize = 36;

fn files(name: &str) -> ModelFiles {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    ModelFiles::from_dir(format!("{fixtures}/{name}")).unwrap()
}

/// A text of words, and one without a space.
fn texts() -> [String; 2] {
    [
        "the river runs through ".repeat(LENGTH / 23),
        "x".repeat(LENGTH),
    ]
}

#[test]
fn a_text_far_longer_than_the_model_takes_what_its_beginning_takes() {
    let embedder = Embedder::load(&files("tiny"), &RunOptions::default()).unwrap();
    let single = RunOptions::default();
    let classifier = Classifier::load(&files("pipelines/sentiment"), &single).unwrap();
    let tagger = Tagger::load(&files("pipelines/entities"), &single).unwrap();
    for text in texts() {
        let (_, bytes) = peak(|| embedder.embed(&[text.as_str()]).unwrap());
        assert!(bytes < FIXED_BYTES, "embed: {bytes} bytes");
        let options = ClassifyOptions::default();
        let (_, bytes) = peak(|| classifier.classify(&[text.as_str()], &options).unwrap());
        assert!(bytes < FIXED_BYTES, "classify: {bytes} bytes");
        if text.contains(' ') {
            let pair = (text.as_str(), text.as_str());
            let (_, bytes) = peak(|| classifier.classify(&[pair], &options).unwrap());
            // Their tokens are counted as well, one part of 64 KiB at a time.
            assert!(bytes < 4 * FIXED_BYTES, "pair: {bytes} bytes");
        }
        let options = TagOptions::default();
        let (_, bytes) = peak(|| tagger.tag(&[text.as_str()], &options).unwrap());
        assert!(bytes < FIXED_BYTES, "tag: {bytes} bytes");
    }
}

#[test]
fn all_tokens_of_a_long_text_take_a_few_bytes_for_each_of_its_own() {
    const LENGTH: usize = 4 * MIB;
    let words = "the river runs through ".repeat(LENGTH / 23);
    let lines = "the river runs through\n\nthe old town\t".repeat(LENGTH / 37);
    let ideographs = "東京都千代田区丸ノ内北白川追分町".repeat(LENGTH / 48);
    let mut models: Vec<(ModelFiles, &str)> = Vec::new();
    for folder in ["tiny", "tokenizers/sentencepiece", "tokenizers/wordpiece"] {
        models.push((files(folder), &words));
    }
    for folder in ["tokenizers/sentencepiece", "tokenizers/wordpiece"] {
        models.push((files(folder), &lines));
    }
    models.push((files("tokenizers/wordpiece"), &ideographs));
    if let Ok(builtin) = ModelFiles::builtin() {
        models.push((builtin.clone(), &words));
        models.push((builtin, &lines));
    }
    for (files, text) in models {
        let name = files.name().to_string();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let (compact, bytes) = peak(|| tokenizer.encode_compact(text).unwrap().unwrap());
        assert!(compact.ids.len() > LENGTH / 10, "{name}");
        let bound = BYTES_PER_TOKEN * compact.ids.len() + FIXED_BYTES;
        assert!(bytes < bound, "{name}: {bytes} bytes, bound {bound}");
        eprintln!(
            "{name}: {:.1} bytes for a byte of text",
            bytes as f64 / LENGTH as f64
        );
    }
}

/// A token takes 18 bytes in vectors that have grown by doubling, 54 while one is copied, and 8 in
/// its window; the results of a window are small.
const WINDOW_BYTES_PER_TOKEN: usize = 64;

#[test]
fn windows_of_a_long_text_take_a_few_bytes_for_each_token() {
    let text = "the river runs through ".repeat(MIB / 2 / 23);
    let run = RunOptions::default();
    let tokenizer = Tokenizer::load(&files("tiny"), &TokenizerOptions::default()).unwrap();
    let tokens = tokenizer.encode_compact(&text).unwrap().unwrap().ids.len();
    let bound = WINDOW_BYTES_PER_TOKEN * tokens + 2 * FIXED_BYTES;
    let embedder = Embedder::load(&files("tiny"), &run).unwrap();
    let options = EmbedOptions::default().with_stride(0);
    let (_, bytes) = peak(|| embedder.embed_with(&[text.as_str()], &options).unwrap());
    eprintln!(
        "embed: {:.1} bytes for a token",
        bytes as f64 / tokens as f64
    );
    assert!(bytes < bound, "embed: {bytes} bytes, bound {bound}");
    let classifier = Classifier::load(&files("pipelines/sentiment"), &run).unwrap();
    let options = ClassifyOptions::default().with_stride(0);
    let (_, bytes) = peak(|| classifier.classify(&[text.as_str()], &options).unwrap());
    eprintln!(
        "classify: {:.1} bytes for a token",
        bytes as f64 / tokens as f64
    );
    assert!(bytes < bound, "classify: {bytes} bytes, bound {bound}");
}

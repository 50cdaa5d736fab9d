//! The files of `albert-mini-en`, the small English ALBERT that albert-tasks takes with its feature
//! `builtin`: one table of names and bytes, and nothing else.
//!
//! The crate's README is the model's card: what it was trained on, and how good it is.

/// Each file of the model with its path in a Hugging Face folder.
///
/// The bytes of `model.safetensors` start at a multiple of 64, so that its numbers are aligned.
///
/// ```
/// let (_, weights) = albert_mini_en::FILES.iter().find(|(name, _)| *name == "model.safetensors").unwrap();
/// assert_eq!(weights.as_ptr() as usize % 64, 0);
/// ```
pub static FILES: &[(&str, &[u8])] = &[
    ("config.json", include_bytes!("../data/config.json")),
    ("model.safetensors", &WEIGHTS.0),
    ("tokenizer.json", include_bytes!("../data/tokenizer.json")),
    (
        "tokenizer_config.json",
        include_bytes!("../data/tokenizer_config.json"),
    ),
    ("modules.json", include_bytes!("../data/modules.json")),
    (
        "1_Pooling/config.json",
        include_bytes!("../data/1_Pooling/config.json"),
    ),
    (
        "sentence_bert_config.json",
        include_bytes!("../data/sentence_bert_config.json"),
    ),
    (
        "config_sentence_transformers.json",
        include_bytes!("../data/config_sentence_transformers.json"),
    ),
];

static WEIGHTS: Aligned<[u8; include_bytes!("../data/model.safetensors").len()]> =
    Aligned(*include_bytes!("../data/model.safetensors"));

/// Bytes by themselves may start anywhere.
#[repr(C, align(64))]
struct Aligned<T>(T);

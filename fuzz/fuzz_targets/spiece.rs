//! A `spiece.model` from anybody, and a text cut with it: a model or an error, and ids of the
//! vocabulary.
//!
//! The input is the file, then a byte 0xff, which no UTF-8 has, and a text.

#![no_main]

use albert_tasks::{Tokenizer, TokenizerOptions};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (file, text) = match data.iter().rposition(|&byte| byte == 0xff) {
        Some(at) => (&data[..at], String::from_utf8_lossy(&data[at + 1..])),
        None => (data, "The 1, ``é''".into()),
    };
    let Ok(tokenizer) = Tokenizer::from_spiece_model(file, &TokenizerOptions::default()) else { return };
    let Ok((encoding, explanations)) = tokenizer.explain(&text, Some(&text)) else { return };
    let size = tokenizer.vocab_size() as u32;
    assert!(encoding.ids.iter().all(|&id| id < size));
    assert_eq!(encoding.ids.len(), explanations.len());
    let count = text.chars().count();
    assert!(encoding.offsets.iter().all(|&(start, end)| start <= end && end <= count));
});

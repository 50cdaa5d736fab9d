//! PyTorch's files, in either form, opened and loaded.

#![no_main]

use albert_model::{Checkpoint, LoadOptions};
use libfuzzer_sys::fuzz_target;

const CONFIG: &str = r#"{"vocab_size": 60, "embedding_size": 8, "hidden_size": 16, "num_attention_heads": 4}"#;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(checkpoint) = Checkpoint::from_bytes(CONFIG, bytes.to_vec(), "fuzzed") {
        let _ = checkpoint.var_map(&LoadOptions::default());
        let _ = checkpoint.report();
    }
});

//! `config.json`: what is read is written and read again to the same.

#![no_main]

use albert_model::AlbertConfig;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(config) = AlbertConfig::from_json(text)
    {
        assert_eq!(AlbertConfig::from_json(&config.to_json()).expect("it was written by us"), config);
    }
});

//! The index of a TensorFlow checkpoint.

#![no_main]

use albert_formats::tensorflow::Index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Index::read(bytes);
});

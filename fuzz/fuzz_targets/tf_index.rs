//! The index of a TensorFlow checkpoint.

#![no_main]

use albert_model::read_tensorflow_index;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = read_tensorflow_index(bytes.to_vec());
});

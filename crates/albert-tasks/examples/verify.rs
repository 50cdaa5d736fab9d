//! Measures how far int8 weights move the hidden states: `cargo run --release --example verify`

#![allow(clippy::print_stdout)]

use albert_tasks::tools::{SAMPLE_TEXTS, verify};
use albert_tasks::{Embedder, ModelFiles, RunOptions, albert_model};

fn main() -> anyhow::Result<()> {
    let files = ModelFiles::builtin()?;
    let whole = Embedder::load(&files, &RunOptions::default())?;
    let mut options = RunOptions::default();
    options.load.weights = albert_model::WeightFormat::Int8;
    let rounded = Embedder::load(&files, &options)?;

    let found = verify(&SAMPLE_TEXTS, &whole, &rounded)?;
    println!(
        "largest difference {}, smallest cosine {}",
        found.max_abs, found.min_cosine
    );
    println!("the worst text: {}", SAMPLE_TEXTS[found.worst_index]);
    Ok(())
}

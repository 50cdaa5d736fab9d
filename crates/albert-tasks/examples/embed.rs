//! Sentence embeddings: `cargo run --release --example embed -- "One sentence" "Another one"`

#![allow(clippy::print_stdout)]

use albert_tasks::{Embedder, ModelFiles, RunOptions};

fn main() -> anyhow::Result<()> {
    let texts: Vec<String> = std::env::args().skip(1).collect();
    let embedder = Embedder::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    let embeddings = embedder.embed(&texts)?;
    for (text, embedding) in texts.iter().zip(&embeddings) {
        // Embeddings of the built-in model have length 1: the product is the cosine.
        let cosine: f32 = embedding
            .vector
            .iter()
            .zip(&embeddings[0].vector)
            .map(|(a, b)| a * b)
            .sum();
        println!("{cosine:.3}  {text}");
    }
    Ok(())
}

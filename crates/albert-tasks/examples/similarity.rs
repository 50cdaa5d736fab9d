//! Computes the similarity of two texts: `cargo run --release --example similarity -- "A cat
//! sleeps." "The kitten naps."`

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, RunOptions, SimilarityScorer};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut texts = std::env::args().skip(1);
    let pair = texts
        .next()
        .zip(texts.next())
        .context("expected two texts")?;
    let similarity = SimilarityScorer::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    for answer in similarity.compare(&[pair])? {
        println!("{:.3}", answer.cosine);
    }
    Ok(())
}

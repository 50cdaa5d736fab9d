//! The lines of standard input most like a query: `cargo run --release --example search -- pets <
//! texts.txt`

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, RunOptions, Searcher};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let query = std::env::args().nth(1).context("expected a query")?;
    let searcher = Searcher::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    // Only the ten best hits are kept, however many lines there are.
    let mut search = searcher.start(&query, 10)?;
    for line in std::io::stdin().lines() {
        search.add_texts(&[line?])?;
    }
    for hit in search.hits() {
        println!("{:.3}  {}", hit.cosine, hit.text.unwrap_or_default());
    }
    Ok(())
}

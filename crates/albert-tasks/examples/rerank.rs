//! Reranking: `cargo run --release --example rerank -- FOLDER "Where does it run?" "The river." …`

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, RerankOptions, Reranker, RunOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("expected a model's folder")?;
    let query = arguments.next().context("expected a query")?;
    let texts: Vec<String> = arguments.collect();
    let reranker = Reranker::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    for ranked in reranker.rank(&query, &texts, &RerankOptions::default())? {
        println!("{:.3}  {}", ranked.score, texts[ranked.index]);
    }
    Ok(())
}

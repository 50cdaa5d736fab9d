//! Near-duplicates: `cargo run --release --example neighbors -- "A cat sleeps." "A cat is asleep."`

#![allow(clippy::print_stdout)]

use albert_tasks::{BUILTIN, NeighborFinder, NeighborOptions};

fn main() -> anyhow::Result<()> {
    let texts: Vec<String> = std::env::args().skip(1).collect();
    let finder = NeighborFinder::from_pretrained(BUILTIN)?;
    for pair in finder.find(&texts, &NeighborOptions::default().with_threshold(0.5))? {
        let (first, second) = (&texts[pair.first], &texts[pair.second]);
        println!("{:.3}  {first} | {second}", pair.cosine);
    }
    Ok(())
}

//! Filling masks: `cargo run --release --example fill_mask -- "She opened the [MASK] and walked
//! in."`

#![allow(clippy::print_stdout)]

use albert_tasks::{FillOptions, MaskFiller, ModelFiles, RunOptions};

fn main() -> anyhow::Result<()> {
    let texts: Vec<String> = std::env::args().skip(1).collect();
    let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    for filled in filler.fill(&texts, &FillOptions::default())? {
        for candidate in filled.masks.into_iter().flat_map(|mask| mask.candidates) {
            println!("{:.3}  {}", candidate.score, candidate.text);
        }
    }
    Ok(())
}

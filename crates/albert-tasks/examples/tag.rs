//! Names and places in texts: `cargo run --release --example tag -- FOLDER "Alice moved to Oslo."`
//!
//! FOLDER holds a model fine-tuned for token classification, as Hugging Face lays it out.

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, RunOptions, TagOptions, Tagger};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("expected a model's folder")?;
    let texts: Vec<String> = arguments.collect();
    let tagger = Tagger::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    for (text, tagged) in texts
        .iter()
        .zip(tagger.tag(&texts, &TagOptions::default())?)
    {
        println!("{text}");
        for entity in tagged.entities {
            println!("  {:.3}  {:6}  {}", entity.score, entity.label, entity.text);
        }
    }
    Ok(())
}

//! Labels of your own: `cargo run --release --example zero_shot -- FOLDER "It rained." weather
//! sport`
//!
//! FOLDER holds a model of natural language inference (MNLI), as Hugging Face lays it out.

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, RunOptions, ZeroShotClassifier, ZeroShotOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (folder, text) = arguments
        .next()
        .zip(arguments.next())
        .context("expected a folder and a text")?;
    let labels: Vec<String> = arguments.collect();
    let zero_shot =
        ZeroShotClassifier::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    for answer in zero_shot.classify(&[text], &labels, &ZeroShotOptions::default())? {
        for label in answer.labels {
            println!("{:.3}  {}", label.score, label.label);
        }
    }
    Ok(())
}

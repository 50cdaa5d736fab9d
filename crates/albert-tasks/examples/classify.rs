//! Labels for texts: `cargo run --release --example classify -- FOLDER "What a fine day."`
//!
//! FOLDER holds a model fine-tuned for sequence classification, as Hugging Face lays it out.

#![allow(clippy::print_stdout)]

use albert_tasks::{Classifier, ClassifyOptions, ModelFiles, RunOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("expected a model's folder")?;
    let texts: Vec<String> = arguments.collect();
    let classifier = Classifier::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    for (text, answer) in texts
        .iter()
        .zip(classifier.classify(&texts, &ClassifyOptions::default())?)
    {
        println!("{text}");
        for label in answer.labels {
            println!("  {:.3}  {}", label.score, label.label);
        }
    }
    Ok(())
}

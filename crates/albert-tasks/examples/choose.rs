//! The best of several choices: `cargo run --release --example choose -- FOLDER "It rained, so" "we
//! left." "we swam."`
//!
//! FOLDER holds a model fine-tuned for multiple choice (RACE, SWAG), as Hugging Face lays it out.

#![allow(clippy::print_stdout)]

use albert_tasks::{Chooser, ModelFiles, RunOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (folder, text) = arguments
        .next()
        .zip(arguments.next())
        .context("expected a folder and a text")?;
    let choices: Vec<String> = arguments.collect();
    let chooser = Chooser::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    for answer in chooser.choose(&[(text, choices.as_slice())])? {
        for (choice, score) in choices.iter().zip(answer.scores) {
            println!("{score:.3}  {choice}");
        }
    }
    Ok(())
}

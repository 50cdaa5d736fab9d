//! Answers from a context: `cargo run --release --example answer -- FOLDER "Who slept?" "The cat
//! slept."`
//!
//! FOLDER holds a model fine-tuned as SQuAD asks for it, as Hugging Face lays it out.

#![allow(clippy::print_stdout)]

use albert_tasks::{AnswerOptions, Answerer, ModelFiles, RunOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().context("expected a model's folder")?;
    let pair = arguments
        .next()
        .zip(arguments.next())
        .context("expected a question and a context")?;
    let answerer = Answerer::load(&ModelFiles::from_dir(folder)?, &RunOptions::default())?;
    let found = answerer.answer(&[pair], &AnswerOptions::default().with_top_k(3))?;
    for answer in &found[0].answers {
        println!("{:.3}  {}", answer.score, answer.answer);
    }
    Ok(())
}

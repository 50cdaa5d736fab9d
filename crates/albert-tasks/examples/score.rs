//! Scores how well texts fit the model: `cargo run --release --example score -- "He read the
//! book." "He read book the."`

#![allow(clippy::print_stdout)]

use albert_tasks::{MaskFiller, ModelFiles, RunOptions};

fn main() -> anyhow::Result<()> {
    let texts: Vec<String> = std::env::args().skip(1).collect();
    let filler = MaskFiller::load(&ModelFiles::builtin()?, &RunOptions::default())?;
    for (text, score) in texts.iter().zip(filler.score(&texts)?) {
        println!("{:9.3}  {text}", score.log_likelihood);
    }
    Ok(())
}

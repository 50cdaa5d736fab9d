//! Sorting sentences: `cargo run --release --example order -- "So we left. It rained. We were
//! outside."`
//!
//! The built-in model has hardly learned this; a folder given as the second argument is used
//! instead.

#![allow(clippy::print_stdout)]

use albert_tasks::{ModelFiles, Orderer, RunOptions};
use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let text = arguments.next().context("expected a text")?;
    let files = match arguments.next() {
        Some(folder) => ModelFiles::from_dir(folder)?,
        None => ModelFiles::builtin()?,
    };
    let orderer = Orderer::load(&files, &RunOptions::default())?;
    for sorted in orderer.sort(&[text])? {
        println!("{}", sorted.sentences.join(" "));
    }
    Ok(())
}

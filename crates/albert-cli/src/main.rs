//! `albert-cli`: ALBERT and BERT encoders from the shell.
//!
//! Standard output carries data, standard error carries messages. The exit code is 0 on success and
//! if the reader closed the pipe, 1 on failure, 2 on wrong usage, and 130 or 143 after SIGINT or
//! SIGTERM interrupted the writing of rows.

mod cli;
mod commands;
mod device;
mod failure;
#[cfg(feature = "hub")]
mod hub;
mod input;
mod interruption;
mod options;
mod output;
mod panics;
mod parsing;
mod progress;
#[cfg(feature = "train")]
mod recipe;
mod stream;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use cli::{Cli, Command};
#[cfg(feature = "server")]
use commands::serve;
use commands::{
    answer, bench, choose, classify, completions, convert, embed, fill_mask, forward, inspect, man,
    neighbors, order, rerank, score, search, similarity, tag, tokenize, verify, zero_shot,
};
#[cfg(feature = "train")]
use commands::{compress, distill, evaluate, finetune, pretrain};
#[cfg(feature = "hub")]
use commands::{download, models};
use failure::Report;
use progress::Talk;

fn main() -> ExitCode {
    #[cfg(unix)]
    output::report_size_limit();
    let arguments = std::env::args_os().collect();
    #[cfg(feature = "train")]
    let arguments = match recipe::expand(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return fail(&error),
    };
    #[cfg(feature = "server")]
    let arguments = serve::tei::expand(arguments);
    let arguments: Vec<OsString> = arguments;
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return parsing::explain(&error),
    };
    match panics::contain(|| run(cli.command, Talk::new(cli.quiet))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Shows an error and returns the exit code.
fn fail(error: &anyhow::Error) -> ExitCode {
    match Report::new(error) {
        Some(report) => {
            // `--quiet` does not silence errors.
            Talk::new(false).say(&report);
            ExitCode::from(report.code)
        }
        None => ExitCode::SUCCESS,
    }
}

fn run(command: Command, talk: Talk) -> anyhow::Result<()> {
    options::compute::check_environment()?;
    match command {
        Command::Embed(args) => embed::run(args, talk),
        Command::FillMask(args) => fill_mask::run(args, talk),
        Command::Score(args) => score::run(args, talk),
        Command::Classify(args) => classify::run(args, talk),
        Command::ZeroShot(args) => zero_shot::run(args, talk),
        Command::Tag(args) => tag::run(args, talk),
        Command::Answer(args) => answer::run(args, talk),
        Command::Choose(args) => choose::run(args, talk),
        Command::Order(args) => order::run(args, talk),
        Command::Similarity(args) => similarity::run(args, talk),
        Command::Search(args) => search::run(args, talk),
        Command::Rerank(args) => rerank::run(args, talk),
        Command::Neighbors(args) => neighbors::run(args, talk),
        Command::Tokenize(args) => tokenize::run(args, talk),
        Command::Forward(args) => forward::run(args, talk),
        Command::Inspect(args) => inspect::run(args, talk),
        #[cfg(feature = "hub")]
        Command::Download(args) => download::run(args, talk),
        #[cfg(feature = "hub")]
        Command::Models(args) => models::run(args),
        Command::Convert(args) => convert::run(args, talk),
        #[cfg(feature = "train")]
        Command::Evaluate(args) => evaluate::run(*args, talk),
        #[cfg(feature = "train")]
        Command::FineTune(args) => finetune::run(*args, talk),
        #[cfg(feature = "train")]
        Command::Pretrain(args) => pretrain::run(*args, talk),
        #[cfg(feature = "train")]
        Command::Distill(args) => distill::run(*args, talk),
        #[cfg(feature = "train")]
        Command::Compress(args) => compress::run(*args, talk),
        #[cfg(feature = "server")]
        Command::Serve(args) => serve::run(*args, talk),
        Command::Verify(args) => verify::run(args, talk),
        Command::Bench(args) => bench::run(args, talk),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::Man(args) => man::run(&args, Cli::command(), talk),
    }
}

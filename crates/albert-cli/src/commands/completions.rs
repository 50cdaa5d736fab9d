//! `completions`: what a shell needs to complete commands and options with Tab.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::args::Cli;
use crate::output::Sink;

/// The options of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli completions bash > albert-cli.bash
  albert-cli completions zsh > _albert-cli")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Runs the command.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<()> {
    let mut command = Cli::command();
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    generate(args.shell, &mut command, name, &mut script);
    let mut sink = Sink::stdout();
    sink.write(&script)?;
    sink.finish()
}

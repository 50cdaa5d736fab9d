//! `completions`: scripts that make a shell complete commands and options on Tab.

use anyhow::Context;
use clap::{Args, Command};
use clap_complete::{Shell, generate};

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
pub(crate) fn run(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<()> {
    let name = command.get_name().to_string();
    let mut script = Vec::new();
    generate(args.shell, &mut command, &name, &mut script);
    if args.shell == Shell::Bash {
        // If the program's name has a hyphen, clap_complete 4.6 sets states under one name and
        // reads them under another, so nothing after a command is completed (clap-rs/clap#6421).
        let script_text = String::from_utf8(script).context("the script is not UTF-8")?;
        let [asked, set] =
            ["__subcmd__", "__"].map(|hyphen| name.replace('-', hyphen) + "__subcmd__");
        script = script_text.replace(&asked, &set).into_bytes();
    }
    let mut sink = Sink::stdout()?;
    sink.write(&script)?;
    sink.finish()
}

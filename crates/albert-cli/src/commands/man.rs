//! `man`: writes the manual pages, one for the program and one for each command.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command};

use crate::options::folder;
use crate::progress::Talk;

/// The options of `man`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli man --out man1
  albert-cli man --out share/man/man1")]
pub(crate) struct ManArgs {
    /// The folder to write to; created if it does not exist
    #[arg(long, value_name = "DIR", value_parser = folder())]
    out: PathBuf,
}

/// Runs the command.
pub(crate) fn run(args: &ManArgs, command: Command, talk: Talk) -> anyhow::Result<()> {
    let out = &args.out;
    let write = move || {
        fs::create_dir_all(out)?;
        clap_mangen::generate_to(command, out)
    };
    write().with_context(|| format!("cannot write manual pages to `{}`", out.display()))?;
    talk.say(format_args!(
        "wrote `{}` and a page for each command",
        out.join("albert-cli.1").display()
    ));
    Ok(())
}

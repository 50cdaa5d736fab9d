//! `download`: downloads a model from the Hub into the cache and prints its folder.

use albert_tasks::BUILTIN;
use clap::Args;

use crate::failure::usage;
use crate::hub::{HubArgs, named};
use crate::output::Sink;
use crate::progress::Talk;

/// The options of `download`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli download albert/albert-base-v2
  albert-cli download sentence-transformers/paraphrase-albert-small-v2")]
pub(crate) struct DownloadArgs {
    /// The model as owner/name
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    hub: HubArgs,
}

/// Runs the command.
pub(crate) fn run(args: DownloadArgs, talk: Talk) -> anyhow::Result<()> {
    let id = &args.id;
    if id == BUILTIN {
        return Err(usage(format!(
            "`{id}` is built in: expected a model on the Hub as owner/model"
        )));
    }
    let folder = args
        .hub
        .open(talk)?
        .download(id)
        .map_err(|error| named(error.into(), &format!("model `{id}`")))?;
    let mut sink = Sink::stdout()?;
    sink.write(format!("{}\n", folder.display()).as_bytes())?;
    sink.finish()
}

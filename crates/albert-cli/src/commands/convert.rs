//! `convert`: a model in any layout to a folder in the current layout of Hugging Face.

use std::path::PathBuf;

use albert_model::WeightFormat;
use albert_tasks::tools::convert;
use clap::{Args, ValueEnum};

use crate::device::DtypeChoice;
use crate::options::{ModelArgs, folder};
use crate::progress::Talk;

/// The number of omitted tensors that the summary names.
const NAMED: usize = 4;

/// The options of `convert`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli convert --output albert-mini-f32
  albert-cli convert --output albert-mini-int8 --dtype int8")]
pub(crate) struct ConvertArgs {
    #[command(flatten)]
    model: ModelArgs,

    /// The folder to write, which must not hold a model yet
    #[arg(long, value_name = "DIR", value_parser = folder())]
    output: PathBuf,

    /// Number type of the weights: f32, f16, bf16 or int8, which stays int8 when loaded
    #[arg(long, value_name = "TYPE", value_parser = stored, default_value = "f32")]
    dtype: WeightFormat,
}

/// Parses a type that a file can have.
fn stored(text: &str) -> Result<WeightFormat, String> {
    match DtypeChoice::from_str(text, false) {
        Ok(DtypeChoice::Auto) | Err(_) => Err("expected f32, f16, bf16 or int8".into()),
        Ok(choice) => Ok(choice.into()),
    }
}

/// Runs the command.
pub(crate) fn run(args: ConvertArgs, talk: Talk) -> anyhow::Result<()> {
    let report = convert(&args.model.files(talk)?, &args.output, args.dtype)?;
    for choice in &report.choices {
        talk.say(choice);
    }
    let left_out = report.unused.len();
    if left_out > 0 {
        let named: Vec<_> = report
            .unused
            .iter()
            .take(NAMED)
            .map(|name| format!("`{name}`"))
            .collect();
        let more = if left_out > NAMED { ", …" } else { "" };
        talk.say(format_args!(
            "omitted {left_out} tensors that no head reads: {}{more}",
            named.join(", ")
        ));
    }
    talk.say(format_args!(
        "wrote `{}` in {}",
        args.output.display(),
        args.dtype
    ));
    Ok(())
}

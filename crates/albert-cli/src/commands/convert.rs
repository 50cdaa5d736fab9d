//! `convert`: converts a model in any layout to a folder in the current layout of Hugging Face.

use std::path::PathBuf;

use albert_model::{ModelType, WeightFormat};
use albert_tasks::tools::convert_as;
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

    /// The folder to write; must not hold a model yet
    #[arg(long, value_name = "DIR", value_parser = folder())]
    output: PathBuf,

    /// Data type of the weights: f32, f16, bf16 or int8; int8 weights stay int8 when loaded
    #[arg(long, value_name = "TYPE", value_parser = stored, default_value = "f32")]
    dtype: WeightFormat,

    /// Convert to another network: a BERT is an ALBERT with one group per layer
    ///
    /// Without this option the model keeps its network. A BERT written as an ALBERT has the
    /// identity as its projection, and gives the same outputs in transformers' AlbertModel.
    #[arg(long = "as", value_name = "NETWORK", value_enum)]
    network: Option<Network>,
}

/// A network to convert to.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Network {
    Albert,
    Bert,
}

impl From<Network> for ModelType {
    fn from(network: Network) -> Self {
        match network {
            Network::Albert => Self::Albert,
            Network::Bert => Self::Bert,
        }
    }
}

/// Parses a data type that a file can have.
fn stored(text: &str) -> Result<WeightFormat, String> {
    match DtypeChoice::from_str(text, false) {
        Ok(DtypeChoice::Auto) | Err(_) => Err("expected f32, f16, bf16 or int8".into()),
        Ok(choice) => Ok(choice.into()),
    }
}

/// Runs the command.
pub(crate) fn run(args: ConvertArgs, talk: Talk) -> anyhow::Result<()> {
    let network = args.network.map(ModelType::from);
    let report = convert_as(&args.model.files(talk)?, &args.output, args.dtype, network)?;
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

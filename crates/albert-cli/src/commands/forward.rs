//! `forward`: writes the tensors of one forward pass to a safetensors file.

use albert_data::{ChunkLimits, Line, Pairs};
use albert_model::candle_core::Tensor;
use albert_tasks::{ForwardOutput, Forwarder, ModelFiles, RunOptions, Tokenizer};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use safetensors::serialize;

use crate::failure::usage;
use crate::input::Input;
use crate::options::{ComputeArgs, InputArgs, ModelArgs, OutputArgs, PairArgs};
use crate::output::Format;
use crate::progress::Talk;

/// The options of `forward`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli forward 'The cat sat.' --output tensors.safetensors
  albert-cli forward --ids 2,13,3 --outputs logits --output tensors.safetensors")]
pub(crate) struct ForwardArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    task: TensorArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Input ids, and the tensors to write.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tensors")]
struct TensorArgs {
    /// Token ids instead of a text; needs no tokenizer
    #[arg(long, value_name = "N,N,…", value_parser = list, allow_hyphen_values = true, conflicts_with_all = ["texts", "input", "pair"])]
    ids: Option<List>,

    /// The segment of each id, 0 or 1 [default: all 0]
    #[arg(long, value_name = "N,N,…", value_parser = list, allow_hyphen_values = true)]
    type_ids: Option<List>,

    /// Attention mask: 1 for each id that is attended to, 0 for padding [default: all 1]
    #[arg(long, value_name = "N,N,…", value_parser = list, allow_hyphen_values = true)]
    mask: Option<List>,

    /// The tensors to write [default: last_hidden_state, and pooler_output if the model has one]
    #[arg(long, value_name = "NAME,NAME,…", value_enum, value_delimiter = ',')]
    outputs: Vec<OutputChoice>,
}

/// Numbers separated by commas, as one value.
#[derive(Debug, Clone, PartialEq)]
struct List(Vec<u32>);

fn list(text: &str) -> Result<List, String> {
    let number = |item: &str| {
        let expected = || format!("expected whole numbers separated by commas, found `{item}`");
        item.trim().parse::<u32>().map_err(|_| expected())
    };
    Ok(List(text.split(',').map(number).collect::<Result<_, _>>()?))
}

/// A tensor, or one tensor per layer.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum OutputChoice {
    /// The last layer's vectors
    LastHiddenState,
    /// The pooled vector
    PoolerOutput,
    /// The projected embeddings and every layer's vectors
    HiddenStates,
    /// Every layer's attention probabilities
    Attentions,
    /// The output of the model's head
    Logits,
}

impl OutputChoice {
    fn output(self) -> ForwardOutput {
        match self {
            Self::LastHiddenState => ForwardOutput::LastHiddenState,
            Self::PoolerOutput => ForwardOutput::PoolerOutput,
            Self::HiddenStates => ForwardOutput::HiddenStates,
            Self::Attentions => ForwardOutput::Attentions,
            Self::Logits => ForwardOutput::Logits,
        }
    }
}

/// The model's input.
struct Tokens {
    ids: Vec<u32>,
    type_ids: Option<Vec<u32>>,
    mask: Option<Vec<u32>>,
}

impl TensorArgs {
    /// Returns the tokens given as ids, if any.
    fn tokens(&self) -> anyhow::Result<Option<Tokens>> {
        let Some(List(ids)) = self.ids.clone() else {
            // clap's `requires` does not work here: it is not checked if `--ids` conflicts with a
            // text.
            if self.type_ids.is_some() || self.mask.is_some() {
                return Err(usage("`--type-ids` and `--mask` need `--ids`"));
            }
            return Ok(None);
        };
        let as_many = |list: &Option<List>, option: &str| -> anyhow::Result<Option<Vec<u32>>> {
            let Some(List(list)) = list.clone() else {
                return Ok(None);
            };
            if list.len() != ids.len() {
                let (expected, found) = (ids.len(), list.len());
                return Err(usage(format!(
                    "`{option}`: expected {expected} numbers, as many as in `--ids`, found {found}"
                )));
            }
            Ok(Some(list))
        };
        let type_ids = as_many(&self.type_ids, "--type-ids")?;
        let mask = as_many(&self.mask, "--mask")?;
        if let Some(other) = mask.iter().flatten().find(|&&value| value > 1) {
            return Err(usage(format!("`--mask`: expected 0 or 1, found {other}")));
        }
        Ok(Some(Tokens {
            ids,
            type_ids,
            mask,
        }))
    }
}

/// Runs the command.
pub(crate) fn run(args: ForwardArgs, talk: Talk) -> anyhow::Result<()> {
    let tokens = args.task.tokens()?;
    let request = if tokens.is_some() {
        None
    } else {
        Some(args.input.request(args.pair, Pairs::Taken)?)
    };
    let line = request.as_ref().map(Input::open).transpose()?;
    let read = match &request {
        Some(request) => request.origin.paths()?,
        None => Vec::new(),
    };
    let output = args.output.target(&[Format::Safetensors])?.open(&read)?;
    let line = line.map(only_line).transpose()?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let outputs: Vec<_> = args
        .task
        .outputs
        .iter()
        .map(|choice| choice.output())
        .collect();
    let forwarder = Forwarder::load(&files, &options, &outputs)?;
    let tokens = match (tokens, line) {
        (Some(tokens), _) => tokens,
        (None, Some(line)) => tokenize(line, &files, &options, forwarder.max_length(), talk)?,
        (None, None) => bail!("no input: expected a text or `--ids`"),
    };
    let tensors = forwarder.run(
        &tokens.ids,
        tokens.type_ids.as_deref(),
        tokens.mask.as_deref(),
    )?;
    let written: Vec<_> = tensors
        .iter()
        .map(|(name, tensor)| format!("{name} {:?}", tensor.dims()))
        .collect();
    let mut sink = output.into_sink();
    sink.write(&bytes(tensors)?)?;
    sink.finish()?;
    talk.say(format_args!("{}: {}", sink.name(), written.join(", ")));
    Ok(())
}

/// Returns the only text of the input.
fn only_line(input: Input) -> anyhow::Result<Line> {
    // Two lines are enough to detect that there is more than one.
    let limits = ChunkLimits {
        rows: 2,
        bytes: usize::MAX,
    };
    let (lines, end) = input.feed().chunk(limits, true);
    end?;
    let count = lines.len();
    match <[Line; 1]>::try_from(lines) {
        Ok([line]) => Ok(line),
        Err(_) if count == 0 => bail!("expected one text, found none"),
        Err(_) => Err(usage(
            "expected one text for the forward pass, found several",
        )),
    }
}

fn tokenize(
    line: Line,
    files: &ModelFiles,
    options: &RunOptions,
    max_length: usize,
    talk: Talk,
) -> anyhow::Result<Tokens> {
    let text = line.text.map_err(|error| line.place.locate(error))?;
    let tokenizer = Tokenizer::load(files, &options.tokenizer)?;
    let encoding = tokenizer.encode(&text.text, text.pair.as_deref(), Some(max_length))?;
    if encoding.truncated {
        talk.say(format_args!(
            "the text was truncated to {} tokens",
            encoding.ids.len()
        ));
    }
    Ok(Tokens {
        ids: encoding.ids,
        type_ids: Some(encoding.type_ids),
        mask: None,
    })
}

/// Serializes the tensors as a safetensors file.
fn bytes(tensors: Vec<(String, Tensor)>) -> anyhow::Result<Vec<u8>> {
    serialize(tensors, None).context("cannot serialize the tensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_numbers_and_commas() {
        assert_eq!(list("2, 13,3"), Ok(List(vec![2, 13, 3])));
        for bad in ["", "2,", "2,,3", "2,abc", "-1", "4294967296", "1.5"] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_output_is_one_of_the_same_name() {
        for choice in OutputChoice::value_variants() {
            let name = choice.to_possible_value().unwrap().get_name().to_string();
            assert_eq!(choice.output().to_string(), name);
        }
    }

    #[test]
    fn lists_of_other_lengths_are_wrong_usage() {
        let args = |type_ids: &str, mask: &str| TensorArgs {
            ids: Some(List(vec![2, 3])),
            type_ids: Some(list(type_ids).unwrap()),
            mask: Some(list(mask).unwrap()),
            outputs: vec![],
        };
        assert!(args("0,1", "1,0").tokens().is_ok());
        assert!(args("0", "1,0").tokens().is_err());
        assert!(args("0,1", "1,1,1").tokens().is_err());
        assert!(args("0,1", "1,2").tokens().is_err());
    }
}

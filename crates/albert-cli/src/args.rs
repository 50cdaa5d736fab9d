//! The command line: its commands, and the options that several of them share.
//!
//! The options of one command stand with the command, in `commands`. What an option means (a
//! device, a format) stands with the module that acts on it; here it is only named.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use albert_tasks::{
    BUILTIN, DEFAULT_BATCH_TOKENS, Event, ModelFiles, RunOptions, TokenizerOptions,
};
use anyhow::Context;
use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};

use crate::commands::{
    answer, bench, choose, classify, completions, convert, embed, fill_mask, forward, inspect, man,
    order, score, search, similarity, tag, tokenize, verify, zero_shot,
};
#[cfg(feature = "hub")]
use crate::commands::{download, models};
use crate::device::{DeviceChoice, DtypeChoice};
use crate::failure::usage;
#[cfg(feature = "hub")]
use crate::hub::HubArgs;
use crate::input::InputFormat;
use crate::output::Format;
use crate::progress::Talk;

/// Run ALBERT models from the shell: embeddings, masked tokens and more
#[derive(Debug, Parser)]
#[command(name = "albert-cli", version, max_term_width = 100)]
#[command(after_help = "\
Examples:
  albert-cli fill-mask 'Paris is the [MASK] of France.'
  albert-cli embed 'A first sentence.' 'And a second one.' --format jsonl")]
pub(crate) struct Cli {
    /// Say nothing on stderr but errors
    #[arg(long, global = true)]
    pub(crate) quiet: bool,

    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Turn texts into vectors
    Embed(embed::EmbedArgs),
    /// Fill in the masked words of a text
    ///
    /// Without a text on a terminal it is interactive: `_` is a short mask, `:help` tells the rest.
    FillMask(fill_mask::FillMaskArgs),
    /// Measure how well texts fit the model
    ///
    /// One token after another is masked; the natural logarithms of the probabilities that the
    /// model gives to what stood there are added up. The special tokens around a text are not
    /// masked.
    Score(score::ScoreArgs),
    /// Label texts with the labels a model was fine-tuned for
    ///
    /// The built-in model is not fine-tuned: name one with --model.
    Classify(classify::ClassifyArgs),
    /// Label texts with labels of your own
    ///
    /// Needs a model of natural language inference, named with --model: it is asked whether the
    /// text entails a sentence that names the label.
    ZeroShot(zero_shot::ZeroShotArgs),
    /// Find names, places and other labelled stretches
    ///
    /// Needs a model fine-tuned to label tokens, named with --model.
    Tag(tag::TagArgs),
    /// Answer questions from a context
    ///
    /// A long context is read in windows that overlap. Needs a model fine-tuned as SQuAD asks for
    /// it, named with --model.
    Answer(answer::AnswerArgs),
    /// Pick the choice that goes best with a text
    ///
    /// Needs a model fine-tuned for multiple choice, as RACE asks for it, named with --model.
    Choose(choose::ChooseArgs),
    /// Tell which of two texts comes first, or sort sentences
    ///
    /// Needs a model with the sentence order head of ALBERT's pretraining. The built-in model has
    /// one, but has not learned to use it: its answers are at chance.
    Order(order::OrderArgs),
    /// Compare two texts by meaning
    Similarity(similarity::SimilarityArgs),
    /// Find the texts most like a query
    Search(search::SearchArgs),
    /// Cut texts into the pieces a model reads
    Tokenize(tokenize::TokenizeArgs),
    /// Write the raw tensors of one forward pass to a file
    Forward(forward::ForwardArgs),
    /// Show what a model is made of
    Inspect(inspect::InspectArgs),
    /// Fetch a model of the Hugging Face Hub into the cache
    ///
    /// Prints the folder of its files. Only what is needed is fetched: the configuration, one set
    /// of weights, the tokenizer. A download that broke off goes on where it was. Whatever loads a
    /// model by its name does the same, but asks the Hub only for what the cache lacks; this
    /// command also asks whether the branch has moved.
    ///
    /// The cache is that of Python's huggingface_hub, and so are the variables: HF_TOKEN, HF_HOME,
    /// HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE.
    #[cfg(feature = "hub")]
    Download(download::DownloadArgs),
    /// List the models that are here: built in, and in the cache
    ///
    /// Of each, the size, the revisions, and what could be removed from the cache.
    #[cfg(feature = "hub")]
    Models(models::ModelsArgs),
    /// Write a model in any layout as a folder with model.safetensors
    ///
    /// The folder is one that --model accepts: the configuration and the tokenizer's files are
    /// copied.
    Convert(convert::ConvertArgs),
    /// Compare two ways of computing a model
    ///
    /// The texts are computed with the command's own settings and with those of --against, and the
    /// last hidden states are compared token by token: `max_abs` is the largest difference between
    /// two numbers, `min_cosine` the smallest cosine between the two vectors of a token,
    /// `worst_index` the text with the largest difference. Without any texts a few built-in ones
    /// are compared.
    Verify(verify::VerifyArgs),
    /// Measure how fast a model runs on this machine
    ///
    /// Times the encoder on one short text, one long one, eight long ones and 32 of ragged lengths:
    /// the median of several rounds, after one to warm up. Tokenizing is not part of it.
    Bench(bench::BenchArgs),
    /// Print the completions of a shell
    ///
    /// For bash, the script belongs into ~/.local/share/bash-completion/completions/albert-cli; for
    /// zsh, as _albert-cli into a folder of $fpath; for fish, into
    /// ~/.config/fish/completions/albert-cli.fish.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages of all commands to a folder
    ///
    /// `man -l man1/albert-cli-embed.1` shows one where it is; in ~/.local/share/man/man1 they are
    /// found by their names.
    Man(man::ManArgs),
}

/// Which model, and how it reads text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelArgs {
    /// A model of the Hub as owner/name, a folder with its files, or the name of a built-in model
    #[arg(long, value_name = "ID|DIR|NAME", env = "ALBERT_MODEL", default_value = BUILTIN)]
    pub(crate) model: String,

    #[cfg(feature = "hub")]
    #[command(flatten)]
    hub: HubArgs,

    /// Lower-case the text first, whatever tokenizer_config.json says
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    lowercase: Option<bool>,

    /// Keep accents, whatever tokenizer_config.json says
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    keep_accents: Option<bool>,
}

impl ModelArgs {
    /// Finds the model's files, downloading what is missing.
    pub(crate) fn files(&self, talk: Talk) -> anyhow::Result<ModelFiles> {
        if self.model.is_empty() {
            return Err(usage(
                "the model is empty: expected a name of the Hub, a folder or a built-in name",
            )
            .context("`--model` or ALBERT_MODEL"));
        }
        self.files_of(&self.model, talk)
    }

    /// Finds the files of another model in the same way.
    pub(crate) fn files_of(&self, model: &str, talk: Talk) -> anyhow::Result<ModelFiles> {
        #[cfg(feature = "hub")]
        return self.hub.files(model, talk);
        #[cfg(not(feature = "hub"))]
        {
            let _ = talk;
            Ok(ModelFiles::resolve(model)?)
        }
    }

    /// How text is prepared.
    pub(crate) fn tokenizer(&self) -> TokenizerOptions {
        TokenizerOptions {
            lowercase: self.lowercase,
            keep_accents: self.keep_accents,
            ..TokenizerOptions::default()
        }
    }
}

/// How the special tokens that a text names are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
pub(crate) struct SpecialArgs {
    /// Read special tokens that stand in a text, such as `[MASK]`, as the characters they are
    /// written with
    #[arg(long)]
    pub(crate) no_special_parse: bool,
}

/// The most threads that can be asked for.
pub(crate) const MAX_THREADS: usize = 1024;

/// Where the model runs, and in what portions.
#[derive(Debug, Args)]
#[command(next_help_heading = "Computation")]
pub(crate) struct ComputeArgs {
    /// Where to compute: auto, cpu, cuda, cuda:N or metal
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: DeviceChoice,

    /// The numbers' type; on the CPU f16 and bf16 round the weights and compute in f32, int8
    /// multiplies in 8 bits
    #[arg(long, value_name = "TYPE", value_enum, default_value = "auto")]
    dtype: DtypeChoice,

    /// How many CPU threads to use [default: one a core]
    #[arg(long, value_name = "N", value_parser = number(1..=MAX_THREADS), allow_negative_numbers = true)]
    threads: Option<usize>,

    /// Cut texts to N tokens, special tokens included [default: the model's limit]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    pub(crate) max_length: Option<usize>,

    #[arg(
        long,
        help = format!("How many tokens to compute at a time [default: {DEFAULT_BATCH_TOKENS}, on CUDA as its memory allows]"),
        value_name = "N",
        value_parser = number(1..=usize::MAX),
        allow_negative_numbers = true
    )]
    batch_tokens: Option<usize>,
}

/// Reports that a GPU's memory is exhausted.
fn say(event: &Event) {
    if let Event::SmallerBatches { rows, tokens } = event {
        Talk::new(false).say(format_args!(
            "the GPU has no memory for {rows} rows of {tokens} tokens: continuing with half of them"
        ));
    }
}

impl ComputeArgs {
    /// Sets the number of threads and opens the device.
    pub(crate) fn run_options(&self, model: &ModelArgs, talk: Talk) -> anyhow::Result<RunOptions> {
        if let Some(threads) = self.threads {
            // Candle reads RAYON_NUM_THREADS, but its work and gemm's run on this pool.
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build_global()
                .with_context(|| format!("cannot start {threads} threads"))?;
        }
        let mut options = RunOptions::default().with_tokenizer(model.tokenizer());
        (options.max_length, options.batch_tokens) = (self.max_length, self.batch_tokens);
        if talk.is_heard() {
            options = options.with_observer(say);
        }
        options.load.weights = self.dtype.into();
        options.load.device = self.device.open()?;
        Ok(options)
    }
}

/// What every command has that takes texts to a model and writes a row for each.
#[derive(Debug, Args)]
pub(crate) struct TextArgs {
    #[command(flatten)]
    pub(crate) input: InputArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) compute: ComputeArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Where the texts come from.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// The texts; without any, or with a lone -, they come from --input or standard input
    #[arg(value_name = "TEXT", help_heading = None::<&str>)]
    pub(crate) texts: Vec<String>,

    /// Read the texts from a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub(crate) input: Option<PathBuf>,

    /// The format of the input [default: by its content, then its extension, else lines]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) input_format: Option<InputFormat>,

    /// The field or column of a table that holds the text; `first,second` for pairs [default: text]
    ///
    /// A name with a comma or a dot is quoted as in CSV; `data.text` is the field `text` of the
    /// field `data`.
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// The character between the values of a csv input [default: a comma]
    #[arg(long, value_name = "C", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,

    /// Divide each line at its tab into the two texts of a pair
    #[arg(long)]
    pub(crate) pairs: bool,

    /// Give a line that cannot be read a row with `error`, and go on
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

/// The second text of a pair.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct PairArgs {
    /// The second text of a pair, beside one TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) pair: Option<String>,
}

/// Where the answers go.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// How to write [default: by the ending of --output; a table on a terminal; else jsonl]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) format: Option<Format>,

    /// Write to a file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// A parser of a folder to write, which standard output is not.
pub(crate) fn folder() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| match path.as_os_str() == "-" {
        true => Err("expected a folder, which standard output is not"),
        false => Ok(path),
    })
}

/// Parses a character that separates values.
fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(byte),
        _ => Err("expected one ASCII character, such as `;`".to_string()),
    }
}

/// A parser of whole numbers within a range, whose error names the range.
pub(crate) fn number(
    range: RangeInclusive<usize>,
) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync + 'static {
    move |text| {
        let expected = match *range.end() {
            usize::MAX => format!("expected a whole number from {}", range.start()),
            end => format!("expected a whole number from {} to {end}", range.start()),
        };
        match text.trim().parse::<usize>() {
            Ok(value) if range.contains(&value) => Ok(value),
            _ => Err(expected),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    /// The width of a terminal that nobody has made wider.
    const TERMINAL_COLUMNS: usize = 80;

    #[test]
    fn every_command_ends_its_help_with_two_examples() {
        for command in std::iter::once(&Cli::command()).chain(Cli::command().get_subcommands()) {
            let name = command.get_name();
            let help = command
                .get_after_help()
                .unwrap_or_else(|| panic!("{name}: no examples"));
            let help = help.to_string();
            let examples = help
                .lines()
                .filter(|line| line.contains("albert-cli "))
                .count();
            assert!(help.starts_with("Examples:\n"), "{name}: {help}");
            assert_eq!(examples, 2, "{name}: {help}");
            // A longer line is broken, and in a shell a broken command is two.
            assert!(
                help.lines()
                    .all(|line| line.chars().count() <= TERMINAL_COLUMNS),
                "{name}: {help}"
            );
        }
    }

    #[test]
    fn every_help_text_begins_short_and_without_a_period() {
        for command in Cli::command().get_subcommands() {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                about.len() < 70 && !about.ends_with('.'),
                "{}: {about}",
                command.get_name()
            );
            for argument in command.get_arguments() {
                let help = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let first = help.lines().next().unwrap_or_default();
                assert!(
                    !first.is_empty() && !first.ends_with('.'),
                    "{}",
                    argument.get_id()
                );
            }
        }
    }

    #[test]
    fn what_is_said_of_the_computation_reaches_it() {
        let arguments = [
            "albert-cli",
            "score",
            "a",
            "--max-length",
            "9",
            "--batch-tokens",
            "7",
        ];
        let Command::Score(args) = Cli::parse_from(arguments).command else {
            panic!("expected `score`")
        };
        let options = args
            .texts
            .compute
            .run_options(&args.texts.model, Talk::new(true))
            .unwrap();
        assert_eq!(
            (options.max_length, options.batch_tokens),
            (Some(9), Some(7))
        );
    }

    #[test]
    fn numbers_outside_their_range_are_refused_with_the_range() {
        let parse = number(1..=8);
        assert_eq!(parse("8"), Ok(8));
        for bad in ["0", "9", "-1", "x", "", "99999999999999999999999"] {
            assert_eq!(
                parse(bad),
                Err("expected a whole number from 1 to 8".to_string())
            );
        }
    }
}

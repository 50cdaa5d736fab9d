//! `embed`: texts to vectors.

use std::path::Path;

use albert_data::{Pairs, Window};
use albert_tasks::{Embedder, Embedding, ModelFiles, PoolingMode, RunOptions, VectorQuantizer};
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::precision::{Numbers, PrecisionArgs, vector_type};
use super::say_dropped_marks;
use crate::args::{ComputeArgs, InputArgs, ModelArgs, OutputArgs, PairArgs, SpecialArgs, number};
use crate::failure::{Hint, usage};
use crate::input::Input;
use crate::output::{
    Column, Format, Kind, Output, RECORDS, Row, VECTORS, Vector, VectorType, columns, shown,
    visible,
};
use crate::progress::{Progress, Talk};
use crate::stream::{self, Item};

/// The options of `embed`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli embed 'The cat sat on the mat.' 'Stocks fell sharply.'
  echo 'one text a line' | albert-cli embed --pooling cls --output vectors.npy")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    task: EmbeddingArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    special: SpecialArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,

    /// Go on with the --output of a run that was interrupted, in jsonl, csv or npy
    #[arg(long, help_heading = "Output")]
    resume: bool,
}

/// What becomes of the tokens' vectors.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
struct EmbeddingArgs {
    /// How the tokens' vectors become one [default: from the model's files, else mean]
    #[arg(long, value_name = "MODE", value_enum)]
    pooling: Option<PoolingChoice>,

    /// Scale each vector to length 1 [default: from the model's files, else true]
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    normalize: Option<bool>,

    /// Keep only the first N numbers of each vector [default: from the model's files, else all]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    truncate_dim: Option<usize>,

    /// Put a text in front of every text, instead of the model's own prompt
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Read texts longer than the model in windows that have STRIDE tokens in common [default: cut
    /// them]
    ///
    /// The special tokens and a prompt stand in every window. Every token of the text counts once:
    /// with 1 / c in each of the c windows that it is in; the special tokens and the prompt with
    /// the window's share of the text. So mean, mean-sqrt-len and weighted-mean are what they are
    /// for a short text; cls, last and pooler are the mean of the windows' by their shares; max is
    /// over all windows. `tokens` counts what entered the model, over all windows. Takes no pairs.
    #[arg(long, value_name = "STRIDE", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    window: Option<usize>,
}

/// How the tokens' vectors become one.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum PoolingChoice {
    /// The mean of all tokens
    Mean,
    /// The vector of `[CLS]`
    Cls,
    /// The largest value of each dimension
    Max,
    /// The model's own pooler: `[CLS]` through a dense layer and tanh
    Pooler,
    /// The sum, divided by the square root of the length
    MeanSqrtLen,
    /// The mean, later tokens weighing more
    WeightedMean,
    /// The vector of the last token
    Last,
    /// No pooling: one vector a token
    Tokens,
}

impl PoolingChoice {
    fn mode(self) -> Option<PoolingMode> {
        match self {
            Self::Mean => Some(PoolingMode::Mean),
            Self::Cls => Some(PoolingMode::Cls),
            Self::Max => Some(PoolingMode::Max),
            Self::Pooler => Some(PoolingMode::Pooler),
            Self::MeanSqrtLen => Some(PoolingMode::MeanSqrtLen),
            Self::WeightedMean => Some(PoolingMode::WeightedMean),
            Self::Last => Some(PoolingMode::Last),
            Self::Tokens => None,
        }
    }
}

/// One text's vector.
#[derive(Debug, Serialize)]
struct EmbedRow {
    index: usize,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<String>,
    tokens: usize,
    truncated: bool,
    embedding: Numbers,
}

impl Row for EmbedRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::optional("pair", Kind::Text),
        Column::new("tokens", Kind::Integer),
        Column::new("truncated", Kind::Boolean),
        Column::new("embedding", Kind::Vector),
    ];
    const HEADING: &'static str = "index  tokens  embedding                            text";

    fn lines(&self) -> String {
        let vector = self.embedding.as_vector().preview();
        let text = shown(&self.text, self.pair.as_deref());
        format!(
            "{:>5}  {:>6}  {vector:<35}  {text}\n",
            self.index, self.tokens
        )
    }

    fn vector(&self) -> Option<Vector<'_>> {
        Some(self.embedding.as_vector())
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// One text's tokens with a vector each.
#[derive(Debug, Serialize)]
struct TokensRow {
    index: usize,
    text: String,
    pieces: Vec<String>,
    embeddings: Vec<Vec<f32>>,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for TokensRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("pieces", Kind::List(&Kind::Text)),
        Column::new("embeddings", Kind::List(&Kind::Vector)),
    ];

    fn lines(&self) -> String {
        let pieces = self.pieces.iter().zip(&self.embeddings);
        let cells: Vec<_> = pieces
            .map(|(piece, vector)| {
                vec![
                    format!("      {}", visible(piece, 30)),
                    Vector::F32(vector).preview(),
                ]
            })
            .collect();
        format!(
            "{:>5}  {}\n{}",
            self.index,
            shown(&self.text, None),
            columns(&cells, &[])
        )
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// Runs the command.
pub(crate) fn run(args: EmbedArgs, talk: Talk) -> anyhow::Result<()> {
    let task = &args.task;
    args.precision.check()?;
    let by_token = task.pooling == Some(PoolingChoice::Tokens);
    if by_token && args.precision.is_quantized() {
        return Err(usage(
            "`--pooling tokens` and `--precision`: the tokens' vectors are written in f32 only",
        ));
    }
    let alone = by_token
        .then_some("--pooling tokens")
        .or(task.window.map(|_| "--window"));
    if let (Some(option), Some(_)) = (alone, &args.pair.pair) {
        return Err(usage(format!("`{option}` takes no pairs")));
    }
    let pairs = if alone.is_some() {
        Pairs::Refused
    } else {
        Pairs::Taken
    };
    let path = args.input.input.clone();
    let input = Input::open(args.input, args.pair, pairs)?;
    let formats = if by_token { RECORDS } else { VECTORS };
    let texts = path.as_deref().unwrap_or(Path::new("-"));
    let inputs: Vec<&Path> = std::iter::once(texts)
        .chain(args.precision.calibration())
        .collect();
    let mut output = args.output.open(formats, &inputs)?;
    let alone = matches!(output.format, Format::Npy | Format::Safetensors);
    if args.precision.is_quantized() && input.skip_bad && alone {
        let format = output.format.name();
        return Err(usage(format!(
            "`--skip-bad`: {format} of bytes has no number that tells that a row is bad"
        ))
        .hint("write jsonl, or let a bad line end the run"));
    }
    if args.resume {
        output.resume()?;
    }
    let mut options = args.compute.run_options(&args.model, talk)?;
    options.tokenizer.special_tokens_as_text = args.special.no_special_parse;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let embedder = load(&files, &options, &args.task, talk)?;
    let window = stream::window_of(&options);
    let progress = Progress::new(talk, input.extent, args.output.is_terminal());
    if by_token {
        embed_tokens(&embedder, input, output, window, &progress)?;
    } else {
        let quantizer = args.precision.quantizer(&embedder, pairs, window, talk)?;
        embed(
            &embedder,
            quantizer.as_ref(),
            input,
            output,
            window,
            &progress,
        )?;
    }
    say_dropped_marks(embedder.tokenizer(), talk);
    Ok(())
}

/// Loads the model and applies the options, saying what was chosen for a folder that does not say.
fn load(
    files: &ModelFiles,
    options: &RunOptions,
    task: &EmbeddingArgs,
    talk: Talk,
) -> anyhow::Result<Embedder> {
    let mut embedder = Embedder::load(files, options)?;
    if let Some(mode) = task.pooling.and_then(PoolingChoice::mode) {
        embedder = embedder.with_pooling(mode)?;
    }
    if let Some(normalize) = task.normalize {
        embedder = embedder.with_normalize(normalize);
    }
    if let Some(dim) = task.truncate_dim {
        embedder = embedder.with_truncate_dim(dim)?;
    }
    if let Some(prompt) = &task.prompt {
        embedder = embedder.with_prompt(prompt);
    }
    if let Some(stride) = task.window {
        embedder = embedder.with_stride(stride)?;
    }
    if !embedder.pooling().from_modules && task.pooling.is_none() {
        talk.say(format_args!("pooling: {}", embedder.pooling().why));
    }
    Ok(embedder)
}

fn embed(
    embedder: &Embedder,
    quantizer: Option<&VectorQuantizer>,
    input: Input,
    output: Output,
    window: Window,
    progress: &Progress,
) -> anyhow::Result<()> {
    let vectors = Some(vector_type(quantizer, embedder.dim()));
    stream::run(input, output, vectors, window, progress, |items| {
        let embeddings = embed_window(embedder, &items)?;
        let rows = items.into_iter().zip(embeddings).map(|(item, embedding)| {
            Ok(EmbedRow {
                index: item.index,
                text: item.text.text,
                pair: item.text.pair,
                tokens: embedding.tokens,
                truncated: embedding.truncated,
                embedding: Numbers::new(embedding.vector, quantizer)?,
            })
        });
        Ok(rows.collect())
    })
}

/// Embeds the texts and pairs of a chunk, in order.
pub(super) fn embed_window(embedder: &Embedder, items: &[Item]) -> anyhow::Result<Vec<Embedding>> {
    let inputs: Vec<(&str, Option<&str>)> = items
        .iter()
        .map(|item| (item.text.text.as_str(), item.text.pair.as_deref()))
        .collect();
    Ok(embedder.embed(&inputs)?)
}

fn embed_tokens(
    embedder: &Embedder,
    input: Input,
    output: Output,
    window: Window,
    progress: &Progress,
) -> anyhow::Result<()> {
    let vectors = Some(VectorType::f32(embedder.dim()));
    stream::run(input, output, vectors, window, progress, |items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let embeddings = embedder.embed_tokens(&texts)?;
        let rows = items.into_iter().zip(embeddings).map(|(item, tokens)| {
            Ok(TokensRow {
                index: item.index,
                text: item.text.text,
                pieces: tokens.pieces,
                embeddings: tokens.vectors,
                tokens: tokens.tokens,
                truncated: tokens.truncated,
            })
        });
        Ok(rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order_and_floats_as_short_as_f32_allows() {
        let row = EmbedRow {
            index: 0,
            text: "a".into(),
            pair: None,
            tokens: 3,
            truncated: false,
            embedding: Numbers::Floats(vec![0.1, -1e-9]),
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":0,"text":"a","tokens":3,"truncated":false,"embedding":[0.1,-1e-9]}"#
        );
    }

    #[test]
    fn every_pooling_but_tokens_is_a_mode_of_the_same_name() {
        for choice in PoolingChoice::value_variants() {
            let name = choice.to_possible_value().unwrap().get_name().to_string();
            match choice.mode() {
                Some(mode) => assert_eq!(mode.to_string(), name),
                None => assert_eq!(*choice, PoolingChoice::Tokens),
            }
        }
    }
}

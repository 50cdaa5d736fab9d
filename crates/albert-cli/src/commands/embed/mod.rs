//! `embed`: turns texts into vectors.

mod calibration;
mod rows;

use std::path::Path;

use albert_data::Pairs;
use albert_tasks::{
    EmbedOptions, Embedder, Embedding, ModelFiles, PoolingMode, RunOptions, VectorQuantizer,
};
use clap::{Args, ValueEnum};

use super::say_dropped_marks;
use crate::failure::{Hint, usage};
use crate::options::vectors::PrecisionArgs;
use crate::options::{PairArgs, SpecialArgs, TextArgs, number};
use crate::output::{Format, RECORDS, VECTORS, VectorType};
use crate::progress::Talk;
use crate::stream::{Chunks, Item, Job, Stream, Terms};

use rows::{EmbedRow, Numbers, TokensRow, vector_type};

/// The options of `embed`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli embed 'The cat sat on the mat.' 'Stocks fell sharply.'
  echo 'one text per line' | albert-cli embed --pooling cls --output vectors.npy")]
pub(crate) struct EmbedArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    task: EmbeddingArgs,
    #[command(flatten)]
    precision: PrecisionArgs,
    #[command(flatten)]
    texts: TextArgs,
    #[command(flatten)]
    special: SpecialArgs,

    /// Continue the --output of an interrupted run, in jsonl, csv or npy
    #[arg(long, help_heading = "Output")]
    resume: bool,
}

/// The options that make the vector of a text from the vectors of its tokens.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
struct EmbeddingArgs {
    /// Pooling of the token vectors [default: from the model's files, else mean]
    #[arg(long, value_name = "MODE", value_enum)]
    pooling: Option<PoolingChoice>,

    /// Scale each vector to length 1 [default: from the model's files, else true]
    #[arg(long, value_name = "true|false", hide_possible_values = true)]
    normalize: Option<bool>,

    /// Keep only the first N values of each vector [default: from the model's files, else all]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    truncate_dim: Option<usize>,

    /// Prefix every text, overriding the model's prompt
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Prefix every text with the model's prompt of this name
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    prompt_name: Option<String>,

    /// Read texts longer than the model's limit in windows that share N tokens [default: truncate]
    ///
    /// Every window has the special tokens and the prompt. A token of the text that is in c windows
    /// has weight 1 / c in each of them, and the special tokens and the prompt have the window's
    /// share of the text as their weight. Therefore mean, mean-sqrt-len and weighted-mean are
    /// defined as for a short text; cls, last and pooler are averaged over the windows, weighted by
    /// their shares; max is taken over all windows. `tokens` counts the tokens of all windows. Not
    /// available for pairs.
    #[arg(long, alias = "window", value_name = "N", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    stride: Option<usize>,
}

/// A pooling of the token vectors.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum PoolingChoice {
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
    /// The mean, with greater weights for later tokens
    WeightedMean,
    /// The vector of the last token
    Last,
    /// No pooling: one vector per token
    Tokens,
}

impl PoolingChoice {
    pub(crate) fn mode(self) -> Option<PoolingMode> {
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

/// Runs the command.
pub(crate) fn run(args: EmbedArgs, talk: Talk) -> anyhow::Result<()> {
    let (task, precision) = (args.task, args.precision);
    precision.check()?;
    let by_token = task.pooling == Some(PoolingChoice::Tokens);
    if by_token && precision.is_quantized() {
        return Err(usage(
            "`--pooling tokens` and `--precision`: token vectors are only written in f32",
        ));
    }
    let single = by_token
        .then_some("--pooling tokens")
        .or(task.stride.map(|_| "--stride"));
    if let (Some(option), true) = (single, args.pair.pair.is_some() || args.pair.pairs) {
        return Err(usage(format!("`{option}` is not available for pairs")));
    }
    let pairs = if single.is_some() {
        Pairs::Refused
    } else {
        Pairs::Taken
    };
    let formats = if by_token { RECORDS } else { VECTORS };
    let format = args.texts.output.target(formats)?.format;
    let has_bytes_only = matches!(format, Format::Npy | Format::Safetensors);
    if precision.is_quantized() && args.texts.input.skip_bad && has_bytes_only {
        let format = format.name();
        return Err(usage(format!(
            "`--skip-bad`: {format} of bytes has no value to mark a bad row"
        ))
        .hint("write jsonl, or let a bad line end the run"));
    }
    let terms = Terms {
        formats,
        also_reads: precision
            .calibration()
            .map(Path::to_path_buf)
            .into_iter()
            .collect(),
        resumes: Some(args.resume),
        ..Terms::new(pairs).with_pair(args.pair)
    };
    let mut job = Job::open(args.texts, terms, talk)?;
    job.options.tokenizer.special_tokens_as_text = args.special.no_special_parse;
    let embedder = load(&job.files, &job.options, &task, talk)?;
    let chunks = Chunks::new(&job.options);
    if by_token {
        embed_tokens(&embedder, job.stream, chunks)?;
    } else {
        let quantizer = calibration::quantizer(&precision, &embedder, pairs, chunks, talk)?;
        embed(&embedder, quantizer.as_ref(), job.stream, chunks)?;
    }
    say_dropped_marks(embedder.tokenizer(), talk);
    Ok(())
}

/// Loads the model and applies the options; reports the pooling if the folder does not define it.
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
    if let Some(name) = &task.prompt_name {
        embedder = embedder.with_prompt_name(name)?;
    }
    if let Some(stride) = task.stride {
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
    stream: Stream,
    chunks: Chunks,
) -> anyhow::Result<()> {
    let vectors = Some(vector_type(quantizer, embedder.dim()));
    stream.run(vectors, chunks, |items| {
        let embeddings = embed_chunk(embedder, &items)?;
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
pub(super) fn embed_chunk(embedder: &Embedder, items: &[Item]) -> anyhow::Result<Vec<Embedding>> {
    embed_chunk_with(embedder, items, &EmbedOptions::default())
}

/// Embeds the texts and pairs of a chunk with options, in order.
pub(super) fn embed_chunk_with(
    embedder: &Embedder,
    items: &[Item],
    options: &EmbedOptions,
) -> anyhow::Result<Vec<Embedding>> {
    let inputs: Vec<(&str, Option<&str>)> = items
        .iter()
        .map(|item| (item.text.text.as_str(), item.text.pair.as_deref()))
        .collect();
    Ok(embedder.embed_with(&inputs, options)?)
}

fn embed_tokens(embedder: &Embedder, stream: Stream, chunks: Chunks) -> anyhow::Result<()> {
    let vectors = Some(VectorType::f32(embedder.dim()));
    stream.run(vectors, chunks, |items| {
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

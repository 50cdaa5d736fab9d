//! `neighbors`: finds near-duplicates, the pairs of texts that are most similar.

use std::time::Instant;

use albert_data::Pairs;
use albert_tasks::{Embedding, NeighborFinder, NeighborOptions};
use clap::Args;
use serde::Serialize;

use super::embed::embed_chunk;
use crate::input::Input;
use crate::options::{ComputeArgs, InputArgs, ModelArgs, OutputArgs, PairArgs, number};
use crate::output::{Column, Kept, Kind, RECORDS, Row, visible};
use crate::progress::{Progress, Talk, Tally};
use crate::stream::{self, Chunks, Item};

/// The options of `neighbors`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli neighbors 'A cat sleeps.' 'A cat is sleeping.' --threshold 0.8
  printf 'A cat\\nA cat.\\n' | albert-cli neighbors --output pairs.csv")]
pub(crate) struct NeighborsArgs {
    #[command(flatten)]
    task: NeighborArgs,
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The pairs to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Neighbors")]
struct NeighborArgs {
    /// Minimum cosine of a pair
    #[arg(long, value_name = "COSINE", default_value_t = 0.9, value_parser = cosine, allow_negative_numbers = true)]
    threshold: f32,

    /// Maximum number of pairs to show, most similar first
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    max_pairs: usize,
}

fn cosine(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(cosine) if (-1.0..=1.0).contains(&cosine) => Ok(cosine),
        _ => Err("expected a number from -1 to 1".to_string()),
    }
}

/// One pair.
#[derive(Debug, Serialize)]
struct NeighborRow {
    first: usize,
    second: usize,
    first_text: String,
    second_text: String,
    cosine: f32,
}

impl Row for NeighborRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("first", Kind::Integer),
        Column::new("second", Kind::Integer),
        Column::new("first_text", Kind::Text),
        Column::new("second_text", Kind::Text),
        Column::new("cosine", Kind::Float),
    ];
    const HEADING: &'static str = " cosine   first  second  texts";

    fn lines(&self) -> String {
        let texts = [&self.first_text, &self.second_text].map(|text| visible(text, 40));
        format!(
            "{:>7.4}  {:>6}  {:>6}  {} | {}\n",
            self.cosine, self.first, self.second, texts[0], texts[1]
        )
    }
}

/// Runs the command.
pub(crate) fn run(args: NeighborsArgs, talk: Talk) -> anyhow::Result<()> {
    let request = args.input.request(PairArgs::default(), Pairs::Refused)?;
    let input = Input::open(&request)?;
    let output = args
        .output
        .target(RECORDS)?
        .open(&request.origin.paths()?)?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let finder = NeighborFinder::load(&files, &options)?;
    let pooling = finder.embedder().pooling();
    if !pooling.from_modules {
        talk.say(format_args!("pooling: {}", pooling.why));
    }
    let started = Instant::now();
    let progress = Progress::new(talk, input.extent, false);
    let (mut search, mut known) = (finder.start(), Vec::new());
    let (mut tally, mut tokens, mut truncated) = (Tally::default(), 0, 0);
    let work = |items: Vec<Item>| {
        let embeddings = embed_chunk(finder.embedder(), &items)?;
        let texts = items.into_iter().map(|item| item.text.text);
        Ok(texts.zip(embeddings).map(Ok).collect())
    };
    let add = |embedded: Option<(String, Embedding)>| {
        let Some((text, embedding)) = embedded else {
            search.skip();
            known.push(String::new());
            return Ok(());
        };
        tokens += embedding.tokens;
        truncated += usize::from(embedding.truncated);
        known.push(text);
        Ok(search.add_vector(&embedding.vector)?)
    };
    stream::consume(
        input,
        Chunks::new(&options),
        &progress,
        &mut tally,
        work,
        add,
    )?;
    (tally.tokens, tally.truncated) = (Some(tokens), Some(truncated));
    let wanted = NeighborOptions::default()
        .with_threshold(args.task.threshold)
        .with_max_pairs(args.task.max_pairs);
    let mut writer = output.writer::<NeighborRow>(None, false)?;
    for pair in search.pairs(&wanted)? {
        let row = NeighborRow {
            first: pair.first,
            second: pair.second,
            first_text: known[pair.first].clone(),
            second_text: known[pair.second].clone(),
            cosine: pair.cosine,
        };
        writer.row(&row, &Kept::new())?;
    }
    writer.finish()?;
    tally.elapsed = started.elapsed();
    talk.say(tally);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = NeighborRow {
            first: 3,
            second: 17,
            first_text: "a".into(),
            second_text: "b".into(),
            cosine: 0.75,
        };
        let json = r#"{"first":3,"second":17,"first_text":"a","second_text":"b","cosine":0.75}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), " 0.7500       3      17  a | b\n");
    }

    #[test]
    fn a_threshold_is_a_cosine() {
        assert_eq!(cosine("-1"), Ok(-1.0));
        for bad in ["1.5", "nan", "x", ""] {
            assert!(cosine(bad).is_err(), "{bad}");
        }
    }
}

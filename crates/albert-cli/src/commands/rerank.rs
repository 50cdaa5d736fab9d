//! `rerank`: ranks texts by their relevance to a query, with a cross-encoder.

use std::time::Instant;

use albert_tasks::{Relevance, RerankOptions, Reranker};
use clap::Args;
use serde::Serialize;

use crate::input::Input;
use crate::options::{ComputeArgs, FileArgs, ModelArgs, OutputArgs, number};
use crate::output::{Column, Kept, Kind, RECORDS, Row, visible};
use crate::progress::{Progress, Talk, Tally};
use crate::stream::{self, Chunks, Item};

/// The options of `rerank`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  printf 'A\\nB\\n' | albert-cli rerank 'Who?' --model ./cross-encoder
  printf 'A\\nB\\n' | albert-cli rerank 'a' --model ./cross-encoder --top-k 1")]
pub(crate) struct RerankArgs {
    /// The query
    #[arg(value_name = "QUERY")]
    query: String,
    #[command(flatten, next_help_heading = "Texts")]
    texts: FileArgs,
    #[command(flatten)]
    task: RankArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    compute: ComputeArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The ranked texts to show.
#[derive(Debug, Args)]
#[command(next_help_heading = "Ranking")]
struct RankArgs {
    /// Texts to show, best first [default: all]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: Option<usize>,

    /// Show the sigmoid of each score, a probability, instead of the raw score
    #[arg(long)]
    probability: bool,
}

/// One ranked text.
#[derive(Debug, Serialize)]
struct RankRow {
    query: String,
    rank: usize,
    index: usize,
    text: String,
    score: f32,
}

impl Row for RankRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("query", Kind::Text),
        Column::new("rank", Kind::Integer),
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("score", Kind::Float),
    ];
    const HEADING: &'static str = " rank     score   index  text";

    fn lines(&self) -> String {
        let text = visible(&self.text, 80);
        let line = format!(
            "{:>5}  {:>8.4}  {:>6}  {text}",
            self.rank, self.score, self.index
        );
        format!("{}\n", line.trim_end())
    }
}

/// The best texts so far.
struct Best {
    top_k: usize,
    /// The index, the text and the score of each.
    texts: Vec<(usize, String, f32)>,
}

impl Best {
    fn push(&mut self, text: (usize, String, f32)) {
        /// The number of texts that collect before the next sort.
        const SLACK: usize = 1024;
        self.texts.push(text);
        if self.texts.len() >= self.top_k.saturating_add(SLACK) {
            self.sort();
        }
    }

    /// Sorts the texts, best first; texts with equal scores keep their order.
    fn sort(&mut self) {
        self.texts
            .sort_by(|a, b| b.2.total_cmp(&a.2).then(a.0.cmp(&b.0)));
        self.texts.truncate(self.top_k);
    }
}

/// Runs the command.
pub(crate) fn run(args: RerankArgs, talk: Talk) -> anyhow::Result<()> {
    let request = args
        .texts
        .request("give `--input FILE`, or pipe lines into the command")?;
    let texts = Input::open(&request)?;
    let output = args
        .output
        .target(RECORDS)?
        .open(&request.origin.paths()?)?;
    let options = args.compute.run_options(&args.model, talk)?;
    let files = args.model.files(talk)?;
    output.spare(&files)?;
    let reranker = Reranker::load(&files, &options)?;
    let started = Instant::now();
    let rerank = RerankOptions::default().with_probability(args.task.probability);
    let mut best = Best {
        top_k: args.task.top_k.unwrap_or(usize::MAX),
        texts: Vec::new(),
    };
    let progress = Progress::new(talk, texts.extent, false);
    let (mut tally, mut tokens, mut truncated) = (Tally::default(), 0, 0);
    let work = |items: Vec<Item>| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let scores = reranker.score(&args.query, &texts, &rerank)?;
        Ok(items.into_iter().zip(scores).map(Ok).collect())
    };
    let add = |scored: Option<(Item, Relevance)>| {
        if let Some((item, relevance)) = scored {
            tokens += relevance.tokens;
            truncated += usize::from(relevance.truncated);
            best.push((item.index, item.text.text, relevance.score));
        }
        Ok(())
    };
    stream::consume(
        texts,
        Chunks::new(&options),
        &progress,
        &mut tally,
        work,
        add,
    )?;
    (tally.tokens, tally.truncated) = (Some(tokens), Some(truncated));
    best.sort();
    let mut writer = output.writer::<RankRow>(None, false)?;
    for (rank, (index, text, score)) in best.texts.into_iter().enumerate() {
        let row = RankRow {
            query: args.query.clone(),
            rank: rank + 1,
            index,
            text,
            score,
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
        let row = RankRow {
            query: "q".into(),
            rank: 1,
            index: 17,
            text: "t".into(),
            score: -4.5,
        };
        let json = r#"{"query":"q","rank":1,"index":17,"text":"t","score":-4.5}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    1   -4.5000      17  t\n");
    }

    #[test]
    fn the_best_are_kept_in_order() {
        let mut best = Best {
            top_k: 2,
            texts: Vec::new(),
        };
        for index in 0..3000 {
            best.push((index, String::new(), (index % 7) as f32));
        }
        best.sort();
        let kept: Vec<usize> = best.texts.iter().map(|text| text.0).collect();
        assert_eq!(kept, [6, 13]);
    }
}

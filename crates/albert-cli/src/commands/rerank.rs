//! `rerank`: ranks texts by their relevance to a query, with a cross-encoder.

use std::time::Instant;

use albert_tasks::{Relevance, RerankOptions, Reranker};
use clap::Args;
use serde::Serialize;

use crate::input::Input;
use crate::options::{ColumnArgs, ComputeArgs, FileArgs, ModelArgs, OutputArgs, number};
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
    #[command(flatten)]
    columns: ColumnArgs,
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

/// A text with its score.
struct Candidate {
    index: usize,
    text: String,
    score: f32,
    kept: Kept,
}

/// The best texts so far.
struct Best {
    top_k: usize,
    texts: Vec<Candidate>,
}

impl Best {
    fn push(&mut self, candidate: Candidate) {
        /// Sorting pays off for many texts together.
        const SLACK: usize = 1024;
        self.texts.push(candidate);
        if self.texts.len() >= self.top_k.saturating_add(SLACK) {
            self.sort();
        }
    }

    /// Sorts the texts, best first; texts with equal scores keep their order.
    fn sort(&mut self) {
        self.texts
            .sort_by(|a, b| b.score.total_cmp(&a.score).then(a.index.cmp(&b.index)));
        self.texts.truncate(self.top_k);
    }
}

/// Runs the command.
pub(crate) fn run(args: RerankArgs, talk: Talk) -> anyhow::Result<()> {
    let request = args.texts.request(
        args.columns.keep.as_ref(),
        "give `--input FILE`, or pipe lines into the command",
    )?;
    let mut target = args.output.target(RECORDS)?;
    let layout = args.columns.layout(target.format)?;
    layout.check::<RankRow>()?;
    target.layout = layout.clone();
    let texts = Input::open(&request)?;
    let output = target.open(&request.origin.paths()?)?;
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
    let add = |scored: Option<(Item, Relevance)>, kept: Kept| {
        if let Some((item, relevance)) = scored {
            layout.check_kept::<RankRow>(&kept)?;
            tokens += relevance.tokens;
            truncated += usize::from(relevance.truncated);
            best.push(Candidate {
                index: item.index,
                text: item.text.text,
                score: relevance.score,
                kept,
            });
        }
        Ok(())
    };
    let chunks = Chunks::new(&options);
    stream::consume_with_kept(texts, chunks, &progress, &mut tally, work, add)?;
    (tally.tokens, tally.truncated) = (Some(tokens), Some(truncated));
    best.sort();
    let mut writer = output.writer::<RankRow>(None, false)?;
    for (rank, candidate) in best.texts.into_iter().enumerate() {
        let row = RankRow {
            query: args.query.clone(),
            rank: rank + 1,
            index: candidate.index,
            text: candidate.text,
            score: candidate.score,
        };
        writer.row(&row, &candidate.kept)?;
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
            best.push(Candidate {
                index,
                text: String::new(),
                score: (index % 7) as f32,
                kept: Kept::new(),
            });
        }
        best.sort();
        let kept: Vec<usize> = best.texts.iter().map(|text| text.index).collect();
        assert_eq!(kept, [6, 13]);
    }
}

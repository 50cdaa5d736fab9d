//! `similarity`: the cosine between the embeddings of two texts.

use albert_data::Pairs;
use albert_tasks::{EmbedOptions, SimilarityScore, SimilarityScorer};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use crate::options::TextArgs;
use crate::output::{Column, Kind, Row, shown};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `similarity`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli similarity 'A man plays a guitar.' 'Someone makes music.'
  printf 'A cat sleeps.\\tA kitten naps.\\n' | albert-cli similarity --format csv")]
pub(crate) struct SimilarityArgs {
    #[command(flatten)]
    task: PromptArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The prompt of both texts.
#[derive(Debug, Args)]
#[command(next_help_heading = "Embedding")]
struct PromptArgs {
    /// Prefix every text, overriding the model's prompt
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,

    /// Prefix every text with the model's prompt of this name
    #[arg(long, value_name = "NAME", conflicts_with = "prompt")]
    prompt_name: Option<String>,
}

/// The similarity of a pair.
#[derive(Debug, Serialize)]
struct SimilarityRow {
    index: usize,
    first: String,
    second: String,
    cosine: f32,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for SimilarityRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("first", Kind::Text),
        Column::new("second", Kind::Text),
        Column::new("cosine", Kind::Float),
    ];
    const HEADING: &'static str = "index   cosine  first | second";

    fn lines(&self) -> String {
        let pair = shown(&self.first, Some(&self.second));
        format!("{:>5}  {:>7.4}  {pair}\n", self.index, self.cosine)
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// Runs the command.
pub(crate) fn run(mut args: SimilarityArgs, talk: Talk) -> anyhow::Result<()> {
    let pair = args.texts.input.take_pair()?;
    let job = Job::open(
        args.texts,
        Terms::new(Pairs::Needed("first,second")).with_pair(pair),
        talk,
    )?;
    let similarity = SimilarityScorer::load(&job.files, &job.options)?;
    let pooling = similarity.embedder().pooling();
    if !pooling.from_modules {
        talk.say(format_args!("pooling: {}", pooling.why));
    }
    let mut prompts = EmbedOptions::default();
    (prompts.prompt, prompts.prompt_name) = (args.task.prompt, args.task.prompt_name);
    similarity.embedder().check(&prompts)?;
    job.run(|items| {
        let pairs: Vec<(&str, &str)> = items.iter().map(|item| item.text.as_pair()).collect();
        let answers = similarity.compare_with(&pairs, &prompts)?;
        let rows = items.into_iter().zip(answers).map(|(item, answer)| {
            let SimilarityScore {
                cosine,
                tokens,
                truncated,
            } = answer;
            let second = item.text.pair.ok_or_else(|| anyhow!("no second text"))?;
            Ok(SimilarityRow {
                index: item.index,
                first: item.text.text,
                second,
                cosine,
                tokens,
                truncated,
            })
        });
        Ok(rows.collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = SimilarityRow {
            index: 0,
            first: "a".into(),
            second: "b".into(),
            cosine: -0.5,
            tokens: 6,
            truncated: false,
        };
        let json = r#"{"index":0,"first":"a","second":"b","cosine":-0.5}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    0  -0.5000  a | b\n");
    }
}

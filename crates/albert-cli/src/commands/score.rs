//! `score`: computes the pseudo-log-likelihoods of texts.

use albert_data::Pairs;
use albert_tasks::MaskFiller;
use clap::Args;
use serde::Serialize;

use crate::options::TextArgs;
use crate::output::{Column, Kind, Row, shown};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `score`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli score 'He read the book.' 'He read book the.'
  echo 'one text per line' | albert-cli score --format jsonl")]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) texts: TextArgs,
}

/// One text's score.
#[derive(Debug, Serialize)]
struct ScoreRow {
    index: usize,
    text: String,
    log_likelihood: f64,
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for ScoreRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("log_likelihood", Kind::Double),
        Column::new("tokens", Kind::Integer),
    ];
    const HEADING: &'static str = "index  tokens  log likelihood  text";

    fn lines(&self) -> String {
        format!(
            "{:>5}  {:>6}  {:>14.4}  {}\n",
            self.index,
            self.tokens,
            self.log_likelihood,
            shown(&self.text, None)
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
pub(crate) fn run(args: ScoreArgs, talk: Talk) -> anyhow::Result<()> {
    let job = Job::open(args.texts, Terms::new(Pairs::Refused), talk)?;
    let filler = MaskFiller::load(&job.files, &job.options)?;
    job.run(|items| {
        let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
        let scores = filler.score(&texts)?;
        let rows = items.into_iter().zip(scores);
        Ok(rows
            .map(|(item, score)| {
                Ok(ScoreRow {
                    index: item.index,
                    text: item.text.text,
                    log_likelihood: score.log_likelihood,
                    tokens: score.tokens,
                    truncated: score.truncated,
                })
            })
            .collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = ScoreRow {
            index: 0,
            text: "a".into(),
            log_likelihood: -12.25,
            tokens: 7,
            truncated: false,
        };
        let json = r#"{"index":0,"text":"a","log_likelihood":-12.25,"tokens":7}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    0       7        -12.2500  a\n");
    }
}

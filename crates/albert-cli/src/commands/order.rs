//! `order`: sentence order prediction for two texts or, with `--sort`, the order of the shuffled
//! sentences of a text.

use albert_data::Pairs;
use albert_tasks::{Orderer, SentenceOrder};
use anyhow::anyhow;
use clap::Args;
use serde::Serialize;

use crate::options::TextArgs;
use crate::output::{Column, Kind, Row, columns, shown, visible};
use crate::progress::Talk;
use crate::stream::{Item, Job, Terms};

/// The options of `order`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli order 'It began to rain.' 'So we went home.'
  albert-cli order --sort 'So we went home. It began to rain. We were wet.'")]
pub(crate) struct OrderArgs {
    #[command(flatten)]
    task: SortArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The option that chooses between comparing two texts and sorting sentences.
#[derive(Debug, Args)]
#[command(next_help_heading = "Order")]
struct SortArgs {
    /// Sort the sentences of each text instead of comparing two texts
    #[arg(long)]
    sort: bool,
}

/// The probability that a pair is in order.
#[derive(Debug, Serialize)]
struct OrderRow {
    index: usize,
    first: String,
    second: String,
    in_order: f32,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

impl Row for OrderRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("first", Kind::Text),
        Column::new("second", Kind::Text),
        Column::new("in_order", Kind::Float),
    ];
    const HEADING: &'static str = "index  in order  first | second";

    fn lines(&self) -> String {
        let pair = shown(&self.first, Some(&self.second));
        format!("{:>5}  {:>8.4}  {pair}\n", self.index, self.in_order)
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// The sentences of one text in the best order.
#[derive(Debug, Serialize)]
struct SortRow {
    index: usize,
    order: Vec<usize>,
    sentences: Vec<String>,
    #[serde(skip)]
    tokens: usize,
}

impl Row for SortRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("order", Kind::List(&Kind::Integer)),
        Column::new("sentences", Kind::List(&Kind::Text)),
    ];

    fn lines(&self) -> String {
        let stood = self.order.iter().zip(&self.sentences);
        let cells: Vec<_> = stood
            .map(|(at, sentence)| vec![format!("       {at}"), visible(sentence, 80)])
            .collect();
        format!("{:>5}\n{}", self.index, columns(&cells, &[0]))
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }
}

/// Runs the command.
pub(crate) fn run(mut args: OrderArgs, talk: Talk) -> anyhow::Result<()> {
    let terms = if args.task.sort {
        Terms::new(Pairs::Refused)
    } else {
        let pair = args.texts.input.take_pair()?;
        Terms::new(Pairs::Needed("first,second")).with_pair(pair)
    };
    let job = Job::open(args.texts, terms, talk)?;
    let orderer = Orderer::load(&job.files, &job.options)?;
    if args.task.sort {
        job.run(|items| sort(&orderer, items))
    } else {
        job.run(|items| order(&orderer, items))
    }
}

fn order(orderer: &Orderer, items: Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<OrderRow>>> {
    let pairs: Vec<(&str, &str)> = items.iter().map(|item| item.text.as_pair()).collect();
    let answers = orderer.order(&pairs)?;
    let rows = items.into_iter().zip(answers).map(|(item, answer)| {
        let SentenceOrder {
            in_order,
            tokens,
            truncated,
        } = answer;
        let second = item.text.pair.ok_or_else(|| anyhow!("no second text"))?;
        Ok(OrderRow {
            index: item.index,
            first: item.text.text,
            second,
            in_order,
            tokens,
            truncated,
        })
    });
    Ok(rows.collect())
}

fn sort(orderer: &Orderer, items: Vec<Item>) -> anyhow::Result<Vec<anyhow::Result<SortRow>>> {
    let texts: Vec<&str> = items.iter().map(|item| item.text.text.as_str()).collect();
    let answers = orderer.sort_each(&texts);
    let rows = items.into_iter().zip(answers).map(|(item, answer)| {
        let answer = answer?;
        Ok(SortRow {
            index: item.index,
            order: answer.order,
            sentences: answer.sentences,
            tokens: answer.tokens,
        })
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_keys_in_order() {
        let row = OrderRow {
            index: 0,
            first: "a".into(),
            second: "b".into(),
            in_order: 0.5,
            tokens: 5,
            truncated: false,
        };
        let json = r#"{"index":0,"first":"a","second":"b","in_order":0.5}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    0    0.5000  a | b\n");
        let row = SortRow {
            index: 0,
            order: vec![1, 0],
            sentences: vec!["b.".into(), "a.".into()],
            tokens: 9,
        };
        let json = r#"{"index":0,"order":[1,0],"sentences":["b.","a."]}"#;
        assert_eq!(serde_json::to_string(&row).unwrap(), json);
        assert_eq!(row.lines(), "    0\n       1  b.\n       0  a.\n");
    }
}

//! `classify`: text classification with the labels of a fine-tuned model.

use albert_data::Pairs;
use albert_tasks::{Classifier, ClassifyOptions, LabelScore, ScoreFunction};
use clap::Args;
use serde::Serialize;

use crate::options::{PairArgs, TextArgs, number};
use crate::output::{Column, Kind, Row, bar, columns, shown, visible};
use crate::progress::Talk;
use crate::stream::{Job, Terms};

/// The options of `classify`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli classify --model ./sentiment 'What a fine day.'
  albert-cli classify --model ./sentiment 'Rain?' --pair 'Yes, it is.' --top-k 1")]
pub(crate) struct ClassifyArgs {
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    task: LabelArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The labels to show, and their scores.
#[derive(Debug, Args)]
#[command(next_help_heading = "Labels")]
struct LabelArgs {
    /// Labels for each text, best first [default: all]
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), allow_negative_numbers = true)]
    top_k: Option<usize>,

    /// Function from logits to scores [default: from the model's problem_type]
    #[arg(long, value_name = "softmax|sigmoid|none")]
    function: Option<ScoreFunction>,

    /// Read texts longer than the model's limit in windows that share N tokens [default: truncate]
    ///
    /// The scores of a text are the mean over its windows, weighted by the number of its tokens in
    /// each. The second text of a pair is in every window.
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    stride: Option<usize>,
}

/// One text's labels.
#[derive(Debug, Serialize)]
pub(crate) struct LabelsRow {
    pub(crate) index: usize,
    pub(crate) text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pair: Option<String>,
    pub(crate) labels: Vec<LabelScore>,
    #[serde(skip)]
    pub(crate) tokens: usize,
    #[serde(skip)]
    pub(crate) truncated: bool,
}

const LABEL: Kind = Kind::Record(&[
    Column::new("label", Kind::Text),
    Column::new("score", Kind::Float),
]);

impl Row for LabelsRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::optional("pair", Kind::Text),
        Column::new("labels", Kind::List(&LABEL)),
    ];

    fn lines(&self) -> String {
        let cells: Vec<_> = self
            .labels
            .iter()
            .map(|label| {
                let name = format!("       {}", visible(&label.label, 40));
                vec![name, format!("{:.4}", label.score), bar(label.score)]
            })
            .collect();
        let text = shown(&self.text, self.pair.as_deref());
        format!("{:>5}  {text}\n{}", self.index, columns(&cells, &[1]))
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.tokens)
    }

    fn truncated(&self) -> Option<bool> {
        Some(self.truncated)
    }
}

/// Runs the command.
pub(crate) fn run(args: ClassifyArgs, talk: Talk) -> anyhow::Result<()> {
    let classify = ClassifyOptions::default()
        .with_top_k(args.task.top_k)
        .with_function(args.task.function)
        .with_stride(args.task.stride);
    let job = Job::open(
        args.texts,
        Terms::new(Pairs::Taken).with_pair(args.pair),
        talk,
    )?;
    let classifier = Classifier::load(&job.files, &job.options)?;
    job.run(|items| {
        let texts: Vec<(&str, Option<&str>)> = items
            .iter()
            .map(|item| (item.text.text.as_str(), item.text.pair.as_deref()))
            .collect();
        let answers = classifier.classify(&texts, &classify)?;
        let rows = items.into_iter().zip(answers).map(|(item, answer)| {
            Ok(LabelsRow {
                index: item.index,
                text: item.text.text,
                pair: item.text.pair,
                labels: answer.labels,
                tokens: answer.tokens,
                truncated: answer.truncated,
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
        let row = LabelsRow {
            index: 0,
            text: "a".into(),
            pair: None,
            labels: vec![LabelScore::new("POSITIVE", 0.75)],
            tokens: 3,
            truncated: false,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":0,"text":"a","labels":[{"label":"POSITIVE","score":0.75}]}"#
        );
        assert_eq!(
            row.lines(),
            "    0  a\n       POSITIVE  0.7500  ██████████████████\n"
        );
    }
}

//! `tokenize`: splits texts into the tokens that enter the model. Needs no weights and does not
//! truncate.

use albert_data::Pairs;
use albert_tasks::tokenizer::Explanation;
use albert_tasks::{Tokenizer, TokenizerOptions};
use clap::Args;
use rayon::prelude::*;
use serde::Serialize;

use super::say_dropped_marks;
use crate::options::{ColumnArgs, InputArgs, ModelArgs, OutputArgs, PairArgs, SpecialArgs};
use crate::output::{Column, Kind, Row, columns, visible};
use crate::progress::Talk;
use crate::stream::{Chunks, Stream, Terms};

/// The options of `tokenize`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli tokenize 'Unbelievably naïve.' --explain
  albert-cli tokenize 'Is it raining?' --pair 'Yes, it is.' --format jsonl")]
pub(crate) struct TokenizeArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    pair: PairArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    special: SpecialArgs,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    columns: ColumnArgs,

    /// Add the rule that produced each piece, and the normalization of its text
    #[arg(long, help_heading = "Output")]
    explain: bool,
}

/// One text's tokens.
#[derive(Debug, Serialize)]
struct TokenizeRow {
    index: usize,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<String>,
    ids: Vec<u32>,
    pieces: Vec<String>,
    type_ids: Vec<u32>,
    special_tokens_mask: Vec<u32>,
    offsets: Vec<(usize, usize)>,
    /// One for each piece, with `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Vec<Explanation>>,
}

const EXPLANATION: Kind = Kind::Record(&[
    Column::new("rule", Kind::Text),
    Column::optional("score", Kind::Float),
    Column::optional("cut_from", Kind::Text),
    Column::optional("normalized", NORMALIZED),
]);

const NORMALIZED: Kind = Kind::Record(&[
    Column::new("from", Kind::Text),
    Column::new("to", Kind::Text),
    Column::new("steps", Kind::List(&Kind::Text)),
]);

impl Row for TokenizeRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::optional("pair", Kind::Text),
        Column::new("ids", Kind::List(&Kind::Integer)),
        Column::new("pieces", Kind::List(&Kind::Text)),
        Column::new("type_ids", Kind::List(&Kind::Integer)),
        Column::new("special_tokens_mask", Kind::List(&Kind::Integer)),
        Column::new("offsets", Kind::List(&Kind::Span)),
        Column::optional("explain", Kind::List(&EXPLANATION)),
    ];

    fn lines(&self) -> String {
        const WIDTH: usize = 70;
        let mut cells = vec![
            ["", "id", "piece", "type", "characters"]
                .map(String::from)
                .to_vec(),
        ];
        if self.explain.is_some() {
            cells[0].push("rule".to_string());
        }
        for (index, (id, piece)) in self.ids.iter().zip(&self.pieces).enumerate() {
            let (start, end) = self.offsets.get(index).copied().unwrap_or_default();
            let kind = self.type_ids.get(index).copied().unwrap_or_default();
            cells.push(vec![
                index.to_string(),
                id.to_string(),
                visible(piece, WIDTH),
                kind.to_string(),
                if start == end {
                    String::new()
                } else {
                    format!("{start}..{end}")
                },
            ]);
            if let (Some(explain), Some(row)) = (&self.explain, cells.last_mut()) {
                row.push(explain.get(index).map_or(String::new(), |reason| {
                    visible(&reason.to_string(), 2 * WIDTH)
                }));
            }
        }
        let mut lines = visible(&self.text, WIDTH);
        if let Some(pair) = &self.pair {
            lines.push_str(&format!(" | {}", visible(pair, WIDTH)));
        }
        format!("{lines}\n{}\n", columns(&cells, &[0, 1, 3]))
    }

    fn tokens(&self) -> Option<usize> {
        Some(self.ids.len())
    }
}

/// Runs the command.
pub(crate) fn run(args: TokenizeArgs, talk: Talk) -> anyhow::Result<()> {
    /// The size of a chunk; tokenizing has no batches, so this is the batch size of the other
    /// commands.
    const BATCH_TOKENS: usize = 2048;
    let terms = Terms::new(Pairs::Taken).with_pair(args.pair);
    let stream = Stream::open(args.input, &args.output, args.columns, terms, talk)?;
    let options = TokenizerOptions {
        special_tokens_as_text: args.special.no_special_parse,
        ..args.model.tokenizer()
    };
    let files = args.model.files(talk)?;
    stream.output.spare(&files)?;
    let tokenizer = Tokenizer::load(&files, &options)?;
    let chunks = Chunks::with_batch_tokens(BATCH_TOKENS);
    stream.run(None, chunks, |items| {
        let rows = items.into_par_iter().map(|item| {
            let (text, pair) = (&item.text.text, item.text.pair.as_deref());
            let (encoding, explain) = if args.explain {
                let (encoding, explain) = tokenizer.explain(text, pair)?;
                (encoding, Some(explain))
            } else {
                (tokenizer.encode(text, pair, None)?, None)
            };
            Ok(TokenizeRow {
                index: item.index,
                text: item.text.text,
                pair: item.text.pair,
                ids: encoding.ids,
                pieces: encoding.pieces,
                type_ids: encoding.type_ids,
                special_tokens_mask: encoding.special_tokens_mask,
                offsets: encoding.offsets,
                explain,
            })
        });
        Ok(rows.collect())
    })?;
    say_dropped_marks(&tokenizer, talk);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let row = TokenizeRow {
            index: 1,
            text: "a".into(),
            pair: Some("b".into()),
            ids: vec![2, 21],
            pieces: vec!["[CLS]".into(), "▁a".into()],
            type_ids: vec![0, 0],
            special_tokens_mask: vec![1, 0],
            offsets: vec![(0, 0), (0, 1)],
            explain: None,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":1,"text":"a","pair":"b","ids":[2,21],"pieces":["[CLS]","▁a"],"type_ids":[0,0],"special_tokens_mask":[1,0],"offsets":[[0,0],[0,1]]}"#
        );
        assert!(
            row.lines().contains("1  21  ▁a        0  0..1"),
            "{}",
            row.lines()
        );
    }
}

//! `tokenize`: splits texts into the tokens that enter the model. Needs no weights and does not
//! truncate.

use std::fmt;
use std::sync::Arc;

use albert_data::Pairs;
use albert_tasks::tokenizer::{CompactEncoding, Encoding, Explanation};
use albert_tasks::{Tokenizer, TokenizerOptions};
use clap::Args;
use rayon::prelude::*;
use serde::{Serialize, Serializer};

use super::say_dropped_marks;
use crate::options::{InputArgs, ModelArgs, OutputArgs, PairArgs, RowArgs, SpecialArgs};
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
    rows: RowArgs,

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
    #[serde(serialize_with = "shared")]
    ids: Arc<Vec<u32>>,
    pieces: Pieces,
    type_ids: Vec<u8>,
    special_tokens_mask: Vec<u8>,
    offsets: Vec<(u32, u32)>,
    /// One for each piece, with `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    explain: Option<Vec<Explanation>>,
}

/// The pieces of a row, looked up when they are written: as strings they would take many times the
/// room of the text.
struct Pieces {
    tokenizer: Arc<Tokenizer>,
    ids: Arc<Vec<u32>>,
}

impl Pieces {
    fn iter(&self) -> impl Iterator<Item = String> {
        let piece = |&id: &u32| self.tokenizer.id_to_token(id).unwrap_or_default();
        self.ids.iter().map(piece)
    }
}

fn shared<S: Serializer>(ids: &Arc<Vec<u32>>, serializer: S) -> Result<S::Ok, S::Error> {
    ids.serialize(serializer)
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl Serialize for Pieces {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// The tokens of a text or a pair.
struct Tokens {
    ids: Vec<u32>,
    type_ids: Vec<u8>,
    special_tokens_mask: Vec<u8>,
    offsets: Vec<(u32, u32)>,
}

impl From<CompactEncoding> for Tokens {
    fn from(compact: CompactEncoding) -> Self {
        let count = compact.ids.len();
        Self {
            type_ids: vec![0; count],
            special_tokens_mask: (0..count)
                .map(|index| u8::from(compact.is_special(index)))
                .collect(),
            ids: compact.ids,
            offsets: compact.offsets,
        }
    }
}

impl From<Encoding> for Tokens {
    fn from(encoding: Encoding) -> Self {
        // Types are 0 and 1, and a text has fewer than 2³² characters.
        let offsets = encoding.offsets.iter();
        Self {
            type_ids: encoding.type_ids.iter().map(|&it| it as u8).collect(),
            special_tokens_mask: encoding
                .special_tokens_mask
                .iter()
                .map(|&it| it as u8)
                .collect(),
            offsets: offsets
                .map(|&(start, end)| (start as u32, end as u32))
                .collect(),
            ids: encoding.ids,
        }
    }
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
        for (index, (id, piece)) in self.ids.iter().zip(self.pieces.iter()).enumerate() {
            let (start, end) = self.offsets.get(index).copied().unwrap_or_default();
            let kind = self.type_ids.get(index).copied().unwrap_or_default();
            cells.push(vec![
                index.to_string(),
                id.to_string(),
                visible(&piece, WIDTH),
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
    let stream = Stream::open(args.input, &args.output, args.rows, terms, talk)?;
    let options = TokenizerOptions {
        special_tokens_as_text: args.special.no_special_parse,
        ..args.model.tokenizer()
    };
    let files = args.model.files(talk)?;
    stream.output.spare(&files)?;
    let tokenizer = Arc::new(Tokenizer::load(&files, &options)?);
    let chunks = Chunks::with_batch_tokens(BATCH_TOKENS);
    stream.run(None, chunks, |items| {
        let rows = items.into_par_iter().map(|item| {
            let (text, pair) = (&item.text.text, item.text.pair.as_deref());
            let mut explain = None;
            let compact = match pair {
                None if !args.explain => tokenizer.encode_compact(text)?,
                _ => None,
            };
            let tokens = match compact {
                Some(compact) => Tokens::from(compact),
                None if args.explain => {
                    let (encoding, reasons) = tokenizer.explain(text, pair)?;
                    explain = Some(reasons);
                    Tokens::from(encoding)
                }
                None => Tokens::from(tokenizer.encode(text, pair, None)?),
            };
            let ids = Arc::new(tokens.ids);
            Ok(TokenizeRow {
                index: item.index,
                text: item.text.text,
                pair: item.text.pair,
                pieces: Pieces {
                    tokenizer: Arc::clone(&tokenizer),
                    ids: Arc::clone(&ids),
                },
                ids,
                type_ids: tokens.type_ids,
                special_tokens_mask: tokens.special_tokens_mask,
                offsets: tokens.offsets,
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

    #[cfg(feature = "builtin")]
    #[test]
    fn a_row_has_its_keys_in_order() {
        let files = albert_tasks::ModelFiles::builtin().unwrap();
        let tokenizer = Tokenizer::load(&files, &TokenizerOptions::default()).unwrap();
        let id = |piece: &str| tokenizer.token_to_id(piece).unwrap();
        let (start, a) = (id("[CLS]"), id("a"));
        let ids = Arc::new(vec![start, a]);
        let row = TokenizeRow {
            index: 1,
            text: "a".into(),
            pair: Some("b".into()),
            pieces: Pieces {
                tokenizer: Arc::new(tokenizer),
                ids: Arc::clone(&ids),
            },
            ids,
            type_ids: vec![0, 0],
            special_tokens_mask: vec![1, 0],
            offsets: vec![(0, 0), (0, 1)],
            explain: None,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            format!(
                r#"{{"index":1,"text":"a","pair":"b","ids":[{start},{a}],"pieces":["[CLS]","a"],"type_ids":[0,0],"special_tokens_mask":[1,0],"offsets":[[0,0],[0,1]]}}"#
            )
        );
        let line = format!("1  {a:>2}  a         0  0..1");
        assert!(row.lines().contains(&line), "{}", row.lines());
    }
}

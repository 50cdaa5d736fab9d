//! `tag`: finds named entities and other labeled spans in texts.

use albert_data::Pairs;
use albert_tasks::{Aggregation, Entities, Entity, TagOptions, Tagger};
use anyhow::anyhow;
use clap::{ArgAction, Args};
use serde::Serialize;

use crate::failure::{Hint, usage};
use crate::options::{TextArgs, number};
use crate::output::{Column, Kind, Row, columns, shown, visible};
use crate::progress::Talk;
use crate::stream::{Item, Job, Terms};

/// The options of `tag`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  albert-cli tag --model ./entities 'Alice moved from Paris to Oslo.'
  echo 'A text per line' | albert-cli tag --model ./entities --aggregation first")]
pub(crate) struct TagArgs {
    #[command(flatten)]
    task: EntityArgs,
    #[command(flatten)]
    texts: TextArgs,
}

/// The aggregation of tokens into entities.
#[derive(Debug, Args)]
#[command(next_help_heading = "Entities")]
struct EntityArgs {
    /// Tokens to join into entities: none, neighbors with the same label, or those of a word
    #[arg(long, value_name = "none|simple|first|average|max", default_value_t)]
    aggregation: Aggregation,

    /// Read texts longer than the model's limit in windows that share N tokens [default: truncate]
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX), allow_negative_numbers = true)]
    stride: Option<usize>,

    /// With first, average or max, label whole words; use false for texts without spaces
    #[arg(long, value_name = "true|false", hide_possible_values = true, default_value_t = true, action = ArgAction::Set)]
    align_to_words: bool,
}

impl EntityArgs {
    fn options(&self) -> anyhow::Result<TagOptions> {
        if self.stride.is_some() && self.aggregation == Aggregation::None {
            return Err(usage(
                "`--stride` and `--aggregation none`: the tokens of two windows cannot be joined",
            )
            .hint("choose another aggregation, such as simple"));
        }
        Ok(TagOptions::default()
            .with_aggregation(self.aggregation)
            .with_stride(self.stride)
            .with_align_to_words(self.align_to_words))
    }
}

/// One text's entities.
#[derive(Debug, Serialize)]
struct TagRow {
    index: usize,
    text: String,
    entities: Vec<Entity>,
    #[serde(skip)]
    tokens: usize,
    #[serde(skip)]
    truncated: bool,
}

const ENTITY: Kind = Kind::Record(&[
    Column::new("label", Kind::Text),
    Column::new("start", Kind::Integer),
    Column::new("end", Kind::Integer),
    Column::optional("first_word", Kind::Integer),
    Column::optional("last_word", Kind::Integer),
    Column::new("text", Kind::Text),
    Column::new("score", Kind::Float),
]);

impl Row for TagRow {
    const COLUMNS: &'static [Column] = &[
        Column::new("index", Kind::Integer),
        Column::new("text", Kind::Text),
        Column::new("entities", Kind::List(&ENTITY)),
    ];

    fn lines(&self) -> String {
        let cells: Vec<_> = self
            .entities
            .iter()
            .map(|entity| {
                vec![
                    format!("       {}", visible(&entity.label, 20)),
                    format!("{:.4}", entity.score),
                    format!("{}..{}", entity.start, entity.end),
                    visible(&entity.text, 50),
                ]
            })
            .collect();
        format!(
            "{:>5}  {}\n{}",
            self.index,
            shown(&self.text, None),
            columns(&cells, &[])
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
pub(crate) fn run(args: TagArgs, talk: Talk) -> anyhow::Result<()> {
    let tag = args.task.options()?;
    let job = Job::open(args.texts, Terms::new(Pairs::Words), talk)?;
    let tagger = Tagger::load(&job.files, &job.options)?;
    tagger.check(&tag)?;
    job.run(|items| {
        let answers = tag_items(&tagger, &items, &tag)?;
        let rows = items.into_iter().zip(answers).map(|(item, answer)| {
            Ok(TagRow {
                index: item.index,
                text: item.text.text,
                entities: answer.entities,
                tokens: answer.tokens,
                truncated: answer.truncated,
            })
        });
        Ok(rows.collect())
    })
}

/// Tags the texts of a chunk, in order; a text given as words is tagged by words.
fn tag_items(
    tagger: &Tagger,
    items: &[Item],
    options: &TagOptions,
) -> anyhow::Result<Vec<Entities>> {
    let texts: Vec<&str> = items
        .iter()
        .filter(|item| item.text.words.is_none())
        .map(|item| item.text.text.as_str())
        .collect();
    let words: Vec<&[String]> = items
        .iter()
        .filter_map(|item| item.text.words.as_deref())
        .collect();
    let mut texts = tagger.tag(&texts, options)?.into_iter();
    let mut words = tagger.tag_words(&words, options)?.into_iter();
    let next = |item: &Item| {
        let answers = if item.text.words.is_some() {
            &mut words
        } else {
            &mut texts
        };
        answers.next().ok_or_else(|| anyhow!("no answer"))
    };
    items.iter().map(next).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_keys_in_order() {
        let entity = Entity {
            label: "PER".into(),
            start: 0,
            end: 5,
            first_word: None,
            last_word: None,
            text: "Alice".into(),
            score: 0.5,
        };
        let row = TagRow {
            index: 0,
            text: "Alice".into(),
            entities: vec![entity],
            tokens: 3,
            truncated: false,
        };
        assert_eq!(
            serde_json::to_string(&row).unwrap(),
            r#"{"index":0,"text":"Alice","entities":[{"label":"PER","start":0,"end":5,"text":"Alice","score":0.5}]}"#
        );
        assert_eq!(
            row.lines(),
            "    0  Alice\n       PER  0.5000  0..5  Alice\n"
        );
    }
}

//! Texts: records with a text in one field and possibly the second text of a pair in another.

use std::sync::Arc;

use crate::error::{Context, bail};
use crate::record::{Kind, NamedCells, Presence, Record, Selection, Values, Wanted};
use crate::{Cell, Field, Place};

/// One text, or two that belong together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Text {
    /// The text, or the first of the pair. If the field is a list of words, the words joined by
    /// spaces.
    pub text: String,
    /// The second of the pair. A list of texts is JSON.
    pub pair: Option<String>,
    /// The words, if the field is a list of words.
    pub words: Option<Vec<String>>,
}

impl Text {
    /// Returns the texts' length in bytes.
    pub fn len(&self) -> usize {
        self.text.len() + self.pair.as_ref().map_or(0, String::len)
    }

    /// Returns both texts of a pair; the second of a single text is empty.
    pub fn as_pair(&self) -> (&str, &str) {
        (&self.text, self.pair.as_deref().unwrap_or_default())
    }

    /// Returns true if the texts are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A text or the reason why there is none, and its place.
#[derive(Debug)]
pub struct Line {
    /// Its place.
    pub place: Place,
    /// The text.
    pub text: crate::Result<Text>,
    /// The columns of its record that are kept, with their names; empty for a bad record.
    pub kept: NamedCells,
}

impl Line {
    /// Returns the length of its texts and of the columns that are kept, in bytes.
    pub(crate) fn size(&self) -> usize {
        let kept = self.kept.iter().map(|(_, cell)| cell.size());
        self.text.as_ref().map_or(0, Text::len) + kept.sum::<usize>()
    }
}

/// The pairs that a command takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pairs {
    /// Pairs from tables. A line is one text, even if it has tabs.
    Taken,
    /// Pairs from tables, and from lines that a tab divides.
    Divided,
    /// None.
    Refused,
    /// None, but the text in a table may be a list of words.
    Words,
    /// Only pairs, from tables and from lines that a tab divides. A table has them in these two
    /// fields unless others are named.
    Needed(&'static str),
    /// A text with a list of texts, which only tables have, in these two fields. The list is passed
    /// on as JSON.
    Listed(&'static str),
}

impl Pairs {
    /// Returns the names of the fields unless they are given.
    pub fn default_field(self) -> &'static str {
        match self {
            Self::Taken | Self::Divided | Self::Refused | Self::Words => "text",
            Self::Needed(fields) | Self::Listed(fields) => fields,
        }
    }
}

/// The fields that hold the text and its pair, and those that are kept next to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields {
    selection: Selection,
    has_pair: bool,
    divides_lines: bool,
}

impl Fields {
    /// Reads one name, or two with a comma between them.
    ///
    /// # Errors
    /// If there are other than the command takes.
    pub fn parse(names: &str, pairs: Pairs) -> crate::Result<Self> {
        let fields = Field::parse_list(names);
        let Ok([first, rest @ ..]) = fields.as_deref() else {
            bail!("expected one name, or two as `first,second`");
        };
        let has_pair = match (rest, pairs) {
            ([], Pairs::Needed(both) | Pairs::Listed(both)) => {
                bail!("expected two names, such as `{both}`")
            }
            ([], _) => false,
            ([_], Pairs::Refused | Pairs::Words) => {
                bail!("expected one name, because this command takes no pairs")
            }
            ([_], _) => true,
            _ => bail!("expected one name, or two as `first,second`"),
        };
        let kind = match pairs {
            Pairs::Words => Kind::TextOrTexts,
            _ => Kind::Text,
        };
        let mut selection = Selection::new([first.clone()], kind);
        let pair_kind = match pairs {
            Pairs::Listed(_) => Kind::Texts,
            _ => Kind::Text,
        };
        let pair = rest
            .iter()
            .map(|field| Wanted::new(field.clone(), pair_kind));
        selection.fields.extend(pair);
        Ok(Self {
            selection,
            has_pair,
            divides_lines: pairs == Pairs::Divided,
        })
    }

    /// Keeps these fields too; a record of JSON lines that lacks one has null.
    #[must_use]
    pub fn with_kept(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        let kept = fields.into_iter().map(|field| Wanted {
            presence: Presence::Column,
            ..Wanted::new(field, Kind::Any)
        });
        self.selection.fields.extend(kept);
        self
    }

    /// Keeps all other columns too.
    #[must_use]
    pub fn with_all_kept(mut self) -> Self {
        self.selection.rest = true;
        self
    }

    /// Returns the fields to read from lines.
    ///
    /// # Errors
    /// If columns are kept, which lines have none of.
    pub(crate) fn for_lines(mut self) -> crate::Result<Self> {
        if self.selection.rest || self.selection.fields.len() > 1 + usize::from(self.has_pair) {
            bail!("lines have no columns to keep: expected a table, such as jsonl or csv");
        }
        if self.divides_lines && !self.has_pair {
            self.selection.fields.push(Wanted {
                presence: Presence::Optional,
                ..Wanted::new(Field::from_name("pair"), Kind::Text)
            });
            self.has_pair = true;
        }
        Ok(self)
    }

    pub(crate) fn selection(&self) -> &Selection {
        &self.selection
    }

    /// Returns the text of a record.
    pub(crate) fn line(&self, record: Record) -> Line {
        let (text, kept) = match record.values.and_then(|values| self.text(values)) {
            Ok((text, kept)) => (Ok(text), kept),
            Err(error) => (Err(error), Vec::new()),
        };
        Line {
            place: record.place,
            text,
            kept,
        }
    }

    fn text(&self, values: Values) -> crate::Result<(Text, NamedCells)> {
        let mut cells = values.cells.into_iter();
        let mut text = Text::default();
        match cells.next() {
            Some(words @ Cell::List(_)) => {
                let words = words.into_texts()?;
                text.text = words.join(" ");
                text.words = Some(words);
            }
            Some(cell) => text.text = cell.into_text()?,
            None => {}
        }
        if self.has_pair {
            text.pair = match cells.next() {
                Some(list @ Cell::List(_)) => {
                    Some(serde_json::to_string(&list).context("expected a list of texts")?)
                }
                Some(Cell::Null) | None => None,
                Some(cell) => Some(cell.into_text()?),
            };
        }
        let names = self
            .selection
            .fields
            .iter()
            .skip(1 + usize::from(self.has_pair));
        let named = names
            .map(|wanted| Arc::from(wanted.field.name()))
            .zip(cells);
        Ok((text, named.chain(values.rest).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(fields: &Fields, cells: Vec<Cell>) -> Line {
        fields.line(Record {
            place: Place::OnlyArgument,
            values: Ok(Values {
                cells,
                rest: vec![("rest".into(), Cell::Null)],
            }),
        })
    }

    fn cell(text: &str) -> Cell {
        Cell::Text(text.to_string())
    }

    #[test]
    fn a_field_is_one_name_or_two() {
        assert!(!Fields::parse("body", Pairs::Refused).unwrap().has_pair);
        assert!(Fields::parse("a,b", Pairs::Taken).unwrap().has_pair);
        assert!(!Fields::parse("\"a,b\"", Pairs::Taken).unwrap().has_pair);
        for bad in ["", ",", "a,", ",b", "a,b,c"] {
            assert!(Fields::parse(bad, Pairs::Taken).is_err(), "{bad}");
        }
        assert!(Fields::parse("a,b", Pairs::Refused).is_err());
        assert!(Fields::parse("a,b", Pairs::Words).is_err());
        assert!(Fields::parse("a", Pairs::Needed("first,second")).is_err());
    }

    #[test]
    fn a_text_has_its_pair_and_the_columns_that_are_kept() {
        let fields = Fields::parse("a,b", Pairs::Taken).unwrap();
        let fields = fields.with_kept([Field::from_name("id")]).with_all_kept();
        let line = line(
            &fields,
            vec![cell("first"), cell("second"), Cell::Integer(3)],
        );
        let text = line.text.unwrap();
        assert_eq!(
            (text.text.as_str(), text.pair.as_deref()),
            ("first", Some("second"))
        );
        let kept = [("id".into(), Cell::Integer(3)), ("rest".into(), Cell::Null)];
        assert_eq!(line.kept, kept);
        assert!(fields.for_lines().is_err());
    }

    #[test]
    fn words_are_joined_and_a_paired_list_is_json() {
        let fields = Fields::parse("tokens", Pairs::Words).unwrap();
        let words = Cell::List(vec![cell("Alice"), cell("runs")]);
        let text = line(&fields, vec![words.clone()]).text.unwrap();
        assert_eq!(text.text, "Alice runs");
        assert_eq!(text.words.unwrap(), ["Alice", "runs"]);
        let fields = Fields::parse("a,b", Pairs::Listed("text,choices")).unwrap();
        let text = line(&fields, vec![cell("a"), words]).text.unwrap();
        assert_eq!(text.pair.as_deref(), Some("[\"Alice\",\"runs\"]"));
    }
}

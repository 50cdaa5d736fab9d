//! CoNLL columns: one word per line, followed by its tags, and a blank line between sentences.
//!
//! A record is a sentence. Its field `tokens` is the list of the first column, `tags` that of the
//! last column, and a number that of the column with this index, from 0. Tabs separate the columns
//! of a line that has tabs, and white space otherwise. `-DOCSTART-` lines, which start a document
//! in CoNLL 2003, are skipped.

use std::io::BufRead;
use std::sync::Arc;

use crate::error::{Context, error};
use crate::lines::{MAX_LINE_BYTES, RawLines, utf8};
use crate::record::{Presence, Record, Selection, Values};
use crate::{Cell, Field, Place};

/// The word of a line that starts a document.
const DOCUMENT_START: &str = "-DOCSTART-";

/// Records of CoNLL columns.
pub(crate) struct Conll<R> {
    lines: RawLines<R>,
    selection: Selection,
    is_over: bool,
}

/// The lines of a sentence.
struct Sentence {
    place: Place,
    lines: Vec<Vec<u8>>,
}

impl<R: BufRead> Conll<R> {
    pub(crate) fn new(reader: R, name: Arc<str>, selection: Selection) -> Self {
        Self {
            lines: RawLines::new(reader, name),
            selection,
            is_over: false,
        }
    }

    /// Returns the lines up to the next blank one; `None` at the end.
    fn sentence(&mut self) -> crate::Result<Option<Sentence>> {
        let mut sentence: Option<Sentence> = None;
        let mut size = 0;
        for line in self.lines.by_ref() {
            let (place, line) = line?;
            let text = line.trim_ascii();
            if text.is_empty() || text.starts_with(DOCUMENT_START.as_bytes()) {
                if sentence.is_some() {
                    break;
                }
                continue;
            }
            size += line.len();
            if size > MAX_LINE_BYTES {
                let error = error!(
                    "expected at most {MAX_LINE_BYTES} bytes up to a blank line, found more"
                );
                return Err(place.locate(error));
            }
            let lines = Vec::new();
            let sentence = sentence.get_or_insert(Sentence { place, lines });
            sentence.lines.push(line);
        }
        Ok(sentence)
    }

    fn values(&self, lines: Vec<Vec<u8>>) -> crate::Result<Values> {
        let mut rows = Vec::with_capacity(lines.len());
        for (index, line) in lines.into_iter().enumerate() {
            let word = || format!("word {}", index + 1);
            let line = utf8(line).with_context(word)?;
            let columns: Vec<String> = if line.contains('\t') {
                line.split('\t').map(String::from).collect()
            } else {
                line.split_whitespace().map(String::from).collect()
            };
            let expected = rows.first().map_or(columns.len(), Vec::len);
            if columns.len() != expected {
                let found = columns.len();
                return Err(error!("expected {expected} columns, found {found}"))
                    .with_context(word);
            }
            rows.push(columns);
        }
        let count = rows.first().map_or(0, Vec::len);
        let cell = |wanted: &crate::Wanted| -> crate::Result<Cell> {
            let Some(column) = column(&wanted.field, count) else {
                return match wanted.presence {
                    Presence::Required => Err(missing(&wanted.field, count)),
                    _ => Ok(Cell::Null),
                };
            };
            let texts = rows.iter().map(|row| Cell::Text(row[column].clone()));
            wanted.check(Ok(Cell::List(texts.collect())))
        };
        let cells = self.selection.fields.iter().map(cell);
        Ok(Values {
            cells: cells.collect::<crate::Result<_>>()?,
            rest: Vec::new(),
        })
    }
}

/// Returns the column of a field among `count` columns.
fn column(field: &Field, count: usize) -> Option<usize> {
    let column = match field.name() {
        "tokens" => 0,
        // A word alone has no tag.
        "tags" => count.checked_sub(1).filter(|last| *last > 0)?,
        number => number.parse().ok()?,
    };
    (column < count).then_some(column)
}

fn missing(field: &Field, count: usize) -> crate::Error {
    crate::Error::missing_field(format!(
        "no field {field}, found {count} columns: expected `tokens`, `tags` or a column's number"
    ))
}

impl<R: BufRead> Iterator for Conll<R> {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let sentence = self.sentence();
        self.is_over = !matches!(sentence, Ok(Some(_)));
        let record = |Sentence { place, lines }| Record {
            place,
            values: self.values(lines),
        };
        Some(sentence.transpose()?.map(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;

    /// The first line of a sentence, and its columns.
    type Sentence = (u64, Vec<Vec<String>>);

    fn read(text: &str, fields: &str) -> Vec<Result<Sentence, String>> {
        let selection = Selection::new(Field::parse_list(fields).unwrap(), Kind::Texts);
        Conll::new(text.as_bytes(), "`a`".into(), selection)
            .map(|record| {
                let record = record.unwrap();
                let Place::Line(_, line) = record.place else {
                    panic!("no line number")
                };
                let values = record
                    .values
                    .map_err(|error| format!("line {line}: {error:#}"))?;
                let texts = values
                    .cells
                    .into_iter()
                    .map(|cell| cell.into_texts().unwrap());
                Ok((line, texts.collect()))
            })
            .collect()
    }

    fn lists(tokens: &[&str], tags: &[&str]) -> Vec<Vec<String>> {
        let list = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        vec![list(tokens), list(tags)]
    }

    #[test]
    fn sentences_are_words_with_their_tags() {
        let text = "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n\nPeter NNP B-NP B-PER\n";
        let expected = [
            Ok((3, lists(&["EU", "rejects"], &["B-ORG", "O"]))),
            Ok((7, lists(&["Peter"], &["B-PER"]))),
        ];
        assert_eq!(read(text, "tokens,tags"), expected);
        assert_eq!(read(text, "0,3"), expected);
        let chunks = read(text, "tokens,2").remove(0).unwrap();
        assert_eq!(chunks.1[1], ["B-NP", "B-VP"]);
    }

    #[test]
    fn a_tab_divides_words_that_have_spaces() {
        let rows = read("New York\tB-LOC\r\n#\tO\r\n", "tokens,tags");
        assert_eq!(rows, [Ok((1, lists(&["New York", "#"], &["B-LOC", "O"])))]);
    }

    #[test]
    fn a_line_with_other_columns_is_a_bad_sentence_and_the_next_is_read() {
        let rows = read("a O\nb\n\nc O\n", "tokens,tags");
        let error = "line 1: word 2: expected 2 columns, found 1";
        assert_eq!(rows[0], Err(error.to_string()));
        assert_eq!(rows[1], Ok((4, lists(&["c"], &["O"]))));
        let rows = read("a\nb\n", "tokens,tags");
        assert!(rows[0].as_ref().unwrap_err().contains("no field `tags`"));
    }
}

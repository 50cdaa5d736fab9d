//! The JSON format of SQuAD: articles of paragraphs, each with a context, questions and their
//! answers.
//!
//! A record is a question. Its fields are `id`, `title`, `context`, `question`, `answers` (an
//! object of the lists `text` and `answer_start`, as the Hugging Face Hub has it) and
//! `is_impossible`. The document is one JSON value, so that all of its text is in memory.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Context, Error, error};
use crate::json_text::{cell, elements, members};
use crate::record::{Presence, Record, Selection, Values, Wanted};
use crate::{Cell, Place};

/// The maximum size of a document; SQuAD's largest has 42 MB.
const MAX_BYTES: usize = 1 << 30;

/// Records of a SQuAD document.
pub(crate) struct Squad {
    name: Arc<str>,
    text: String,
    questions: std::vec::IntoIter<Question>,
    selection: Selection,
    rows: u64,
}

/// The places of a question in the text.
#[derive(Debug, Clone)]
struct Question {
    title: Option<Range<usize>>,
    context: Range<usize>,
    question: Range<usize>,
}

impl Squad {
    /// Reads a document.
    ///
    /// # Errors
    /// If it is not one of SQuAD, or too large.
    pub(crate) fn new(
        mut reader: impl Read,
        name: Arc<str>,
        selection: Selection,
    ) -> crate::Result<Self> {
        let mut bytes = Vec::new();
        let read = reader
            .by_ref()
            .take(MAX_BYTES as u64 + 1)
            .read_to_end(&mut bytes);
        if read.with_context(|| format!("cannot read {name}"))? > MAX_BYTES {
            return Err(error!(
                "{name}: expected at most {MAX_BYTES} bytes, found more"
            ));
        }
        let text = crate::lines::utf8(bytes).with_context(|| name.to_string())?;
        let questions = questions(&text)
            .with_context(|| format!("{name}: expected a document of SQuAD"))?
            .into_iter();
        Ok(Self {
            name,
            text,
            questions,
            selection,
            rows: 0,
        })
    }

    fn values(&self, question: &Question) -> crate::Result<Values> {
        let mut fields = vec![("context", cell(&self.text[question.context.clone()])?)];
        if let Some(title) = &question.title {
            fields.push(("title", cell(&self.text[title.clone()])?));
        }
        let Cell::Object(members) = cell(&self.text[question.question.clone()])? else {
            return Err(error!("expected a question as an object"));
        };
        let mut members: Vec<(String, Cell)> = members
            .into_iter()
            .map(|(name, cell)| {
                if name == "answers" {
                    (name, lists(cell))
                } else {
                    (name, cell)
                }
            })
            .collect();
        members.extend(
            fields
                .into_iter()
                .map(|(name, cell)| (name.to_string(), cell)),
        );
        let find = |name: &str| members.iter().find(|(found, _)| found == name);
        let value = |wanted: &Wanted| match find(wanted.field.name()) {
            Some((_, cell)) => wanted.check(Ok(cell.clone())),
            None if wanted.presence != Presence::Required => Ok(Cell::Null),
            None => Err(Error::missing_field(format!("no field {}", wanted.field))),
        };
        let cells = self
            .selection
            .fields
            .iter()
            .map(value)
            .collect::<crate::Result<_>>()?;
        let others = members
            .iter()
            .filter(|(name, _)| self.selection.rest && !self.selection.has(name));
        let rest = others
            .map(|(name, cell)| (Arc::from(name.as_str()), cell.clone()))
            .collect();
        Ok(Values { cells, rest })
    }
}

impl Iterator for Squad {
    type Item = crate::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        let question = self.questions.next()?;
        self.rows += 1;
        Some(Ok(Record {
            place: Place::Row(Arc::clone(&self.name), self.rows),
            values: self.values(&question),
        }))
    }
}

/// Returns a list of objects as an object of lists.
fn lists(answers: Cell) -> Cell {
    let Cell::List(answers) = answers else {
        return answers;
    };
    let mut lists: Vec<(String, Cell)> = ["text", "answer_start"]
        .map(|name| (name.to_string(), Cell::List(Vec::new())))
        .into();
    for answer in answers {
        let Cell::Object(members) = answer else {
            continue;
        };
        for (name, cell) in members {
            if let Some((_, Cell::List(list))) = lists.iter_mut().find(|(found, _)| *found == name)
            {
                list.push(cell);
            }
        }
    }
    Cell::Object(lists)
}

/// Returns the places of all questions.
fn questions(text: &str) -> crate::Result<Vec<Question>> {
    // The values are parts of the text.
    let place = |part: &str| {
        let from = part.as_ptr() as usize - text.as_ptr() as usize;
        from..from + part.len()
    };
    let mut found = Vec::new();
    for article in elements(member(text, "data")?)? {
        let title = member(article, "title").ok().map(place);
        for paragraph in elements(member(article, "paragraphs")?)? {
            let context = place(member(paragraph, "context")?);
            for question in elements(member(paragraph, "qas")?)? {
                found.push(Question {
                    title: title.clone(),
                    context: context.clone(),
                    question: place(question),
                });
            }
        }
    }
    Ok(found)
}

/// Returns the value of an object's member.
fn member<'a>(object: &'a str, name: &str) -> crate::Result<&'a str> {
    let mut found = None;
    members(object, |member, value| {
        if member == name {
            found = Some(value);
        }
    })?;
    found.ok_or_else(|| Error::missing_field(format!("no field `{name}`")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Field, Kind};

    const DOCUMENT: &str = r#"{"version":"v2.0","data":[{"title":"A","paragraphs":[{"qas":[
        {"id":"1","question":"Who?","answers":[{"text":"Alice","answer_start":0}],"is_impossible":false},
        {"id":"2","question":"When?","answers":[],"is_impossible":true}],
        "context":"Alice \"ran\"."}]}]}"#;

    fn read(text: &str, fields: &str) -> crate::Result<Vec<Vec<Cell>>> {
        let selection = Selection::new(Field::parse_list(fields).unwrap(), Kind::Any);
        let records = Squad::new(text.as_bytes(), "`a`".into(), selection)?;
        records.map(|record| Ok(record?.values?.cells)).collect()
    }

    #[test]
    fn a_record_is_a_question_with_its_context() {
        let text = |text: &str| Cell::Text(text.to_string());
        let answers = |texts: Vec<Cell>, starts: Vec<Cell>| {
            let text = ("text".to_string(), Cell::List(texts));
            Cell::Object(vec![text, ("answer_start".to_string(), Cell::List(starts))])
        };
        let context = text("Alice \"ran\".");
        let expected = [
            vec![
                text("Who?"),
                context.clone(),
                answers(vec![text("Alice")], vec![Cell::Integer(0)]),
                text("A"),
            ],
            vec![text("When?"), context, answers(vec![], vec![]), text("A")],
        ];
        assert_eq!(
            read(DOCUMENT, "question,context,answers,title").unwrap(),
            expected
        );
    }

    #[test]
    fn another_document_is_refused() {
        for text in ["", "[]", "{\"data\":1}", "{\"data\":[{}]}", &DOCUMENT[..99]] {
            let error = format!("{:#}", read(text, "id").unwrap_err());
            assert!(
                error.starts_with("`a`: expected a document of SQuAD: "),
                "{error}"
            );
        }
        assert!(read(DOCUMENT, "label").is_err());
    }
}

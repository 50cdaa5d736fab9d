//! Rows of training and evaluation data, from any of the formats.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use albert_data::{
    Cell, Field, Format, Kind, Place, Presence, RecordReader, Selection, Source, Wanted,
};

use crate::error::{Error, Result};

/// The bytes in which a header is looked for.
const LONGEST_HEADER: u64 = 1 << 16;

/// Files of data that are read one after another.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DataFiles {
    /// The files.
    pub paths: Vec<PathBuf>,
    /// Their format; `None` decides by their content and extension.
    pub format: Option<Format>,
    /// The names of the columns of files without a header, which have tabs between their values.
    pub columns: Option<Vec<String>>,
}

impl DataFiles {
    /// Takes files whose format follows from their content or extension.
    pub fn new<P: Into<PathBuf>>(paths: impl IntoIterator<Item = P>) -> Self {
        Self {
            paths: paths.into_iter().map(Into::into).collect(),
            format: None,
            columns: None,
        }
    }

    /// Returns the names of the files, for messages.
    pub(crate) fn name(&self) -> String {
        let names = self
            .paths
            .iter()
            .map(|path| format!("`{}`", path.display()));
        names.collect::<Vec<_>>().join(", ")
    }
}

impl<P: Into<PathBuf>> From<P> for DataFiles {
    fn from(path: P) -> Self {
        Self::new([path])
    }
}

/// A value that a task reads of every row.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// Names that the column may have; the first that a row has is taken.
    pub(super) names: Vec<Field>,
    pub(super) kind: Kind,
    pub(super) is_required: bool,
}

impl Role {
    pub(super) fn new(names: Vec<Field>, kind: Kind) -> Self {
        Self {
            names,
            kind,
            is_required: true,
        }
    }

    pub(super) fn optional(names: Vec<Field>, kind: Kind) -> Self {
        Self {
            is_required: false,
            ..Self::new(names, kind)
        }
    }
}

/// The values of a row, in the order of the roles; one that the row lacks is null.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) place: Place,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    /// Returns an error about this row.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Example {
            place: shown(&self.place),
            reason: reason.into(),
        }
    }

    /// Takes a value, which becomes null.
    pub(super) fn take(&mut self, index: usize) -> Cell {
        std::mem::replace(&mut self.cells[index], Cell::Null)
    }

    /// Takes the text of a required role.
    pub(super) fn text(&mut self, index: usize) -> Result<String> {
        match self.take(index) {
            Cell::Text(text) => Ok(text),
            other => Err(self.error(format!("expected a string, found {}", other.kind()))),
        }
    }

    /// Takes the list of texts of a required role; CSV has lists as JSON.
    pub(super) fn texts(&mut self, index: usize) -> Result<Vec<String>> {
        let texts = self.take(index).into_texts();
        texts.map_err(|error| self.error(format!("{error:#}")))
    }
}

/// Returns a place as errors show it.
pub(super) fn shown(place: &Place) -> String {
    match place {
        Place::Line(name, number) => format!("{name}, line {number}"),
        Place::Row(name, number) => format!("{name}, row {number}"),
        Place::Argument(number) => format!("argument {number}"),
        _ => "the input".into(),
    }
}

/// Reads all rows.
///
/// `plain` is the format of files of plain text that nothing else is known of; `known` names the
/// columns of a data set whose files have no header.
pub(super) fn read(
    data: &DataFiles,
    plain: Format,
    known: Option<&[&str]>,
    roles: &[Role],
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for path in &data.paths {
        let source = Source::from_file(path).map_err(Error::data)?;
        let mut columns = data.columns.clone();
        let format = match data.format {
            Some(format) => format,
            None if columns.is_some() => Format::Lines,
            None => match (format(path, &source, plain)?, known) {
                (Format::Lines | Format::Csv | Format::Tsv, Some(known))
                    if lacks_header(path, known)? =>
                {
                    columns = Some(known.iter().map(ToString::to_string).collect());
                    Format::Lines
                }
                (format, _) => format,
            },
        };
        let layout = Layout::new(columns.as_deref(), format, roles);
        let reader = RecordReader::open(source, format, layout.selection).map_err(Error::data)?;
        for record in reader {
            let record = record.map_err(Error::data)?;
            let values = match record.values {
                Ok(values) => values,
                Err(error) => return Err(Error::data(record.place.locate(error))),
            };
            let mut cells: Vec<Option<Cell>> = values.cells.into_iter().map(Some).collect();
            let mut row = Row {
                place: record.place,
                cells: Vec::with_capacity(roles.len()),
            };
            for (role, candidates) in roles.iter().zip(&layout.roles) {
                let present = candidates
                    .iter()
                    .find(|index| !matches!(cells[**index], None | Some(Cell::Null)));
                let cell = present.and_then(|index| cells[*index].take());
                if cell.is_none() && role.is_required {
                    let names = role.names.iter().map(|name| name.to_string());
                    let names = names.collect::<Vec<_>>().join(" or ");
                    return Err(
                        row.error(format!("expected a value of the field {names}, found none"))
                    );
                }
                row.cells.push(cell.unwrap_or(Cell::Null));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        return Err(Error::NoExamples(data.name()));
    }
    Ok(rows)
}

/// Returns the format of a file by its content and its extension.
fn format(path: &Path, source: &Source, plain: Format) -> Result<Format> {
    if let Some(format) = source.recognized_format().map_err(Error::data)? {
        return Ok(format);
    }
    if plain == Format::Squad
        && path
            .extension()
            .is_some_and(|extension| extension == "json")
    {
        return Ok(Format::Squad);
    }
    match Format::from_path(path).map_err(Error::data)? {
        Format::Lines => Ok(plain),
        format => Ok(format),
    }
}

/// Returns true if no value of the first line names a column.
fn lacks_header(path: &Path, known: &[&str]) -> Result<bool> {
    let file = File::open(path).map_err(Error::read(path))?;
    let mut line = Vec::new();
    BufReader::new(file)
        .take(LONGEST_HEADER)
        .read_until(b'\n', &mut line)
        .map_err(Error::read(path))?;
    let line = String::from_utf8_lossy(&line);
    Ok(!line.trim().split('\t').any(|value| known.contains(&value)))
}

/// The fields that are read of a file, and which of them are a role's.
struct Layout {
    selection: Selection,
    /// For each role the fields that may hold it, in the order of its names.
    roles: Vec<Vec<usize>>,
}

impl Layout {
    fn new(columns: Option<&[String]>, format: Format, roles: &[Role]) -> Self {
        match (columns, format) {
            (Some(columns), _) => Self::with_columns(columns, roles),
            // A line has its values in the order of the roles.
            (None, Format::Lines) => {
                let fields = roles.iter().map(|role| Wanted {
                    field: role.names[0].clone(),
                    kind: plain_kind(role.kind),
                    presence: presence(role.is_required),
                });
                Self {
                    selection: selection(fields.collect()),
                    roles: (0..roles.len()).map(|index| vec![index]).collect(),
                }
            }
            _ => Self::by_name(roles),
        }
    }

    fn with_columns(columns: &[String], roles: &[Role]) -> Self {
        let find = |name: &Field| columns.iter().position(|column| column == name.name());
        let places: Vec<Vec<usize>> = roles
            .iter()
            .map(|role| role.names.iter().filter_map(find).collect())
            .collect();
        // A line may lack the columns after the last one that is read.
        let last = places.iter().flatten().max().copied().unwrap_or(0);
        let fields = columns.iter().enumerate().map(|(index, column)| Wanted {
            field: Field::from_name(column),
            kind: Kind::Text,
            presence: presence(index <= last),
        });
        Self {
            selection: selection(fields.collect()),
            roles: places,
        }
    }

    fn by_name(roles: &[Role]) -> Self {
        let (mut fields, mut places) = (Vec::new(), Vec::new());
        for role in roles {
            let is_certain = role.is_required && role.names.len() == 1;
            let first = fields.len();
            fields.extend(role.names.iter().map(|name| Wanted {
                field: name.clone(),
                kind: role.kind,
                presence: presence(is_certain),
            }));
            places.push((first..fields.len()).collect());
        }
        Self {
            selection: selection(fields),
            roles: places,
        }
    }
}

/// Lists are JSON in a line, and the task reads them.
fn plain_kind(kind: Kind) -> Kind {
    match kind {
        Kind::Texts => Kind::Any,
        kind => kind,
    }
}

fn presence(is_required: bool) -> Presence {
    if is_required {
        Presence::Required
    } else {
        Presence::Optional
    }
}

fn selection(fields: Vec<Wanted>) -> Selection {
    Selection {
        fields,
        rest: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        Role::new(vec![Field::from_name(name)], Kind::Any)
    }

    fn rows(name: &str, text: &str, columns: Option<&str>, roles: &[Role]) -> Result<Vec<Row>> {
        rows_of(name, text, columns, None, roles)
    }

    fn rows_of(
        name: &str,
        text: &str,
        columns: Option<&str>,
        known: Option<&[&str]>,
        roles: &[Role],
    ) -> Result<Vec<Row>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut data = DataFiles::from(path);
        data.columns = columns.map(|columns| columns.split(',').map(String::from).collect());
        read(&data, Format::Lines, known, roles)
    }

    fn text(cell: &Cell) -> String {
        match cell {
            Cell::Text(text) => text.clone(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_line_has_its_values_in_the_order_of_the_roles() {
        let rows = rows(
            "a.txt",
            "good\t1\nbad\t0\n",
            None,
            &[role("text"), role("label")],
        )
        .unwrap();
        assert_eq!(text(&rows[1].cells[0]), "bad");
        assert_eq!(text(&rows[1].cells[1]), "0");
    }

    #[test]
    fn columns_of_a_file_without_a_header_are_named() {
        let roles = [role("sentence"), role("label")];
        let found = rows(
            "cola.tsv",
            "x\t1\t*\tA b.\n",
            Some("source,label,mark,sentence"),
            &roles,
        );
        assert_eq!(text(&found.unwrap()[0].cells[0]), "A b.");
        let error = rows(
            "cola.tsv",
            "x\t1\n",
            Some("source,label,mark,sentence"),
            &roles,
        );
        assert!(error.unwrap_err().to_string().contains("line 1"));
    }

    #[test]
    fn known_columns_name_those_of_a_file_without_a_header() {
        let roles = [role("sentence")];
        let text_of = |file: &str| {
            let known: &[&str] = &["genre", "sentence"];
            let rows = rows_of("a.tsv", file, None, Some(known), &roles).unwrap();
            text(&rows[0].cells[0])
        };
        assert_eq!(text_of("news\tA b.\n"), "A b.");
        assert_eq!(text_of("sentence\tid\nA b.\t7\n"), "A b.");
    }

    #[test]
    fn the_first_name_that_a_row_has_is_taken() {
        let either = Role::new(["label", "gold"].map(Field::from_name).into(), Kind::Any);
        let found = rows(
            "a.jsonl",
            "{\"gold\": \"x\"}\n",
            None,
            std::slice::from_ref(&either),
        );
        assert_eq!(text(&found.unwrap()[0].cells[0]), "x");
        let error = rows("a.jsonl", "{\"none\": \"x\"}\n", None, &[either]).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("line 1: expected a value of the field `label` or `gold`, found none")
        );
    }

    #[test]
    fn a_file_without_a_row_is_refused() {
        let error = rows("a.csv", "text,label\n", None, &[role("text")]).unwrap_err();
        assert!(error.to_string().ends_with("expected examples, found none"));
    }
}

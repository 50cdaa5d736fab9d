//! The columns of an output: those of the rows, possibly renamed, and the columns kept from the
//! input.

use std::collections::HashSet;
use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;
use serde_json::Value;

use super::members::Members;
use super::{Row, Sink};
use crate::failure::{Hint, usage};

/// The names and values of the input's columns that are kept in a row.
pub(crate) type Kept = Vec<(Arc<str>, Value)>;

/// The renamed columns of an output.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Layout {
    /// Pairs of the name in the row and the name in the output.
    renamed: Vec<(String, String)>,
}

impl Layout {
    /// Creates a layout from pairs of the name in the row and the name in the output.
    pub(crate) fn new(renamed: Vec<(String, String)>) -> Self {
        Self { renamed }
    }

    /// Returns true if no column is renamed.
    pub(crate) fn is_plain(&self) -> bool {
        self.renamed.is_empty()
    }

    /// Returns the name of a column in the output.
    pub(super) fn name<'a>(&'a self, column: &'a str) -> &'a str {
        let renamed = self.renamed.iter().find(|(from, _)| from == column);
        renamed.map_or(column, |(_, to)| to)
    }

    /// Checks that the rows have every renamed column, and that no two columns share a name.
    ///
    /// # Errors
    /// If a column does not exist, or two columns have the same name.
    pub(crate) fn check<R: Row>(&self) -> anyhow::Result<()> {
        let columns: Vec<&str> = R::COLUMNS.iter().map(|column| column.name).collect();
        for (from, _) in &self.renamed {
            if !columns.contains(&from.as_str()) {
                return Err(usage(format!(
                    "`--column-name`: no column `{from}`, expected {}",
                    columns.join(", ")
                )));
            }
        }
        for (index, column) in columns.iter().enumerate() {
            let name = self.name(column);
            if columns[..index]
                .iter()
                .any(|other| self.name(other) == name)
            {
                return Err(usage(format!(
                    "`--column-name`: two columns are named `{name}`"
                )));
            }
        }
        Ok(())
    }

    /// Checks that no kept column has the name of a row's column, or of another one.
    ///
    /// # Errors
    /// If one does.
    pub(crate) fn check_kept<R: Row>(&self, kept: &Kept) -> anyhow::Result<()> {
        let mut known = HashSet::new();
        if let Some((name, _)) = kept.iter().find(|(name, _)| !known.insert(name)) {
            bail!("`--keep`: two columns of the input are named `{name}`");
        }
        let names = R::COLUMNS.iter().map(|column| self.name(column.name));
        let taken = names
            .chain(["error"])
            .find(|name| kept.iter().any(|(kept, _)| &**kept == *name));
        match taken {
            Some(name) => Err(anyhow::anyhow!(
                "`--keep`: the input and the rows both have a column `{name}`"
            )
            .hint(format!(
                "rename the column of the rows with `--column-name {name}=NAME`"
            ))),
            None => Ok(()),
        }
    }

    /// Writes a row as JSON with its columns renamed and the kept ones after them.
    pub(super) fn write(
        &self,
        row: &impl Serialize,
        kept: &Kept,
        sink: &mut Sink,
    ) -> anyhow::Result<()> {
        if self.is_plain() && kept.is_empty() {
            return sink.write_json(row);
        }
        sink.write_json(&self.members(row, kept)?)
    }

    /// Returns the members of a row's JSON, renamed, and the kept ones after them.
    pub(super) fn members(&self, row: &impl Serialize, kept: &Kept) -> anyhow::Result<Members> {
        let mut members: Members = serde_json::from_str(&serde_json::to_string(row)?)?;
        for (name, _) in &mut members.0 {
            if let Some((_, to)) = self.renamed.iter().find(|(from, _)| from == name) {
                name.clone_from(to);
            }
        }
        for (name, value) in kept {
            let value = serde_json::value::to_raw_value(value)?;
            members.0.push((name.to_string(), value));
        }
        Ok(members)
    }
}

/// Parses `OLD=NEW`.
pub(crate) fn parse_renaming(text: &str) -> anyhow::Result<(String, String)> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => {
            Ok((from.to_string(), to.to_string()))
        }
        _ => bail!("expected OLD=NEW, such as embedding=vector"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize)]
    struct Numbered {
        index: usize,
        score: f32,
    }

    #[test]
    fn columns_are_renamed_and_the_kept_ones_follow() {
        let row = Numbered {
            index: 1,
            score: 0.1,
        };
        let layout = Layout::new(vec![parse_renaming("score=s").unwrap()]);
        let kept = vec![("id".into(), Value::from("a"))];
        let json = |layout: &Layout, kept: &Kept| {
            serde_json::to_string(&layout.members(&row, kept).unwrap()).unwrap()
        };
        assert_eq!(json(&layout, &kept), r#"{"index":1,"s":0.1,"id":"a"}"#);
        let plain = json(&Layout::default(), &Kept::new());
        assert_eq!(plain, r#"{"index":1,"score":0.1}"#);
    }

    #[test]
    fn a_renaming_has_two_names() {
        for bad in ["", "a", "a=", "=b"] {
            assert!(parse_renaming(bad).is_err(), "{bad}");
        }
    }
}

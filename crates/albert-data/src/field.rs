//! The name of a field: a column, or a path into one.

use std::fmt;

use crate::error::bail;

/// A column's name, or a path of names into nested columns, written `data.text`.
///
/// A name with a comma or a dot is quoted as in CSV: `"Review, long"`, `"a.b".c`. A column whose
/// full name equals the written path takes precedence over the nested field.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// The names joined by dots.
    whole: String,
    path: Vec<String>,
}

impl Field {
    /// Creates the field of a column from its name, which may have any characters.
    pub fn from_name(name: &str) -> Self {
        Self {
            whole: name.to_string(),
            path: vec![name.to_string()],
        }
    }

    /// Reads a list of fields with commas between them.
    ///
    /// # Errors
    /// If a name is empty without quotes, or a quote is not closed.
    pub fn parse_list(list: &str) -> crate::Result<Vec<Self>> {
        let mut fields = Vec::new();
        let mut path = Vec::new();
        let mut rest = list;
        loop {
            let (name, after) = match rest.strip_prefix('"') {
                Some(quoted) => unquote(quoted)?,
                None => {
                    let end = rest.find([',', '.']).unwrap_or(rest.len());
                    if end == 0 {
                        bail!("expected a name, found none");
                    }
                    (rest[..end].to_string(), &rest[end..])
                }
            };
            path.push(name);
            let mut characters = after.chars();
            let separator = characters.next();
            rest = characters.as_str();
            if separator != Some('.') {
                fields.push(Self {
                    whole: path.join("."),
                    path: std::mem::take(&mut path),
                });
            }
            match separator {
                None => return Ok(fields),
                Some('.' | ',') => {}
                Some(found) => bail!("expected `,` or `.` after a quoted name, found `{found}`"),
            }
        }
    }

    /// Returns the name of a column that is this field as a whole.
    pub fn name(&self) -> &str {
        &self.whole
    }

    /// Returns the names from the column down to the field; a single name for a column.
    pub fn path(&self) -> &[String] {
        &self.path
    }
}

/// Returns a name up to its closing quote, and the text after it.
fn unquote(quoted: &str) -> crate::Result<(String, &str)> {
    let mut name = String::new();
    let mut rest = quoted;
    loop {
        let Some((part, after)) = rest.split_once('"') else {
            bail!("expected a closing quote after `{quoted}`");
        };
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Ok((name, after)),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &str) -> Vec<Vec<String>> {
        let fields = Field::parse_list(list).unwrap();
        fields.iter().map(|field| field.path.clone()).collect()
    }

    #[test]
    fn commas_separate_fields_and_dots_the_names_of_a_path() {
        assert_eq!(paths("text"), [["text"]]);
        assert_eq!(paths("a,b"), [["a"], ["b"]]);
        assert_eq!(paths("data.text,é x"), [&["data", "text"][..], &["é x"]]);
        let field = &Field::parse_list("data.text").unwrap()[0];
        assert_eq!(
            (field.name(), field.to_string().as_str()),
            ("data.text", "`data.text`")
        );
    }

    #[test]
    fn quotes_keep_commas_dots_and_doubled_quotes() {
        assert_eq!(paths("\"Review, long\",id"), [["Review, long"], ["id"]]);
        assert_eq!(paths("\"a.b\".c"), [["a.b", "c"]]);
        assert_eq!(paths("\"say \"\"hi\"\"\""), [["say \"hi\""]]);
        assert_eq!(paths("\"\""), [[""]]);
        assert_eq!(paths("5\" disk"), [["5\" disk"]]);
    }

    #[test]
    fn a_missing_name_or_quote_is_an_error() {
        for list in ["", ",", "a,", ",b", "a..b", ".a", "a.", "\"a", "\"a\"b"] {
            assert!(Field::parse_list(list).is_err(), "{list}");
        }
    }
}

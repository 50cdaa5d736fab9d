//! Finds columns by their names, and formats names for error messages.

use crate::error::error;

/// The number of names shown: enough to recognize the table without flooding the terminal.
const SHOWN: usize = 8;

/// The characters of a name that are shown.
const SHOWN_CHARACTERS: usize = 64;

/// Returns the index of the column with this name, if any.
///
/// # Errors
/// If two columns have the name, since it does not say which of them is meant.
pub(crate) fn only_column<S: AsRef<str>>(
    names: impl IntoIterator<Item = S>,
    name: &str,
) -> crate::Result<Option<usize>> {
    let mut places = names.into_iter().enumerate();
    let mut next = || places.find(|(_, found)| found.as_ref() == name);
    let Some((first, _)) = next() else {
        return Ok(None);
    };
    match next() {
        None => Ok(Some(first)),
        Some((second, _)) => Err(error!(
            "expected one column {}, found two: columns {} and {}",
            short(name),
            first + 1,
            second + 1
        )),
    }
}

/// Returns the first names, each shortened to a readable length.
pub(crate) fn some_of<S: AsRef<str>>(names: &[S]) -> String {
    if names.is_empty() {
        return "none".to_string();
    }
    let mut shown: Vec<String> = names
        .iter()
        .take(SHOWN)
        .map(|name| short(name.as_ref()))
        .collect();
    if names.len() > SHOWN {
        shown.push(format!("… ({} in all)", names.len()));
    }
    shown.join(", ")
}

fn short(name: &str) -> String {
    match name.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("`{}…`", &name[..end]),
        None => format!("`{name}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_two_columns_have_is_no_place() {
        let place = |name| only_column(["id", "text", "text"], name);
        assert_eq!(place("id").unwrap(), Some(0));
        assert_eq!(place("body").unwrap(), None);
        let error = place("text").unwrap_err().to_string();
        assert_eq!(
            error,
            "expected one column `text`, found two: columns 2 and 3"
        );
    }

    #[test]
    fn few_names_are_shown_whole_and_many_are_counted() {
        assert_eq!(some_of::<&str>(&[]), "none");
        assert_eq!(some_of(&["a", ""]), "`a`, ``");
        let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert!(some_of(&many).ends_with("`7`, … (20 in all)"));
        let long = "é".repeat(1000);
        assert_eq!(some_of(&[&long]).chars().count(), SHOWN_CHARACTERS + 3);
    }
}

//! Formats the names of columns for error messages.

/// The number of names shown: enough to recognize the table without flooding the terminal.
const SHOWN: usize = 8;

/// The characters of a name that are shown.
const SHOWN_CHARACTERS: usize = 64;

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
    fn few_names_are_shown_whole_and_many_are_counted() {
        assert_eq!(some_of::<&str>(&[]), "none");
        assert_eq!(some_of(&["a", ""]), "`a`, ``");
        let many: Vec<String> = (0..20).map(|number| number.to_string()).collect();
        assert!(some_of(&many).ends_with("`7`, … (20 in all)"));
        let long = "é".repeat(1000);
        assert_eq!(some_of(&[&long]).chars().count(), SHOWN_CHARACTERS + 3);
    }
}

//! Names from files in messages.

/// Returns a name from a file as a message may show it: short, and without control characters.
pub fn shown(name: &str) -> String {
    const LONGEST: usize = 80;
    let mut text: String = name
        .chars()
        .take(LONGEST)
        .flat_map(char::escape_default)
        .collect();
    if name.chars().nth(LONGEST).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_drive_no_terminal() {
        assert_eq!(shown("a\u{1b}[2J"), "a\\u{1b}[2J");
        assert_eq!(shown(&"x".repeat(81)), format!("{}…", "x".repeat(80)));
    }
}

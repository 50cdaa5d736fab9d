//! Texts given as arguments: each is one text, or the only one has `--pair` beside it.

use albert_data::{Line, Place, Text};

use crate::args::{InputArgs, PairArgs};
use crate::failure::{Hint, usage};

impl InputArgs {
    /// Takes the second of two arguments as the other text of one pair, for a command that takes
    /// nothing else.
    ///
    /// # Errors
    /// If there is another number of them; none, or a lone `-`, means that the texts are elsewhere.
    pub(crate) fn take_pair(&mut self) -> anyhow::Result<PairArgs> {
        let pair = match self.texts.as_slice() {
            [] => None,
            [only] if only == "-" => None,
            [_, _] => self.texts.pop(),
            texts => {
                return Err(
                    usage(format!("expected two texts, found {}", texts.len())).hint(
                        "several pairs come from lines with a tab between the two, or from a table",
                    ),
                );
            }
        };
        Ok(PairArgs { pair })
    }
}

/// The arguments as lines.
///
/// # Errors
/// If there is a pair and more than one text for it.
pub(crate) fn lines(texts: Vec<String>, pair: Option<String>) -> anyhow::Result<Vec<Line>> {
    let count = texts.len();
    if pair.is_some() && count != 1 {
        return Err(usage(format!("`--pair` goes with one text, found {count}")));
    }
    let line = |(index, text)| {
        let place = if count == 1 {
            Place::OnlyArgument
        } else {
            Place::Argument(index + 1)
        };
        Line {
            place,
            text: Ok(Text {
                text,
                pair: pair.clone(),
                words: None,
            }),
            kept: Vec::new(),
        }
    };
    Ok(texts.into_iter().enumerate().map(line).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_taken_as_they_are() {
        let texts = vec!["a\tb".to_string(), String::new()];
        let lines: Vec<_> = lines(texts, None)
            .unwrap()
            .into_iter()
            .map(|line| line.text.unwrap())
            .collect();
        assert_eq!(
            lines[0],
            Text {
                text: "a\tb".into(),
                ..Text::default()
            }
        );
        assert_eq!(lines[1].text, "");
    }

    #[test]
    fn a_pair_needs_exactly_one_text() {
        let two = vec!["a".to_string(), "b".to_string()];
        assert!(lines(two, Some("c".into())).is_err());
        let one = lines(vec!["a".into()], Some("c".into())).unwrap();
        assert_eq!(one[0].text.as_ref().unwrap().pair.as_deref(), Some("c"));
    }
}

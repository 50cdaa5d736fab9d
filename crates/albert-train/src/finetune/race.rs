//! RACE: folders of files with an article and its questions each.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::choice::Question;
use super::files::DataFiles;
use crate::error::{Error, Result};

/// The gap that a choice fills.
const GAP: char = '_';

/// A file of RACE.
#[derive(Debug, Deserialize)]
struct Article {
    article: String,
    questions: Vec<String>,
    options: Vec<Vec<String>>,
    answers: Vec<String>,
}

/// Reads all articles of folders, in the order of their paths.
///
/// The text of a question is the article, and its choices are the question with each option: in
/// place of its gap, if it has one, else after it.
///
/// Source: google-research/albert, `race_utils.py`.
///
/// # Errors
/// If a file cannot be read, or is not in RACE's format.
pub(super) fn read(data: &DataFiles) -> Result<Vec<Question>> {
    let mut files = Vec::new();
    for path in &data.paths {
        find(path, &mut files)?;
    }
    let mut questions = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(Error::read(&file))?;
        // Some distributions have an article a line.
        for (index, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let place = format!("`{}`, line {}", file.display(), index + 1);
            questions.extend(article(&place, line)?);
        }
    }
    if questions.is_empty() {
        return Err(Error::NoExamples(data.name()));
    }
    Ok(questions)
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    let entries = std::fs::read_dir(path).map_err(Error::read(path))?;
    let entries: std::io::Result<Vec<_>> = entries.collect();
    let mut paths: Vec<PathBuf> = entries
        .map_err(Error::read(path))?
        .into_iter()
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    paths.iter().try_for_each(|path| find(path, files))
}

fn article(place: &str, line: &str) -> Result<Vec<Question>> {
    let error = |reason: String| Error::Example {
        place: place.into(),
        reason,
    };
    let article: Article = serde_json::from_str(line)
        .map_err(|problem| error(format!("expected an article of RACE: {problem}")))?;
    let counts = [
        article.questions.len(),
        article.options.len(),
        article.answers.len(),
    ];
    if counts.iter().any(|count| *count != counts[0]) {
        return Err(error(format!(
            "expected as many options and answers as questions, found {counts:?}"
        )));
    }
    let mut questions = Vec::new();
    let parts = article
        .questions
        .iter()
        .zip(&article.options)
        .zip(&article.answers);
    for ((question, options), answer) in parts {
        let label = match answer.as_bytes() {
            [letter @ b'A'..=b'Z'] => Some(usize::from(letter - b'A')),
            _ => None,
        };
        let Some(label) = label.filter(|label| *label < options.len()) else {
            return Err(error(format!(
                "expected an answer from A on for {} options, found `{answer}`",
                options.len()
            )));
        };
        questions.push(Question {
            text: article.article.clone(),
            choices: options
                .iter()
                .map(|option| filled(question, option))
                .collect(),
            label,
        });
    }
    Ok(questions)
}

/// Puts an option into the gap of a question, or after it.
fn filled(question: &str, option: &str) -> String {
    if question.contains(GAP) {
        question.replacen(GAP, option, 1)
    } else {
        format!("{question} {option}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_fills_the_gap_or_comes_last() {
        assert_eq!(filled("He is _ .", "tall"), "He is tall .");
        assert_eq!(filled("Who?", "Ann"), "Who? Ann");
    }

    #[test]
    fn files_of_all_folders_are_read_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let line = |name: &str| {
            format!(
                r#"{{"article":"{name}","questions":["Q?"],"options":[["a","b"]],"answers":["B"],"id":"x"}}"#
            )
        };
        for name in ["middle/2.txt", "high/1.txt"] {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, line(name)).unwrap();
        }
        let found = read(&DataFiles::from(dir.path())).unwrap();
        let texts: Vec<&str> = found
            .iter()
            .map(|question| question.text.as_str())
            .collect();
        assert_eq!(texts, ["high/1.txt", "middle/2.txt"]);
        assert_eq!((found[0].label, found[0].choices[1].as_str()), (1, "Q? b"));
    }

    #[test]
    fn an_answer_without_an_option_is_refused_with_its_file() {
        let line = r#"{"article":"","questions":["Q?"],"options":[["a","b"]],"answers":["C"]}"#;
        let error = article("`x.txt`, line 1", line).unwrap_err().to_string();
        assert_eq!(
            error,
            "`x.txt`, line 1: expected an answer from A on for 2 options, found `C`"
        );
    }
}

//! The options for the source and the format of the texts.

use std::path::PathBuf;

use albert_data::{Format, Pairs};
use clap::{Args, ValueEnum};

use crate::failure::{Hint, usage};
use crate::input::{Origin, Request};

/// The options of input.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct InputArgs {
    /// The texts; without any, or with a single -, they are read from --input or standard input
    #[arg(value_name = "TEXT", help_heading = None::<&str>)]
    pub(crate) texts: Vec<String>,

    /// Read the texts from a file or a folder of shards (- for standard input); can be repeated
    ///
    /// The files of a folder are read in the order of their names; hidden files and names that
    /// begin with `_`, such as `_SUCCESS`, are skipped.
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub(crate) input: Vec<PathBuf>,

    /// Input format [default: inferred from the content, then from the extension, else lines]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) input_format: Option<InputFormat>,

    /// The field or column that holds the text; `first,second` for pairs [default: text]
    ///
    /// `data.text` is the field `text` inside the field `data`. Quote a name with a comma or a dot
    /// as in CSV.
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// The separator of csv input [default: a comma]
    #[arg(long, value_name = "C", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,

    /// For a line that cannot be read, write a row with `error` and continue
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

/// The second text of a pair.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Input")]
pub(crate) struct PairArgs {
    /// The second text of a pair, next to one TEXT
    #[arg(long, value_name = "TEXT")]
    pub(crate) pair: Option<String>,

    /// Split each line at its tab into the two texts of a pair
    ///
    /// Without this option a line is one text, tabs included. In tables a pair is two fields:
    /// `--field first,second`.
    #[arg(long)]
    pub(crate) pairs: bool,
}

/// Parses a character that separates values.
pub(crate) fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"\\t" => Ok(b'\t'),
        &[byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => Ok(byte),
        _ => Err("expected one ASCII character, such as `;`".to_string()),
    }
}

/// The format of the input.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum InputFormat {
    /// One text per line
    Lines,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated values with a header line
    Csv,
    /// Tab-separated values with a header line, no quoting
    Tsv,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC file or stream
    Arrow,
}

impl From<InputFormat> for Format {
    fn from(format: InputFormat) -> Self {
        match format {
            InputFormat::Lines => Self::Lines,
            InputFormat::Jsonl => Self::Jsonl,
            InputFormat::Csv => Self::Csv,
            InputFormat::Tsv => Self::Tsv,
            InputFormat::Parquet => Self::Parquet,
            InputFormat::Arrow => Self::Arrow,
        }
    }
}

impl InputArgs {
    /// Returns true if neither a text nor a file is named.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.input.is_empty()
    }

    /// Returns the request to read for a command that takes these pairs. `pair` needs a single text
    /// argument.
    ///
    /// # Errors
    /// If there are no texts, or the options contradict each other.
    pub(crate) fn request(self, pair: PairArgs, pairs: Pairs) -> anyhow::Result<Request> {
        let origin = match self.texts.as_slice() {
            [only] if only == "-" => Origin::Stdin,
            [] if self.input.is_empty() => Origin::piped(
                "give a text as an argument, `--input FILE`, or pipe lines into the command",
            )?,
            [] => Origin::Files(self.input),
            texts => {
                let for_files = [
                    ("--field", self.field.is_some()),
                    ("--input-format", self.input_format.is_some()),
                    ("--delimiter", self.delimiter.is_some()),
                    ("--pairs", pair.pairs),
                ];
                if let Some((option, _)) = for_files.iter().find(|(_, is_given)| *is_given) {
                    return Err(usage(format!(
                        "`{option}` applies to files, but the texts are arguments"
                    )));
                }
                if pair.pair.is_some() && texts.len() != 1 {
                    let found = texts.len();
                    return Err(usage(format!("`--pair` goes with one text, found {found}")));
                }
                Origin::Arguments {
                    texts: self.texts,
                    pair: pair.pair.clone(),
                }
            }
        };
        if pair.pair.is_some() && !matches!(origin, Origin::Arguments { .. }) {
            return Err(usage("`--pair` needs one text as an argument next to it").hint(
                "in a file, `--pairs` splits each line at its tab, and `--field first,second` takes two fields of a table",
            ));
        }
        Ok(Request {
            origin,
            format: self.input_format.map(Format::from),
            delimiter: self.delimiter,
            field: self.field,
            keep: None,
            pairs,
            has_tabs: pair.pairs,
            skip_bad: self.skip_bad,
            keeps_batches: false,
        })
    }

    /// Takes the second of two arguments as the other text of a pair, for a command that only takes
    /// pairs.
    ///
    /// # Errors
    /// If there are not exactly two; none, or a single `-`, means that the texts come from a file.
    pub(crate) fn take_pair(&mut self) -> anyhow::Result<PairArgs> {
        let pair = match self.texts.as_slice() {
            [] => None,
            [only] if only == "-" => None,
            [_, _] => self.texts.pop(),
            texts => {
                return Err(
                    usage(format!("expected two texts, found {}", texts.len())).hint(
                        "give several pairs as lines with a tab between the two texts, or as a table",
                    ),
                );
            }
        };
        Ok(PairArgs { pair, pairs: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(texts: &[&str], pair: Option<&str>) -> anyhow::Result<Request> {
        let args = InputArgs {
            texts: texts.iter().map(ToString::to_string).collect(),
            ..InputArgs::default()
        };
        let pair = PairArgs {
            pair: pair.map(String::from),
            pairs: false,
        };
        args.request(pair, Pairs::Taken)
    }

    #[test]
    fn arguments_are_taken_as_they_are() {
        let Origin::Arguments { texts, pair } = request(&["a\tb", ""], None).unwrap().origin else {
            panic!("expected arguments")
        };
        assert_eq!(
            (texts, pair),
            (vec!["a\tb".to_string(), String::new()], None)
        );
    }

    #[test]
    fn a_pair_needs_exactly_one_text() {
        assert!(request(&["a", "b"], Some("c")).is_err());
        assert!(request(&["-"], Some("c")).is_err());
        assert!(matches!(
            request(&["a"], Some("c")).unwrap().origin,
            Origin::Arguments { pair: Some(_), .. }
        ));
    }
}

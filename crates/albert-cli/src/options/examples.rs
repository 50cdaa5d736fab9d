//! The options that say how rows become labeled examples, for `finetune` and `evaluate`.

use std::path::PathBuf;

use albert_data::{Field, Format};
use albert_train::FineTuneTask;
use albert_train::finetune::{DataFiles, ExampleOptions, Preset};
use clap::{Args, ValueEnum};

use super::input::delimiter;
use super::number;
use crate::failure::usage;

/// Rows, and the fields of them that are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Data")]
pub(crate) struct ExampleArgs {
    /// Known data set, which sets the task, the fields, the labels and the settings of the paper
    ///
    /// sst2, cola, mrpc, qqp, stsb, mnli, qnli, rte, wnli, boolq, squad, squad2, race, conll2003 or
    /// wnut17. Files may be the original ones or those of the Hub.
    #[arg(long, value_name = "NAME")]
    pub(crate) preset: Option<Preset>,

    /// Format of the files [default: by the content, then the extension, else lines; conll for
    /// tagging]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) input_format: Option<DataFormat>,

    /// The character between the values of csv files [default: a comma]
    #[arg(long, value_name = "C", value_parser = delimiter)]
    pub(crate) delimiter: Option<u8>,

    /// Names of the columns, for files without a header that have tabs between their values
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,

    /// Fields of the texts; `first,second` for pairs [default: text, or the task's]
    ///
    /// Without --field: text (classification, regression, multi-label), tokens (tagging),
    /// question,context (answering), text,choices (choice), first,second and, if present, third
    /// (similarity).
    #[arg(long, value_name = "NAMES", value_parser = fields)]
    pub(crate) field: Option<Fields>,

    /// Field of the label [default: label, or tags, answers, score]
    #[arg(long, value_name = "NAME", value_parser = field)]
    pub(crate) label: Option<Field>,

    /// Tokens in a sequence, special tokens included [default: 128; answering 384, choice 512]
    #[arg(long, value_name = "N", value_parser = number(5..=usize::MAX))]
    pub(crate) max_length: Option<usize>,

    /// Tokens that windows of a long context share, for answering [default: 128]
    #[arg(long, value_name = "N", value_parser = number(0..=usize::MAX))]
    pub(crate) stride: Option<usize>,

    /// Lowest and highest score of pairs, for similarity [default: the preset's, else 0,1 if all
    /// scores of the training data lie there, else its lowest and highest]
    #[arg(long, value_name = "LOW,HIGH", value_parser = score_range, allow_hyphen_values = true)]
    pub(crate) score_range: Option<ScoreRange>,

    /// Longest answer in tokens, for answering
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX), default_value = "30")]
    pub(crate) max_answer_tokens: usize,
}

/// The lowest and the highest score of pairs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ScoreRange(f32, f32);

impl std::fmt::Display for ScoreRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{},{}", self.0, self.1)
    }
}

/// A list of fields, as one value of an option.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fields(pub(crate) Vec<Field>);

impl std::fmt::Display for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fields: Vec<String> = self.0.iter().map(|field| quoted(field.path())).collect();
        f.write_str(&fields.join(","))
    }
}

/// Returns the path of a field as options take it, with quotes where it needs them.
pub(crate) fn quoted(path: &[String]) -> String {
    let names = path.iter().map(|name| {
        if name.contains([',', '.', '"']) {
            format!("\"{}\"", name.replace('"', "\"\""))
        } else {
            name.clone()
        }
    });
    names.collect::<Vec<_>>().join(".")
}

/// The format of training and evaluation data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DataFormat {
    /// Values with tabs between them, without a header
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
    /// A word and its tag per line, a blank line between sentences
    Conll,
    /// A JSON document of SQuAD
    Squad,
}

impl DataFormat {
    /// Returns the name on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("no format is hidden");
        value.get_name().into()
    }
}

impl From<DataFormat> for Format {
    fn from(format: DataFormat) -> Self {
        match format {
            DataFormat::Lines => Self::Lines,
            DataFormat::Jsonl => Self::Jsonl,
            DataFormat::Csv => Self::Csv,
            DataFormat::Tsv => Self::Tsv,
            DataFormat::Parquet => Self::Parquet,
            DataFormat::Arrow => Self::Arrow,
            DataFormat::Conll => Self::Conll,
            DataFormat::Squad => Self::Squad,
        }
    }
}

impl ExampleArgs {
    /// Returns the task: the one that is given, or that of the preset.
    ///
    /// # Errors
    /// If there is neither, or both and they differ.
    pub(crate) fn task(&self, given: Option<FineTuneTask>) -> anyhow::Result<FineTuneTask> {
        match (given, self.preset) {
            (None, None) => Err(usage("expected `--task` or `--preset`, found neither")),
            (Some(task), None) => Ok(task),
            (None, Some(preset)) => Ok(preset.task()),
            (Some(task), Some(preset)) if preset.has_task(task) => Ok(task),
            (Some(task), Some(preset)) => Err(usage(format!(
                "`--task`: expected `{}`, the task of `--preset {preset}`, found `{task}`",
                preset.task()
            ))),
        }
    }

    /// Returns files with their format.
    pub(crate) fn files(&self, paths: &[PathBuf]) -> DataFiles {
        let mut data = DataFiles::new(paths.iter().cloned());
        data.format = match (self.delimiter, self.input_format) {
            (Some(byte), None | Some(DataFormat::Csv)) => Some(Format::Delimited(byte)),
            (_, format) => format.map(Format::from),
        };
        data.columns = self.columns.clone();
        data
    }

    /// Sets the options of reading examples.
    pub(crate) fn apply(&self, options: &mut ExampleOptions) {
        options.fields = self.field.clone().map(|fields| fields.0);
        options.label = self.label.clone();
        options.preset = self.preset;
        options.max_length = self.max_length;
        options.stride = self.stride;
        options.max_answer_tokens = self.max_answer_tokens;
        options.score_range = self.score_range.map(|range| (range.0, range.1));
    }
}

fn fields(text: &str) -> Result<Fields, String> {
    Field::parse_list(text)
        .map(Fields)
        .map_err(|error| format!("{error:#}"))
}

fn score_range(text: &str) -> Result<ScoreRange, String> {
    let expected = || "expected two numbers, the lower one first, such as 0,5".to_string();
    let (low, high) = text.split_once(',').ok_or_else(expected)?;
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|value: &f32| value.is_finite())
    };
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low < high => Ok(ScoreRange(low, high)),
        _ => Err(expected()),
    }
}

fn field(text: &str) -> Result<Field, String> {
    match fields(text)?.0.as_slice() {
        [field] => Ok(field.clone()),
        several => Err(format!("expected one name, found {}", several.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_as_they_are_read() {
        for text in ["first,second", "data.text", "\"Review, long\".\"a\"\"b\""] {
            assert_eq!(fields(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_range_of_scores_has_two_ascending_numbers() {
        assert_eq!(score_range("-1, 5").unwrap().to_string(), "-1,5");
        for wrong in ["5", "5,0", "a,b", "0,inf", ""] {
            assert!(score_range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_label_is_one_field_and_the_texts_may_be_several() {
        assert_eq!(fields("first,second").unwrap().0.len(), 2);
        assert_eq!(field("gold.label").unwrap().name(), "gold.label");
        assert_eq!(field("a,b"), Err("expected one name, found 2".into()));
    }
}

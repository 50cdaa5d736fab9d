//! The files of texts that a command with a query reads.

use std::path::PathBuf;

use albert_data::Pairs;
use clap::Args;

use super::InputFormat;
use super::input::delimiter;
use crate::failure::usage;
use crate::input::{Origin, Request};

/// Files of texts. Texts are not arguments, since the argument is the query.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// A file or folder of texts [default: -, standard input]; can be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,

    /// Format of the texts [default: inferred from the content, then from the extension, else lines]
    #[arg(long, value_name = "FORMAT", value_enum)]
    input_format: Option<InputFormat>,

    /// The field or column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    field: Option<String>,

    /// The separator of csv input [default: a comma]
    #[arg(long, value_name = "C", value_parser = delimiter)]
    delimiter: Option<u8>,

    /// Skip lines that cannot be read; they are still counted in `index`
    #[arg(long)]
    skip_bad: bool,
}

impl FileArgs {
    /// Returns a request for the texts and the columns to keep; `hint` says where texts may come
    /// from.
    ///
    /// # Errors
    /// If no file is named and standard input is a terminal.
    pub(crate) fn request(&self, keep: Option<&String>, hint: &str) -> anyhow::Result<Request> {
        let origin = if self.input.is_empty() {
            Origin::piped(hint)?
        } else {
            Origin::Files(self.input.clone())
        };
        Ok(Request {
            origin,
            format: self.input_format.map(Into::into),
            delimiter: self.delimiter,
            field: self.field.clone(),
            keep: keep.cloned(),
            pairs: Pairs::Refused,
            has_tabs: false,
            skip_bad: self.skip_bad,
            keeps_batches: false,
        })
    }

    /// Refuses the options of a file where no file is read.
    ///
    /// # Errors
    /// If one of them, or `keep`, is given.
    pub(crate) fn refuse_without_input(&self, keep: Option<&String>) -> anyhow::Result<()> {
        let given = [
            ("--input-format", self.input_format.is_some()),
            ("--field", self.field.is_some()),
            ("--delimiter", self.delimiter.is_some()),
            ("--keep", keep.is_some()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((option, _)) => Err(usage(format!("`{option}` needs `--input`"))),
            None => Ok(()),
        }
    }
}

//! The files of texts that a command with a query reads.

use std::path::PathBuf;

use albert_data::Pairs;
use clap::Args;

use super::InputFormat;
use crate::input::{Origin, Request};

/// Files of texts. Texts are not arguments, since the argument is the query.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// A file or folder of texts [default: -, standard input]; can be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) input: Vec<PathBuf>,

    /// Format of the texts [default: inferred from the extension, else lines]
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub(crate) input_format: Option<InputFormat>,

    /// The field or column that holds the text [default: text]
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,

    /// Skip lines that cannot be read; they are still counted in `index`
    #[arg(long)]
    pub(crate) skip_bad: bool,
}

impl FileArgs {
    /// Returns the texts to read: those of the files, or without any those of standard input.
    ///
    /// # Errors
    /// If there are no files and standard input is a terminal; `hint` says what to give instead.
    pub(crate) fn request(&self, hint: &str) -> anyhow::Result<Request> {
        let origin = if self.input.is_empty() {
            Origin::piped(hint)?
        } else {
            Origin::Files(self.input.clone())
        };
        Ok(Request {
            origin,
            format: self.input_format.map(Into::into),
            delimiter: None,
            field: self.field.clone(),
            keep: None,
            pairs: Pairs::Refused,
            has_tabs: false,
            skip_bad: self.skip_bad,
        })
    }
}

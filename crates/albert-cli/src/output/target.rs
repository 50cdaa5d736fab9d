//! The destination of the rows, which may be none of the inputs.

use std::io;
use std::path::{Path, PathBuf};

use same_file::Handle;

use super::{Format, Layout, Output, Saved, Sink};
#[cfg(not(feature = "parquet"))]
use crate::failure::without_tables;
use crate::failure::{Hint, usage};

/// The destination and the format of the rows.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) format: Format,
    /// `None`: standard output.
    pub(crate) path: Option<PathBuf>,
    /// The names of the columns.
    pub(crate) layout: Layout,
}

impl Target {
    /// Opens the output, before the long work.
    ///
    /// An existing file keeps its content until the first row is written, so a run that fails
    /// earlier destroys nothing.
    ///
    /// # Errors
    /// If the output is one of the inputs, or it cannot be written to.
    pub(crate) fn open(self, inputs: &[PathBuf]) -> anyhow::Result<Output> {
        let Self {
            format,
            path,
            layout,
        } = self;
        #[cfg(not(feature = "parquet"))]
        if matches!(format, Format::Parquet | Format::Arrow) {
            return Err(without_tables(format.name()));
        }
        let needs_file = matches!(format, Format::Npy | Format::Safetensors);
        let sink = match &path {
            None if needs_file => {
                return Err(
                    usage(format!("format `{}` needs `--output FILE`", format.name())).hint(
                        "its header is completed at the end, which is impossible in a stream",
                    ),
                );
            }
            None => {
                refuse_inputs(&Handle::stdout(), inputs, "standard output")?;
                Sink::stdout()?
            }
            Some(path) => open_file(path, inputs, needs_file)?,
        };
        Ok(Output {
            format,
            layout,
            sink,
            path,
            has_resume: false,
            row_batches: None,
            resumes: false,
            saved: Saved::default(),
        })
    }
}

fn open_file(path: &Path, inputs: &[PathBuf], needs_seek: bool) -> anyhow::Result<Sink> {
    let sink = Sink::file(path, needs_seek)?;
    refuse_inputs(&Handle::from_path(path), inputs, sink.name())?;
    Ok(sink)
}

/// Refuses to write to a file that is being read, under any name: the input would be lost, and the
/// run would read its own output without end. `-` is standard input.
fn refuse_inputs(
    output: &io::Result<Handle>,
    inputs: &[PathBuf],
    name: &str,
) -> anyhow::Result<()> {
    let Ok(output) = output else { return Ok(()) };
    // A terminal may be both.
    if !output
        .as_file()
        .metadata()
        .is_ok_and(|metadata| metadata.is_file())
    {
        return Ok(());
    }
    let is_output = |input: &PathBuf| {
        let input = if input.as_os_str() == "-" {
            Handle::stdin()
        } else {
            Handle::from_path(input)
        };
        input.is_ok_and(|input| input == *output)
    };
    if inputs.iter().any(is_output) {
        return Err(usage(format!("{name} is both the input and the output"))
            .hint("write to another file: this one would be lost while it is read"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::failure::Report;

    fn target(format: Format, path: Option<PathBuf>) -> Target {
        Target {
            format,
            path,
            layout: Layout::default(),
        }
    }

    #[test]
    fn a_format_with_a_header_needs_a_file() {
        let error = target(Format::Npy, None).open(&[]).err().unwrap();
        assert_eq!(Report::new(&error).unwrap().code, 2);
    }

    #[test]
    fn the_output_may_not_be_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "precious\n").unwrap();
        let output = target(Format::Jsonl, Some(folder.path().join("./a.txt")));
        let error = output.open(std::slice::from_ref(&path)).err().unwrap();
        assert_eq!(Report::new(&error).unwrap().code, 2);
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious\n");
    }

    #[test]
    fn a_file_keeps_its_content_until_the_first_byte() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        fs::write(&path, "old and long\n").unwrap();
        let output = target(Format::Jsonl, Some(path.clone())).open(&[]).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old and long\n");
        let mut sink = output.into_sink();
        sink.write(b"new\n").unwrap();
        sink.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
    }
}
